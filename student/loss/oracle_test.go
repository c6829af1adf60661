package loss

import (
	"cmp"
	"slices"
)

// offered is what may become pairs of a sample: entries, of which one may be there more than once,
// with the student's and the teacher's similarity to each.
type offered struct {
	entry  []int64
	rs, rt []float32
}

// mineRow picks the pairs Ω_i of a sample from what it is offered, as places there: the mining of [RPSD.mine] in plain Go.
func (l *RPSD) mineRow(sample int64, label int32, c offered, step int) []int {
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

// counts is whether a pair's error is worth keeping.
func (l *RPSD) counts(rs, rt float32) bool { return float64(abs(rs-rt)) >= l.c.Delta }

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
