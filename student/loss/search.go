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
	b.columns = columns{column(), column(), column()}
}

// refresh takes over some entries, at being their numbers on the device; n is those of all that
// are known there: their samples, labels and steps.
func (b *bank) refresh(s *torch.Scope, at torch.Tensor, n []torch.Tensor) {
	s.Engine().NoGrad(func() {
		for vectors, searched := range b.searched {
			s.SetRows(searched, at, s.ToLike(s.Rows(vectors, at), searched))
		}
		s.SetRows(b.columns.samples, at, n[0])
		s.SetRows(b.columns.labels, at, n[1])
		s.SetRows(b.columns.steps, at, n[2])
	})
}

// numbers are of some entries what a device should know: numbers, samples, labels and steps.
func (b *bank) numbers(entries []int64) []torch.Array {
	n, labels := len(entries), make([]int64, len(entries))
	for i, entry := range entries {
		labels[i] = int64(b.label[entry])
	}
	return []torch.Array{torch.ArrayOf(entries, n), torch.ArrayOf(pick(b.sample, entries), n),
		torch.ArrayOf(labels, n), torch.ArrayOf(pick(b.step, entries), n)}
}

// columnsAt are those of entries (N×C).
func (b *bank) columnsAt(s *torch.Scope, entry torch.Tensor) columns {
	shape, flat := s.Shape(entry), s.Reshape(entry, -1)
	if s.Err() != nil {
		return columns{}
	}
	at := func(column torch.Tensor) torch.Tensor { return s.Reshape(s.Rows(column, flat), shape...) }
	return columns{at(b.columns.samples), at(b.columns.labels), at(b.columns.steps)}
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
func (l *RPSD) search(s *torch.Scope, p pair, own columns, step int) torch.Tensor {
	rs, rt := l.roughly(s, p)
	filled := func(t torch.Tensor) torch.Tensor { return s.Slice(t, 0, 0, l.bank.filled) }
	entries := columns{filled(l.bank.columns.samples), filled(l.bank.columns.labels), filled(l.bank.columns.steps)}
	same, out := l.masks(s, own, entries, step, func() torch.Tensor {
		rounding := 1. / 128 // what is rounded to just too alike is left to mining
		if l.bank.closely {
			rounding = 1e-5
		}
		return s.Greater(rt, l.c.IgnoreAbove+rounding)
	})
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

// masks tells of samples (N×1) and entries (N×C, or C for all) whether both are of one identity,
// and whether they are no pair. alike tells of which the teacher's similarity is that of one person.
func (l *RPSD) masks(s *torch.Scope, own, entries columns, step int, alike func() torch.Tensor) (same, out torch.Tensor) {
	same = s.Equal(own.labels, entries.labels)
	out = s.Equal(own.samples, entries.samples)
	if l.c.MaxAge > 0 {
		out = s.Or(out, s.Less(entries.steps, step-l.c.MaxAge))
	}
	if l.c.IgnoreAbove > 0 {
		known := s.And(s.Not(s.Less(own.labels, 0)), s.Not(s.Less(entries.labels, 0)))
		out = s.Or(out, s.And(known, s.And(s.Not(same), alike())))
	}
	return same, out
}
