package uncertainty

import (
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// Of up to so many trials every distance is a cell of its own.
const exactTrials = 1 << 14

// resolution is the part of a rate that the cells of more trials tell apart.
const resolution = 1024

// cells are the steps in which thresholds are tried. Cell i has the distances from least[i] up
// to, but without, least[i+1].
type cells struct {
	least, most []float64 // the first distance of each cell and its last, ascending
}

// newCells makes cells of the sorted distances of each kind. A cell holds a single distance, or
// at most a 1024th part of the different-person trials that are closer, and of the same-person
// trials that are farther: FMR and FNMR are told apart to that part. Each of the thresholds is a
// cell of its own.
func newCells(differents, sames, thresholds []float64) cells {
	var least []float64
	if len(differents)+len(sames) <= exactTrials {
		least = slices.Concat(differents, sames)
	} else {
		least = append(least, differents[0], sames[0])
		for _, t := range thresholds {
			least = append(least, t, above(t))
		}
		for rank := 0; rank < len(differents); rank += max(1, rank/resolution) {
			least = appendBegin(least, differents, rank)
		}
		for rank := 0; rank < len(sames); rank += max(1, rank/resolution) {
			least = appendBegin(least, sames, len(sames)-1-rank)
		}
	}
	slices.Sort(least)
	c := cells{least: slices.Compact(least)}
	c.most = make([]float64, len(c.least))
	for i, first := range c.least {
		c.most[i] = first
		for _, sorted := range [][]float64{differents, sames} {
			end := len(sorted)
			if i+1 < len(c.least) {
				end, _ = slices.BinarySearch(sorted, c.least[i+1])
			}
			if end > 0 {
				c.most[i] = max(c.most[i], sorted[end-1])
			}
		}
	}
	return c
}

// appendBegin appends the distance of a rank, and the next number if several trials have it: then
// they are a cell of their own.
func appendBegin(least, sorted []float64, rank int) []float64 {
	d := sorted[rank]
	least = append(least, d)
	if rank > 0 && sorted[rank-1] == d || rank+1 < len(sorted) && sorted[rank+1] == d {
		least = append(least, above(d))
	}
	return least
}

// above is the least number greater than another.
func above(number float64) float64 { return math.Nextafter(number, math.Inf(1)) }

// of is the cell of a distance that is not less than the first cell's.
func (c cells) of(distance float64) int {
	at, found := slices.BinarySearch(c.least, distance)
	if found {
		return at
	}
	return at - 1
}

// lanes is how many replicates are counted at a time: each is a bit of a word.
const lanes = 64

// cellCounts has the number of kept trials of every cell, for each of the replicates.
type cellCounts [lanes][]uint32

func newCellCounts(cells int) *cellCounts {
	var c cellCounts
	for lane := range c {
		c[lane] = make([]uint32, cells)
	}
	return &c
}

// celled are trials by cell.
type celled struct {
	pairs []pair
	begin []int // of each cell, and the end
}

// newCelled sorts trials into so many cells, fewer than 2^32.
func newCelled(of pairs, cells int, cell func(i int) int) celled {
	places := make([]uint32, of.count())
	inParts(len(places), func(begin, end int) {
		for i := begin; i < end; i++ {
			places[i] = uint32(cell(i))
		}
	})
	c := celled{make([]pair, len(places)), make([]int, cells+1)}
	for _, at := range places {
		c.begin[at+1]++
	}
	for at := range cells {
		c.begin[at+1] += c.begin[at]
	}
	next := slices.Clone(c.begin)
	for i, at := range places {
		c.pairs[next[at]] = of.at(i)
		next[at]++
	}
	return c
}

// cells is how many there are.
func (c celled) cells() int { return max(len(c.begin), 1) - 1 }

// sizes are the numbers of trials in cells.
func (c celled) sizes() []uint32 {
	n := make([]uint32, c.cells())
	for i := range n {
		n[i] = uint32(c.begin[i+1] - c.begin[i])
	}
	return n
}

// inParts works on a part of n things on each processor.
func inParts(n int, work func(begin, end int)) {
	parts := min(runtime.GOMAXPROCS(0), n/exactTrials+1)
	var group sync.WaitGroup
	for part := range parts {
		group.Go(func() { work(part*n/parts, (part+1)*n/parts) })
	}
	group.Wait()
}

// planes are 64 numbers, one a bit: plane k has the bits of worth 2^k.
type planes [32]uint64

// add adds 2^k to the numbers of a word's bits.
func (p *planes) add(word uint64, k int) {
	for ; word != 0; k++ {
		p[k], word = p[k]^word, p[k]&word
	}
}

// addTo adds the numbers, of so many planes, to the counts of a cell, and forgets them.
func (p *planes) addTo(counts *cellCounts, cell, used int) {
	for k, plane := range p[:used] {
		for ; plane != 0; plane &= plane - 1 {
			counts[bits.TrailingZeros64(plane)][cell] += 1 << k
		}
		p[k] = 0
	}
}

// addBits adds three words, bit by bit: a sum and what is carried.
func addBits(a, b, c uint64) (sum, carry uint64) {
	half := a ^ b
	return half ^ c, a&b | half&c
}

// count counts the trials whose identities are kept. Bit j of an identity's word says whether
// replicate j keeps it. Eight trials of a cell are added up in all replicates by one chain of
// adders (Harley and Seal's way of counting bits).
func (c celled) count(keep []uint64, counts *cellCounts) {
	for lane := range counts {
		clear(counts[lane])
	}
	var p planes
	kept := func(t pair) uint64 { return keep[t.a] & keep[t.b] }
	for cell := range c.cells() {
		trials := c.pairs[c.begin[cell]:c.begin[cell+1]]
		used := bits.Len(uint(len(trials)))
		for ; len(trials) >= 8; trials = trials[8:] {
			t := trials[:8:8]
			ones, twosA := addBits(p[0], kept(t[0]), kept(t[1]))
			ones, twosB := addBits(ones, kept(t[2]), kept(t[3]))
			ones, twosC := addBits(ones, kept(t[4]), kept(t[5]))
			ones, twosD := addBits(ones, kept(t[6]), kept(t[7]))
			twos, foursA := addBits(p[1], twosA, twosB)
			twos, foursB := addBits(twos, twosC, twosD)
			fours, eights := addBits(p[2], foursA, foursB)
			p[0], p[1], p[2] = ones, twos, fours
			p.add(eights, 3)
		}
		for _, t := range trials {
			p.add(kept(t), 0)
		}
		p.addTo(counts, cell, used)
	}
}
