package loss

import (
	"facepipe/internal/vec"
	"facepipe/student/torch"
)

// Batch is what a loss sees of one step.
type Batch struct {
	// Student holds the raw embeddings N×d, with their history, bridged to the teacher's
	// size where the student's own is another.
	Student torch.Tensor
	// Own holds them as the student gives them. None without any bridge, where they are
	// Student, and where no term looks at them.
	Own torch.Tensor
	// Teacher holds the raw cached embeddings N×d; none when the loss needs none.
	Teacher torch.Tensor
	// Usable tells of each row of Teacher whether it has a direction; see [Usable].
	Usable []bool
	// Targets are, by the names of teachers that a term asks for by @, what stands in place of
	// Student, Teacher and Usable for it.
	Targets map[string]Target
	// Samples are the dataset's row numbers: the original and the mirrored crop of
	// one face share theirs.
	Samples []int64
	// Mirrored tells of each whether it is the mirrored one; nil where none is.
	Mirrored []bool
	// Labels are identity numbers, -1 where the identity is unknown.
	Labels []int32
	// Step counts the optimizer steps from zero.
	Step int
}

// Target is what terms of one of several teachers see.
type Target struct {
	Student, Teacher torch.Tensor
	Usable           []bool
}

// Usable tells of each of n teacher embeddings, one after the other, whether it is finite
// and long enough to have a direction.
func Usable(embeddings []float32, n int) []bool {
	usable := make([]bool, n)
	d := len(embeddings) / max(n, 1)
	for i := range usable {
		usable[i] = vec.HasDirection(vec.Norm(embeddings[i*d : (i+1)*d]))
	}
	return usable
}

// view is a batch as the terms of a loss see it. What several of them may want is made
// when the first one asks, and lives as long as the scope of the step.
type view struct {
	Batch
	s *torch.Scope

	rawPair, unitPair *pair
	distances         *torch.Tensor
	gramsOf           *grams
	labelledSamples   *labelled
}

// views are those of a step: terms that see the same share one.
type views struct {
	s     *torch.Scope
	batch Batch
	made  map[sight]*view
}

// sight is what a term looks at: a teacher's embeddings, "" for what the run learns from, and
// the student's own or those that are bridged to the teacher's size.
type sight struct {
	teacher string
	own     bool
}

func viewsOf(s *torch.Scope, b Batch) views { return views{s, b, map[sight]*view{}} }

// of is what a term sees.
func (all views) of(m member) *view {
	own := m.own && !all.batch.Own.IsNone()
	at := sight{m.teacher, own}
	if v := all.made[at]; v != nil {
		return v
	}
	v := &view{Batch: all.batch, s: all.s}
	if m.teacher != "" {
		t := all.batch.Targets[m.teacher]
		v.Student, v.Teacher, v.Usable = t.Student, t.Teacher, t.Usable
	}
	if own {
		v.Student = all.batch.Own
	}
	all.made[at] = v
	return v
}

// once is what memo points to. The first call makes it.
func once[T any](memo **T, value func() T) T {
	if *memo == nil {
		v := value()
		*memo = &v
	}
	return **memo
}

// pair is a batch reduced to the samples with a usable teacher embedding. Without any it
// has no tensors.
type pair struct {
	student, teacher torch.Tensor // N×d
	samples          []int64
	mirrored         []bool // nil where none is
	labels           []int32
	dropped          int // samples without a usable teacher embedding
}

func (p pair) isMirrored(row int) bool { return p.mirrored != nil && p.mirrored[row] }

// rows has some of the samples. Of none it has no tensors.
func (p pair) rows(s *torch.Scope, keep []int64) pair {
	q := pair{samples: pick(p.samples, keep), labels: pick(p.labels, keep), dropped: p.dropped}
	if p.mirrored != nil {
		q.mirrored = pick(p.mirrored, keep)
	}
	if len(keep) > 0 {
		index := intsLike(s, p.student, keep)
		q.student, q.teacher = s.Rows(p.student, index), s.Rows(p.teacher, index)
	}
	return q
}

// known has the samples of known identity.
func (p pair) known(s *torch.Scope) pair {
	var keep []int64
	for i, y := range p.labels {
		if y >= 0 {
			keep = append(keep, int64(i))
		}
	}
	if len(keep) == len(p.labels) {
		return p
	}
	return p.rows(s, keep)
}

// raw has the raw embeddings.
func (v *view) raw() pair { return once(&v.rawPair, v.pickUsable) }

// usable are the places of the samples in raw.
func (v *view) usable() (keep []int64) {
	for i := range v.Samples {
		if v.Usable[i] {
			keep = append(keep, int64(i))
		}
	}
	return keep
}

func (v *view) pickUsable() pair {
	keep := v.usable()
	s, p := v.s, pair{dropped: len(v.Samples) - len(keep)}
	if len(keep) == 0 {
		return p
	}
	p.student, p.teacher = v.Student, s.ToLike(v.Teacher, v.Student)
	p.samples, p.labels, p.mirrored = v.Samples, v.Labels, v.Mirrored
	if p.dropped > 0 {
		return p.rows(s, keep)
	}
	return p
}

func pick[T any](all []T, rows []int64) []T {
	out := make([]T, len(rows))
	for k, i := range rows {
		out[k] = all[i]
	}
	return out
}

// unit has the unit vectors ŝ_i and t̂_i, the latter without history.
func (v *view) unit() pair {
	return once(&v.unitPair, func() pair {
		p := v.raw()
		if len(p.samples) > 0 {
			p.student, p.teacher = v.s.Unit(p.student), v.s.Detach(v.s.Unit(p.teacher))
		}
		return p
	})
}

// distance is d_i = 1 - c_i in [0, 2] of the samples in unit, of which there is one at
// least: half the squared distance of the unit vectors.
func (v *view) distance() torch.Tensor {
	return once(&v.distances, func() torch.Tensor {
		s, p := v.s, v.unit()
		return s.AddScalar(s.Scale(s.SumDim(s.Mul(p.student, p.teacher), 1, false), -1), 1)
	})
}

// grams are the inner products of all pairs of the samples in unit, N×N: <ŝ_i, ŝ_j> and
// <t̂_i, t̂_j>.
type grams struct{ student, teacher torch.Tensor }

func (v *view) grams() grams {
	return once(&v.gramsOf, func() grams {
		s, p := v.s, v.unit()
		return grams{s.MatMul(p.student, s.Transpose(p.student)), s.MatMul(p.teacher, s.Transpose(p.teacher))}
	})
}

// lengths are those of the teacher's embeddings of the samples in raw, of which there is one at
// least, in float64.
func (v *view) lengths() torch.Tensor {
	s := v.s
	x := v.Teacher
	if v.raw().dropped > 0 {
		x = s.Rows(x, intsLike(s, x, v.usable()))
	}
	x = s.To(s.Detach(x), torch.Float64)
	return s.Sqrt(s.SumDim(s.Mul(x, x), 1, false))
}

// dead is the number of the samples in raw, of which there is one at least, whose student
// embedding is too short for a direction. They have no gradient.
func (v *view) dead() torch.Tensor {
	s := v.s
	x := s.To(s.Detach(v.raw().student), torch.Float64)
	length := s.Sqrt(s.SumDim(s.Mul(x, x), 1, false))
	return s.Sum(s.Greater(s.Scale(length, -1), -1e-12))
}

// labelled are the samples of known identity. Without any it has no tensors.
type labelled struct {
	raw, student torch.Tensor // raw embeddings and unit vectors, in single precision at least
	identities   []int64
	n            int
}

func (v *view) labelled() labelled {
	return once(&v.labelledSamples, func() labelled {
		var keep, identities []int64
		for i, y := range v.Labels {
			if y >= 0 {
				keep, identities = append(keep, int64(i)), append(identities, int64(y))
			}
		}
		if len(keep) == 0 {
			return labelled{}
		}
		s, student := v.s, v.Student
		if len(keep) < len(v.Labels) {
			student = s.Rows(student, intsLike(s, student, keep))
		}
		student = wide(s, student)
		return labelled{student, s.Unit(student), identities, len(keep)}
	})
}
