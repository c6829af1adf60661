package loss

import (
	"math"

	"facepipe/student/torch"
)

// Mining looks closely only at candidates: the similarities to all entries of the bank are
// computed at once, and of each kind of pair more are taken than mining will pick, so that
// rounding does not keep out what it would have picked.
//
// Against the teacher's embeddings, which lie apart, this is done in bfloat16 where the machine
// has instructions for it, which rounds by at most 2⁻⁸ of a value. On two cores with AVX-512 it
// takes a fifth of the time of choosing among exact similarities. The student's own embeddings
// may lie together more closely than that, as a young student's do, and a limit on the teacher's
// similarity needs it as it is: then all is done in float32.
const (
	spareShare = 4 // a quarter more
	spareLeast = 4 // and so many
)

func withSpare(k, most int) int {
	if k <= 0 {
		return 0
	}
	return min(k+k/spareShare+spareLeast, most)
}

// makeSearchable makes what is searched, on the device of the vectors.
func (b *bank) makeSearchable(s *torch.Scope) {
	b.searched = map[torch.Tensor]torch.Tensor{}
	if !b.closely && s.HasBFloat16Unit(b.teacher) {
		for _, vectors := range []torch.Tensor{b.teacher, b.student} {
			if !vectors.IsNone() {
				b.searched[vectors] = s.Move(s.To(vectors, torch.BFloat16), b.scope)
			}
		}
	}
	column := func() torch.Tensor {
		return s.Move(intsLike(s, b.teacher, make([]int64, b.capacity)), b.scope)
	}
	b.samples, b.labels, b.steps = column(), column(), column()
}

// refresh takes over some entries.
func (b *bank) refresh(s *torch.Scope, entries []int64) {
	samples, labels, steps := pick(b.sample, entries), make([]int64, len(entries)), pick(b.step, entries)
	for i, entry := range entries {
		labels[i] = int64(b.label[entry])
	}
	s.Engine().NoGrad(func() {
		at := intsLike(s, b.samples, entries)
		for vectors, searched := range b.searched {
			s.SetRows(searched, at, s.ToLike(s.Rows(vectors, at), searched))
		}
		for column, values := range map[torch.Tensor][]int64{b.samples: samples, b.labels: labels, b.steps: steps} {
			s.SetRows(column, at, intsLike(s, b.samples, values))
		}
	})
}

// roughly are the inner products of the rows of query (N×d) and all entries, in the precision
// that is searched in: N×M.
func (b *bank) roughly(s *torch.Scope, query, vectors torch.Tensor) torch.Tensor {
	if searched, ok := b.searched[vectors]; ok {
		vectors = searched
	}
	vectors = s.Slice(vectors, 0, 0, b.filled)
	return s.Linear(s.ToLike(query, vectors), vectors)
}

// compare are the inner products of each row of the queries (N×d each) and the entries that
// found (N×C) names for it: of each query N×C.
func (b *bank) compare(s *torch.Scope, vectors, found torch.Tensor, queries ...torch.Tensor) []torch.Tensor {
	entries, columns := s.ToLike(s.Rows(vectors, s.Reshape(found, -1)), queries[0]), make([]torch.Tensor, len(queries))
	if s.Err() != nil {
		return columns
	}
	n := s.Shape(found)[0]
	for i, q := range queries {
		columns[i] = s.Reshape(q, n, -1, 1)
	}
	all := s.BatchMatMul(s.Reshape(entries, n, -1, b.dim), s.Concat(columns, 2)) // N×C×queries
	for i := range columns {
		columns[i] = s.Reshape(s.Slice(all, 2, i, i+1), n, -1)
	}
	return columns
}

// search finds the candidates of every sample: N×C numbers of entries.
func (l *RPSD) search(s *torch.Scope, p pair, step int) torch.Tensor {
	rs, rt := l.roughly(s, p)
	same, out := l.masks(s, p, rt, step)
	positives, negatives := l.c.ofBank()
	var found []torch.Tensor
	take := func(score torch.Tensor, k int) {
		if k = withSpare(k, l.bank.filled); k > 0 {
			found = append(found, s.Largest(score, k))
		}
	}
	never := math.Inf(-1)
	take(s.Mask(s.Scale(rs, -1), s.Or(s.Not(same), out), never), positives)
	out = s.Or(out, same)
	take(s.Mask(rt, out, never), (negatives+1)/2)
	// What was taken needs not be taken again.
	disagree := s.Mask(s.Abs(s.Sub(rs, rt)), out, never)
	for _, taken := range found {
		s.Fill(disagree, 1, taken, never)
	}
	take(disagree, negatives/2)
	return s.Concat(found, 1)
}

// roughly are the similarities R^s and R^t of all samples and all entries, N×M each.
func (l *RPSD) roughly(s *torch.Scope, p pair) (rs, rt torch.Tensor) {
	b := l.bank
	student := s.Detach(p.student)
	if b.keepStudent {
		return b.roughly(s, student, b.student), b.roughly(s, p.teacher, b.teacher)
	}
	n := len(p.samples)
	both := b.roughly(s, s.Concat([]torch.Tensor{student, s.ToLike(p.teacher, student)}, 0), b.teacher)
	return s.Slice(both, 0, 0, n), s.Slice(both, 0, n, 2*n)
}

// masks tells of every sample and entry whether both are of one identity, and whether
// they are no pair.
func (l *RPSD) masks(s *torch.Scope, p pair, rt torch.Tensor, step int) (same, out torch.Tensor) {
	b, n := l.bank, len(p.samples)
	labels := make([]int64, n)
	for i, v := range p.labels {
		labels[i] = int64(v)
		if v < 0 {
			labels[i] = math.MinInt64 // equals no entry's
		}
	}
	column := func(v []int64) torch.Tensor { return s.Reshape(intsLike(s, b.teacher, v), n, 1) }
	filled := func(t torch.Tensor) torch.Tensor { return s.Slice(t, 0, 0, b.filled) }
	same = s.Equal(column(labels), filled(b.labels))
	out = s.Equal(column(p.samples), filled(b.samples))
	if l.c.MaxAge > 0 {
		out = s.Or(out, s.Less(filled(b.steps), step-l.c.MaxAge))
	}
	if l.c.IgnoreAbove > 0 {
		// What is rounded to just above is left to mining.
		rounding := 1. / 128
		if b.closely {
			rounding = 1e-5
		}
		known := s.And(s.Not(s.Less(column(labels), 0)), s.Not(s.Less(filled(b.labels), 0)))
		out = s.Or(out, s.And(known, s.And(s.Not(same), s.Greater(rt, l.c.IgnoreAbove+rounding))))
	}
	return same, out
}
