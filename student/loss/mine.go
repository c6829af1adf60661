package loss

import (
	"math"
	"runtime"
	"sync"

	"facepipe/student/torch"
)

// candidates are what may become pairs of the samples of a batch: numbers of entries (N×C), of which
// one may be there more than once, with the student's and the teacher's similarity to each.
type candidates struct{ entry, rs, rt torch.Tensor }

// mine tells of each candidate whether it is one of the pairs Ω_i of its sample:
//
//   - of the same identity the P that the student finds least similar;
//   - of the others K_n: half of them those that the teacher finds most similar,
//     half those where student and teacher disagree most among the rest;
//   - without pairs whose error is below δ, lapsed entries and the sample itself.
//
// Positives or negatives that are not of the bank are not among them.
// Equal values, in float32, go to the smaller entry number, so the choice depends on nothing
// but the values.
func (l *RPSD) mine(s *torch.Scope, own columns, step int, c candidates) torch.Tensor {
	entry, order := s.StableSort(c.entry, false)
	rs, rt := s.Gather(s.To(c.rs, torch.Float32), 1, order), s.Gather(s.To(c.rt, torch.Float32), 1, order)
	if s.Err() != nil {
		return torch.Tensor{}
	}
	width := s.Shape(entry)[1]
	same, out := l.masks(s, own, l.bank.columnsAt(s, entry), step, func() torch.Tensor { return l.tooAlike(s, rt) })
	again := s.Equal(s.Slice(entry, 1, 1, width), s.Slice(entry, 1, 0, width-1))
	out = s.Or(out, s.Concat([]torch.Tensor{s.Less(s.Slice(entry, 1, 0, 1), 0), again}, 1))
	nothing := s.Less(entry, 0)
	// best are the k largest scores of each sample, but for what is out.
	best := func(score, out torch.Tensor, k int) torch.Tensor {
		scores, places := s.StableSort(s.Mask(score, out, math.Inf(-1)), true)
		first := func(t torch.Tensor) torch.Tensor { return s.Slice(t, 1, 0, min(k, width)) }
		return s.Scatter(nothing, 1, first(places), s.Greater(first(scores), math.Inf(-1)))
	}
	mostPositives, mostNegatives := l.c.ofBank()
	positives := best(s.Scale(rs, -1), s.Or(s.Not(same), out), mostPositives)
	out = s.Or(out, same)
	hard := best(rt, out, (mostNegatives+1)/2)
	disagree := best(apartBy(s, rs, rt), s.Or(out, hard), mostNegatives/2)
	mined := s.And(s.Or(positives, s.Or(hard, disagree)), l.count(s, rs, rt))
	return s.Scatter(nothing, 1, order, mined)
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
