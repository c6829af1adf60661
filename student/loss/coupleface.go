package loss

import (
	"fmt"
	"math"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

var couplefaceLoss = Loss{
	Name:   "coupleface",
	About:  "feature consistency, and the teacher's similarities to the most similar other identities",
	Source: "after Liu et al. 2022, arXiv 2204.05502; the abstract names the terms, the formulas are our reading",
	Formula: `L      = L_fcd + λ · L_mrd
L_fcd  = 1/N Σ_i ½ |ŝ_i - t̂_i|²
L_mrd  = 1/|Ω| Σ_i Σ_(k in Ω_i) max(|<ŝ_i, e_k> - <t̂_i, e_k>| - q, 0)
e_k    the teacher's unit vector of identity k, of its latest crop
Ω_i    the K identities k ≠ y_i of the bank whose e_k are most similar to t̂_i, |Ω| = Σ_i |Ω_i|`,
	Needs: TeacherEmbedding | Labels,
	defaults: couplefaceSettings{
		RelationWeight: 1, Relations: 100, RelationMargin: 0.03, Identities: 16384,
	},
}

// couplefaceSettings tune CoupleFace (after Liu et al. 2022, arXiv 2204.05502). The defaults
// are ours.
type couplefaceSettings struct {
	// RelationWeight is λ. With 0 the term is only measured.
	RelationWeight float64 `yaml:"relation_weight" about:"λ, the weight of the relations; feature consistency has 1"`
	// Relations is K, the most identities that each crop is related to.
	Relations int `yaml:"relations" most:"65536" about:"K, the number of most similar other identities that a crop is related to"`
	// RelationMargin is q, a difference that costs nothing.
	RelationMargin float64 `yaml:"relation_margin" about:"q, the difference of similarities that costs nothing"`
	// Identities is the most identities that the bank holds, one vector each. There are never
	// more than the dataset has.
	Identities int `yaml:"identities" most:"16777216" about:"the most identities that the bank holds, one vector each"`
}

func (c couplefaceSettings) settled() (settings, error) {
	switch {
	case !finite(c.RelationWeight) || c.RelationWeight < 0:
		return c, fmt.Errorf("loss coupleface: relation_weight %g is no number of at least 0", c.RelationWeight)
	case !(c.RelationMargin >= 0 && c.RelationMargin < 2):
		return c, fmt.Errorf("loss coupleface: relation_margin %g is not in [0, 2)", c.RelationMargin)
	case c.Relations < 1:
		return c, fmt.Errorf("loss coupleface: relations %d is not positive", c.Relations)
	case c.Identities < 2:
		return c, fmt.Errorf("loss coupleface: identities %d is less than 2", c.Identities)
	}
	return c, nil
}

func (c couplefaceSettings) build(env Env) (term, error) {
	if err := env.tellApart(2); err != nil {
		return nil, err
	}
	entries := min(c.Identities, env.Classes)
	if err := bankFits("identities", entries, env.Dim); err != nil {
		return nil, err
	}
	return &coupleface{c, newBank(entries, env.Dim, false).replacing(), env.Device}, nil
}

// coupleface is feature consistency distillation with mutual relation distillation, CoupleFace:
//
//	L     = L_fcd + λ · L_mrd
//	L_fcd = 1/N Σ_i ½ |ŝ_i - t̂_i|² = mean of 1 - c_i
//	L_mrd = 1/|Ω| Σ_i Σ_{k∈Ω_i} max(|<ŝ_i, e_k> - <t̂_i, e_k>| - q, 0),  |Ω| = Σ_i |Ω_i|
//
// e_k is what the bank holds of identity k: the teacher's unit vector of its latest crop. Ω_i
// are the K identities other than y_i whose e_k are most similar to t̂_i. The vectors are the
// teacher's, so they do not age, and they carry no gradient. A batch is put into the bank after
// its loss was taken. A crop of unknown identity is related to all identities and not put there.
//
// Confirmed by the paper's abstract, which is all of it that was to be had: the consistency of
// features by a distance, that relations between samples are mined for those that inform, and
// that a loss of its own transfers them. Our reading: the squared distance with ½, the bank with
// one vector of each identity, the student compared with the teacher's vectors there, other
// identities only, the form of the penalty, and all defaults. The classification loss that goes
// with it is a term of its own.
//
// The bank takes 4·d bytes an identity, 6·d where bfloat16 is searched: with the defaults and
// d = 512 at most 32 MiB, or 48 MiB. Checkpoints hold the former.
type coupleface struct {
	c      couplefaceSettings
	bank   *bank
	device string
}

func (l *coupleface) Params() []*layer.Param { return nil }

func (l *coupleface) State(s *torch.Scope) State {
	st := State{}
	l.bank.state(s, st)
	return st
}

func (l *coupleface) Restore(s *torch.Scope, st State) error { return l.bank.restore(s, l.device, st) }

func (l *coupleface) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	parts, p := Parts{}, v.unit()
	parts.know("dropped", float64(p.dropped))
	parts.know("bank", float64(l.bank.filled))
	if len(p.samples) == 0 {
		return zero(s, v.Student), parts
	}
	total := s.Mean(v.distance())
	parts.keep(s, "fcd", total)
	relations, n := l.relations(s, p)
	parts.know("relations", float64(n))
	if n > 0 {
		parts.keep(s, "mrd", relations)
		total = s.Add(total, s.Scale(relations, l.c.RelationWeight))
	}
	if p = byIdentity(p.known(s)); len(p.samples) > 0 {
		l.bank.push(s, p, v.Step)
	}
	return total, parts
}

// byIdentity has the identities for the samples, so that a bank that replaces repeats holds one
// entry of each.
func byIdentity(p pair) pair {
	p.samples, p.mirrored = make([]int64, len(p.labels)), nil
	for i, y := range p.labels {
		p.samples[i] = int64(y)
	}
	return p
}

// relations is L_mrd, and the number of its pairs |Ω|. Without any there is no tensor.
func (l *coupleface) relations(s *torch.Scope, p pair) (torch.Tensor, int) {
	b, k, n := l.bank, 0, 0
	for _, y := range p.labels {
		others := b.filled
		if _, ok := b.place[image{sample: int64(y)}]; ok {
			others--
		}
		k, n = max(k, min(others, l.c.Relations)), n+min(others, l.c.Relations)
	}
	if n == 0 {
		return torch.Tensor{}, 0
	}
	student, teacher, own := l.candidates(s, p, k)
	never := math.Inf(-1)
	chosen := s.Largest(s.Mask(s.Detach(teacher), own, never), k)
	pick := func(t torch.Tensor) torch.Tensor { return s.Gather(t, 1, chosen) }
	apart := s.ReLU(s.AddScalar(s.Abs(s.Sub(pick(student), pick(teacher))), -l.c.RelationMargin))
	return s.Scale(s.Sum(s.Mask(apart, pick(own), 0)), 1/float64(n)), n
}

// candidates are the similarities of each sample's student and teacher and the entries among
// which its k most similar ones are, and whether these are its own identity's.
func (l *coupleface) candidates(s *torch.Scope, p pair, k int) (student, teacher, own torch.Tensor) {
	b := l.bank
	labels := s.Reshape(intsLike(s, b.columns.labels, byIdentity(p).samples), -1, 1)
	own = s.Equal(labels, s.Slice(b.columns.labels, 0, 0, b.filled))
	var found torch.Tensor // N×C
	s.Engine().NoGrad(func() {
		similar := b.roughly(s, p.teacher, b.teacher)
		found = s.Largest(s.Mask(similar, own, math.Inf(-1)), withSpare(k, b.filled))
	})
	query := wide(s, p.student)
	both := b.compare(s, b.teacher, found, query, s.ToLike(p.teacher, query))
	return both[0], both[1], s.Gather(own, 1, found)
}
