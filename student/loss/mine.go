package loss

import (
	"cmp"
	"runtime"
	"slices"
	"sync"

	"facepipe/student/torch"
)

// minedPairs are pairs of a sample of the batch and what it was offered: where they stand among
// all samples' candidates, with the teacher's similarity that the student should reach.
type minedPairs struct {
	at     []int64
	target []float64
}

// candidates are what may become pairs of a sample, with its student's and its teacher's
// similarity to each: entries of a bank, by their numbers, of which one may be there more than
// once, or others.
type candidates struct {
	entry  []int64
	rs, rt []float32
}

// offer is what samples may be paired with: their student's similarities to it, N×C, and the
// values of these, of their teacher's and, of a bank, the numbers of the entries. mine picks the
// pairs of sample i from its row, as places there.
type offer struct {
	student       torch.Tensor
	entry, rs, rt *[]float64
	mine          func(i int, c candidates) []int
}

// mined are the pairs of all of n samples.
func (o offer) mined(n int) (out minedPairs) {
	rs, rt, entries := numbers[float32](o.rs), numbers[float32](o.rt), numbers[int64](o.entry)
	rows, width := make([][]int, n), len(rs)/n
	each(n, func(i int) {
		c := candidates{rs: rs[i*width:][:width], rt: rt[i*width:][:width]}
		if entries != nil {
			c.entry = entries[i*width:][:width]
		}
		rows[i] = o.mine(i, c)
	})
	for i, row := range rows {
		for _, k := range row {
			out.at = append(out.at, int64(i*width+k))
			out.target = append(out.target, float64(rt[i*width+k]))
		}
	}
	return out
}

// numbers are values that were read, of another type; nil without.
func numbers[T float32 | int64](values *[]float64) []T {
	if values == nil {
		return nil
	}
	all := make([]T, len(*values))
	for i, v := range *values {
		all[i] = T(v)
	}
	return all
}

// mineRow picks the pairs Ω_i of a sample from its candidates, as places among them:
//
//   - of the same identity the P that the student finds least similar;
//   - of the others K_n: half of them those that the teacher finds most similar,
//     half those where student and teacher disagree most among the rest;
//   - without pairs whose error is below δ, lapsed entries and the sample itself.
//
// Positives or negatives that are not of the bank are not among them.
// Equal values go to the smaller entry number, so the choice depends on nothing
// but the values.
func (l *RPSD) mineRow(sample int64, label int32, c candidates, step int) []int {
	b := l.bank
	order := make([]int, len(c.entry))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(c.entry[x], c.entry[y]) })
	order = slices.CompactFunc(order, func(x, y int) bool { return c.entry[x] == c.entry[y] })
	mostPositives, mostNegatives := l.c.ofBank()
	positives := newSelection(mostPositives)
	hard := newSelection((mostNegatives + 1) / 2)
	negatives := order[:0]
	for _, k := range order {
		j := c.entry[k]
		if b.sample[j] == sample || (l.c.MaxAge > 0 && step-int(b.step[j]) > l.c.MaxAge) {
			continue
		}
		if label >= 0 && b.label[j] == label {
			positives.offer(-c.rs[k], k)
			continue
		}
		if l.c.IgnoreAbove > 0 && label >= 0 && b.label[j] >= 0 && float64(c.rt[k]) > l.c.IgnoreAbove {
			continue
		}
		hard.offer(c.rt[k], k)
		negatives = append(negatives, k)
	}
	taken := hard.places()
	disagree := newSelection(mostNegatives / 2)
	for _, k := range negatives {
		if !slices.Contains(taken, k) {
			disagree.offer(abs(c.rs[k]-c.rt[k]), k)
		}
	}
	mined := slices.Concat(positives.places(), taken, disagree.places())
	return slices.DeleteFunc(mined, func(k int) bool { return !l.counts(c.rs[k], c.rt[k]) })
}

func abs(v float32) float32 {
	if v < 0 {
		return -v
	}
	return v
}

// selection keeps the k places with the largest scores of a stream in a heap whose root
// is the worst of them, so that most offers cost one comparison.
type selection struct {
	k     int
	score []float32
	order []int // of the offers
	place []int
	n     int
}

func newSelection(k int) *selection { return &selection{k: k} }

// offer considers a place. Of equal scores the one that was offered earlier stays.
func (h *selection) offer(score float32, place int) {
	h.n++
	if len(h.score) < h.k {
		h.score, h.order, h.place = append(h.score, score), append(h.order, h.n), append(h.place, place)
		h.up(len(h.score) - 1)
		return
	}
	if h.k == 0 || score <= h.score[0] {
		return
	}
	h.score[0], h.order[0], h.place[0] = score, h.n, place
	h.down(0)
}

// worse orders the heap: a smaller score, or the later of two equal ones.
func (h *selection) worse(a, b int) bool {
	if h.score[a] != h.score[b] {
		return h.score[a] < h.score[b]
	}
	return h.order[a] > h.order[b]
}

func (h *selection) swap(a, b int) {
	h.score[a], h.score[b] = h.score[b], h.score[a]
	h.order[a], h.order[b] = h.order[b], h.order[a]
	h.place[a], h.place[b] = h.place[b], h.place[a]
}

func (h *selection) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.worse(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *selection) down(i int) {
	for {
		worst := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.score); child++ {
			if h.worse(child, worst) {
				worst = child
			}
		}
		if worst == i {
			return
		}
		h.swap(i, worst)
		i = worst
	}
}

// places gives what was kept, in no particular order that matters to a sum, but always
// the same one.
func (h *selection) places() []int {
	slices.Sort(h.place)
	return h.place
}

// each runs f(0..n-1) on all cores.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), n)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}
