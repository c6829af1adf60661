package loss

import (
	"runtime"
	"slices"
	"sync"
)

// minedPairs are pairs of a sample of the batch (query) and a bank entry, with the
// teacher's similarity that the student should reach.
type minedPairs struct {
	query, entry []int64
	target       []float64
}

// mine picks the pairs Ω_i of every sample from its similarities to the bank's
// entries (N×M each, row by row; M is the bank's capacity):
//
//   - of the same identity the P that the student finds least similar;
//   - of the others K_n: half of them those that the teacher finds most similar,
//     half those where student and teacher disagree most among the rest;
//   - without pairs whose error is below δ, lapsed entries and the sample itself.
//
// Equal values go to the smaller entry number, so the choice depends on nothing
// but the values.
func (l *RPSD) mine(p unitPair, rs, rt []float32, step int) minedPairs {
	rows := make([][]int32, len(p.samples))
	m := l.bank.capacity
	each(len(rows), func(i int) {
		rows[i] = l.mineRow(p.samples[i], p.labels[i], rs[i*m:(i+1)*m], rt[i*m:(i+1)*m], step)
	})
	var out minedPairs
	for i, row := range rows {
		for _, j := range row {
			out.query = append(out.query, int64(i))
			out.entry = append(out.entry, int64(j))
			out.target = append(out.target, float64(rt[i*m+int(j)]))
		}
	}
	return out
}

func (l *RPSD) mineRow(sample int64, label int32, rs, rt []float32, step int) []int32 {
	b := l.bank
	positives := newSelection(l.c.Positives)
	hard := newSelection((l.c.Negatives + 1) / 2)
	negatives := make([]int32, 0, b.filled)
	for j := range b.filled {
		if b.sample[j] == sample || (l.c.MaxAge > 0 && step-int(b.step[j]) > l.c.MaxAge) {
			continue
		}
		if label >= 0 && b.label[j] == label {
			positives.offer(-rs[j], int32(j))
			continue
		}
		if l.c.IgnoreAbove > 0 && label >= 0 && b.label[j] >= 0 && float64(rt[j]) > l.c.IgnoreAbove {
			continue
		}
		hard.offer(rt[j], int32(j))
		negatives = append(negatives, int32(j))
	}
	taken := hard.entries()
	slices.Sort(taken)
	disagree := newSelection(l.c.Negatives / 2)
	for _, j := range negatives {
		if _, found := slices.BinarySearch(taken, j); !found {
			disagree.offer(abs(rs[j]-rt[j]), j)
		}
	}
	mined := slices.Concat(positives.entries(), taken, disagree.entries())
	return slices.DeleteFunc(mined, func(j int32) bool { return float64(abs(rs[j]-rt[j])) < l.c.Delta })
}

func abs(v float32) float32 {
	if v < 0 {
		return -v
	}
	return v
}

// selection keeps the k entries with the largest scores of a stream in a heap
// whose root is the worst of them, so that most offers cost one comparison.
type selection struct {
	k     int
	score []float32
	entry []int32
}

func newSelection(k int) *selection { return &selection{k: k} }

// offer considers an entry. Entries come in ascending order, so of equal scores
// the earlier one stays.
func (h *selection) offer(score float32, entry int32) {
	if len(h.score) < h.k {
		h.score, h.entry = append(h.score, score), append(h.entry, entry)
		h.up(len(h.score) - 1)
		return
	}
	if h.k == 0 || score <= h.score[0] {
		return
	}
	h.score[0], h.entry[0] = score, entry
	h.down(0)
}

// worse orders the heap: a smaller score, or the later of two equal ones.
func (h *selection) worse(a, b int) bool {
	if h.score[a] != h.score[b] {
		return h.score[a] < h.score[b]
	}
	return h.entry[a] > h.entry[b]
}

func (h *selection) swap(a, b int) {
	h.score[a], h.score[b] = h.score[b], h.score[a]
	h.entry[a], h.entry[b] = h.entry[b], h.entry[a]
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

// entries gives what was kept, in no particular order that matters to a sum, but
// always the same one.
func (h *selection) entries() []int32 {
	out := slices.Clone(h.entry)
	slices.Sort(out)
	return out
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
