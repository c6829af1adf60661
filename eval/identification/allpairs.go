package identification

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"facepipe/internal/dots"
	"facepipe/internal/nearest"
	"facepipe/internal/progress"
	"facepipe/internal/vec"
)

// NoIdentity is the label of a crop of nobody known.
const NoIdentity = -1

// PairOptions adjust [AllPairs] and [Distractors].
type PairOptions struct {
	// Targets are false accept rates, above 0 and below 1.
	Targets []float64
	// Workers is the number of goroutines; 0 takes one a processor.
	Workers int
	// Progress receives a bar; nil is silent.
	Progress io.Writer

	block int // size of a product's blocks
}

// largest is the largest target.
func (o PairOptions) largest() (float64, error) {
	for _, target := range o.Targets {
		if !(target > 0 && target < 1) {
			return 0, fmt.Errorf("target %g: want false accept rates above 0 and below 1", target)
		}
	}
	if len(o.Targets) == 0 {
		return 0, errors.New("no target: want false accept rates above 0 and below 1")
	}
	return slices.Max(o.Targets), nil
}

// AllPairs compares every vector with every other, each pair once. labels are identities, 0, 1, 2
// ... or [NoIdentity]; vectors without one are left out, as are those that are not there. Vectors
// are read block by block: beside them memory is 256 MiB and some 20 bytes a vector.
func AllPairs(ctx context.Context, v nearest.Vectors, labels []int32, o PairOptions) (Result, error) {
	largest, err := o.largest()
	if err != nil {
		return Result{}, err
	}
	if len(labels) != v.Len() {
		return Result{}, fmt.Errorf("compare all pairs: %d labels of %d vectors", len(labels), v.Len())
	}
	norms, err := norms(ctx, v, o.Workers)
	if err != nil {
		return Result{}, err
	}
	p := newPeople(v, labels, norms)
	r := Result{Protocol: "all-pairs", Switches: map[string]string{"far_pick": PickLE, "resolution": fmt.Sprint(Resolution)}, Counts: p.describe()}
	c := &counts{matedOf: p.mated, otherOf: p.other}
	if c.matedOf == 0 || c.otherOf == 0 {
		r.Notes = []string{fmt.Sprintf("TAR at FAR is not measurable: needs pairs of both kinds, has %d mated and %d non-mated", c.matedOf, c.otherOf)}
		return r, nil
	}
	targets, notes := c.measurable(o.Targets)
	r.Notes = append(p.notes(), notes...)
	if c.floor, err = floorOf(largest, c.otherOf, p.draw); err != nil {
		return Result{}, err
	}
	err = counted(c, largest, func() error { return p.compare(ctx, c, o) })
	r.Verification, r.Curve = c.at(targets), c.curve(largest)
	return r, err
}

// counted fills counts, a second time and without a floor where the sample's was too high.
func counted(c *counts, largest float64, fill func() error) error {
	for {
		c.mated, c.other = newTally(), newTally()
		if err := fill(); err != nil {
			return err
		}
		if c.suffices(largest) {
			return nil
		}
		c.floor = float32(math.Inf(-1))
	}
}

// people are the vectors of all identities, those of one beside each other.
type people struct {
	side
	ends         []int32 // by place: where the identity's vectors end
	identities   int64
	mated, other int64 // pairs
	unlabelled   int64
	missing      int64
}

func newPeople(v nearest.Vectors, labels []int32, norms []float64) *people {
	p := &people{}
	var rows []int32
	for i, label := range labels {
		switch {
		case norms[i] == 0:
			p.missing++
		case label == NoIdentity:
			p.unlabelled++
		default:
			rows = append(rows, int32(i))
		}
	}
	slices.SortStableFunc(rows, func(a, b int32) int { return cmp.Compare(labels[a], labels[b]) })
	p.side = newSide(v, rows, norms)
	p.ends = make([]int32, len(rows))
	for from := 0; from < len(rows); {
		end := from + 1
		for end < len(rows) && labels[rows[end]] == labels[rows[from]] {
			end++
		}
		for i := from; i < end; i++ {
			p.ends[i] = int32(end)
		}
		n := int64(end - from)
		p.mated += n * (n - 1) / 2
		p.identities++
		from = end
	}
	n := int64(len(rows))
	p.other = n*(n-1)/2 - p.mated
	return p
}

func (p *people) describe() map[string]int64 {
	return map[string]int64{
		"crops": int64(len(p.rows)), "identities": p.identities, "mated_pairs": p.mated, "non_mated_pairs": p.other,
		"without_identity": p.unlabelled, "without_embedding": p.missing,
	}
}

func (p *people) notes() (notes []string) {
	if p.unlabelled > 0 {
		notes = append(notes, fmt.Sprintf("%d crops have no identity and were left out", p.unlabelled))
	}
	if p.missing > 0 {
		notes = append(notes, fmt.Sprintf("%d crops have no usable embedding and were left out", p.missing))
	}
	return notes
}

// draw is the score of some non-mated pair; ok is false where these are so few among all pairs that
// none was met.
func (p *people) draw(rng *rand.Rand) (score float32, ok bool, err error) {
	const tries = 100
	for range tries {
		a, b := rng.IntN(len(p.rows)), rng.IntN(len(p.rows))
		if p.ends[a] != p.ends[b] {
			score, err = drawn(p.side, a, p.side, b)
			return score, true, err
		}
	}
	return 0, false, nil
}

// drawn is the score of a pair, but for rounding.
func drawn(first side, a int, second side, b int) (float32, error) {
	x, y := make([]float32, first.v.Dim()), make([]float32, first.v.Dim())
	err := errors.Join(first.unit(a, x), second.unit(b, y))
	return float32(vec.Dot(x, y)), err
}

// compare counts the scores of all pairs.
func (p *people) compare(ctx context.Context, c *counts, o PairOptions) error {
	n := int64(len(p.rows))
	bar := progress.New(o.Progress, "compare all pairs", n*n)
	defer bar.Finish()
	return product{rows: p.side, columns: p.side, upper: true, workers: o.Workers, size: o.block, bar: bar}.run(ctx, func() visitor {
		return func(t *dots.Tile, row, n, column, m int) {
			if int(p.ends[row+n-1]) <= column && n == dots.Rows && m == dots.Columns {
				c.addOthers(t)
				return
			}
			for r := range n {
				p.addRow(c, t[r][:m], row+r, column)
			}
		}
	})
}

// addOthers counts a tile of non-mated pairs.
func (c *counts) addOthers(t *dots.Tile) {
	floor := c.floor
	for r := range t {
		for _, score := range t[r] {
			if score >= floor {
				c.other.add(score)
			}
		}
	}
}

// addRow counts the pairs of one row with columns behind it.
func (p *people) addRow(c *counts, scores []float32, row, column int) {
	for i, score := range scores {
		switch at := column + i; {
		case at <= row:
		case at < int(p.ends[row]):
			c.mated.add(score)
		case score >= c.floor:
			c.other.add(score)
		}
	}
}
