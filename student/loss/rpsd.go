package loss

import (
	"fmt"

	"facepipe/student/torch"
)

// RPSDConfig tunes Relation-Based Pairwise Similarity Distillation with a memory
// bank (after Mishra & Uikey, arXiv 2508.11376; only its abstract is public, so
// the formulas are ours).
type RPSDConfig struct {
	// Weight is λ_R (default 25), reached linearly over Ramp steps (default 1000;
	// -1 for none).
	Weight float64 `json:"weight" yaml:"weight"`
	Ramp   int     `json:"ramp" yaml:"ramp"`
	// Relation is what a student embedding is compared with in the bank: the
	// teacher's embeddings ("cross", default), which never age, or the student's
	// own of earlier steps ("student").
	Relation string `json:"relation" yaml:"relation"`
	// Bank is M, the number of entries (default 16384; -1 for no bank).
	Bank int `json:"bank" yaml:"bank"`
	// Positives is P, the most entries of the same identity for each sample
	// (default 4).
	Positives int `json:"positives" yaml:"positives"`
	// Negatives is K_n, the number of mined other entries (default 64).
	Negatives int `json:"negatives" yaml:"negatives"`
	// Beta is where the penalty turns from square to linear (default 0.1).
	Beta float64 `json:"beta" yaml:"beta"`
	// Delta is the error below which a pair is not worth keeping (default 0.02; -1
	// keeps all).
	Delta float64 `json:"delta" yaml:"delta"`
	// MaxAge is A, the age in steps at which an entry lapses (default: never).
	MaxAge int `json:"max_age" yaml:"max_age"`
	// IgnoreAbove, when positive, leaves out pairs of different identities that
	// the teacher finds more similar than this: they are one person with two
	// labels (try 0.95). Off by default.
	IgnoreAbove float64 `json:"ignore_above" yaml:"ignore_above"`
}

func (c RPSDConfig) withDefaults() RPSDConfig {
	c.Weight = or(c.Weight, 25)
	c.Ramp = or(c.Ramp, 1000)
	c.Relation = or(c.Relation, "cross")
	c.Bank = or(c.Bank, 16384)
	c.Positives = or(c.Positives, 4)
	c.Negatives = or(c.Negatives, 64)
	c.Beta = or(c.Beta, 0.1)
	c.Delta = or(c.Delta, 0.02)
	return c
}

func (c RPSDConfig) validate() error {
	switch {
	case c.Relation != "cross" && c.Relation != "student":
		return fmt.Errorf("rpsd relation %q is none of cross, student", c.Relation)
	case !finite(c.Weight, c.Beta, c.Delta, c.IgnoreAbove):
		return fmt.Errorf("rpsd settings must be finite numbers: %+v", c)
	case c.Weight < 0 || c.Positives < 0 || c.Negatives < 0 || c.MaxAge < 0 || c.IgnoreAbove < 0:
		return fmt.Errorf("rpsd weight, positives, negatives, max_age and ignore_above must not be negative")
	case c.Beta <= 0:
		return fmt.Errorf("rpsd beta %g is not positive", c.Beta)
	}
	return nil
}

// RPSD makes the student's pair similarities follow the teacher's. With
// e_ij = R^s_ij - R^t_ij and the Huber penalty h_β:
//
//	L_bank  = mean of h_β(e_ij) over mined pairs of sample i and bank entry j
//	L_batch = mean of h_β(e_ij) over the pairs i < j of the batch
//	L       = ½ (L_batch + L_bank), L_batch alone until the bank has K_n entries
//
// R^t_ij = <t̂_i, b^t_j>; R^s_ij is <ŝ_i, b^t_j> (relation cross) or <ŝ_i, b^s_j>.
// Bank entries carry no gradient. The bank is a ring; a batch is pushed after its
// loss was taken.
type RPSD struct {
	c    RPSDConfig
	bank *bank
}

func newRPSD(c RPSDConfig, env Env) *RPSD {
	return &RPSD{c: c, bank: newBank(max(c.Bank, 0), env.Dim, c.Relation == "student")}
}

// ramp is the share of λ_R that applies at a step.
func (l *RPSD) ramp(step int) float64 {
	if step >= l.c.Ramp {
		return 1
	}
	return float64(step) / float64(l.c.Ramp)
}

// step adds L_RPSD of a batch to the graph and pushes the batch into the bank.
func (l *RPSD) step(s *torch.Scope, p unitPair, step int) (torch.Tensor, Parts) {
	parts := Parts{"bank": float64(l.bank.filled)}
	total := l.batchTerm(s, p)
	if l.bank.filled > 0 && l.bank.filled >= l.c.Negatives {
		bankTerm, pairs := l.bankTerm(s, p, step)
		total = s.Scale(s.Add(total, bankTerm), 0.5)
		parts["pairs"] = float64(pairs)
	}
	l.bank.push(s, p, step)
	return total, parts
}

// batchTerm is L_batch: gradients flow to both ends of a pair. The same face met
// twice is no pair.
func (l *RPSD) batchTerm(s *torch.Scope, p unitPair) torch.Tensor {
	var a, b []int64
	for i := range p.samples {
		for j := i + 1; j < len(p.samples); j++ {
			if p.samples[i] != p.samples[j] {
				a, b = append(a, int64(i)), append(b, int64(j))
			}
		}
	}
	if len(a) == 0 {
		return zero(s, p.student)
	}
	n := int64(len(p.samples))
	flat := make([]int64, len(a))
	for k := range a {
		flat[k] = a[k]*n + b[k]
	}
	index := intsLike(s, p.student, flat)
	similarities := func(x torch.Tensor) torch.Tensor {
		return s.Rows(s.Reshape(s.MatMul(x, s.Transpose(x)), -1), index)
	}
	return s.Huber(similarities(p.student), similarities(p.teacher), l.c.Beta)
}

// bankTerm is L_bank over the mined pairs, and their number. Without a pair it is
// zero with a zero gradient.
func (l *RPSD) bankTerm(s *torch.Scope, p unitPair, step int) (torch.Tensor, int) {
	var found torch.Tensor // N×C entry numbers
	s.Engine().NoGrad(func() { found = l.search(s, p, step) })
	student, teacher := l.similarities(s, p, found)
	c := candidates{rs: s.Floats(student), rt: s.Floats(teacher), entry: torch.ToData[int64](s, found)}
	if s.Err() != nil {
		return torch.Tensor{}, 0
	}
	pairs := l.mine(p, c, step)
	if len(pairs.at) == 0 {
		return zero(s, p.student), 0
	}
	mined := s.Rows(s.Reshape(student, -1), intsLike(s, student, pairs.at))
	return s.Huber(mined, floatsLike(s, mined, pairs.target), l.c.Beta), len(pairs.at)
}

// similarities are R^s and R^t of each sample and the entries that found (N×C) names for
// it, N×C. Only the sample's own embedding has a gradient.
func (l *RPSD) similarities(s *torch.Scope, p unitPair, found torch.Tensor) (student, teacher torch.Tensor) {
	n := len(p.samples)
	compare := func(vectors torch.Tensor, queries ...torch.Tensor) torch.Tensor {
		entries := s.ToLike(s.Rows(vectors, s.Reshape(found, -1)), queries[0])
		for i, q := range queries {
			queries[i] = s.Reshape(q, n, -1, 1)
		}
		d := l.bank.dim
		return s.BatchMatMul(s.Reshape(entries, n, -1, d), s.Concat(queries, 2)) // N×C×queries
	}
	column := func(t torch.Tensor, k int) torch.Tensor { return s.Reshape(s.Slice(t, 2, k, k+1), n, -1) }
	if l.bank.keepStudent {
		return column(compare(l.bank.student, p.student), 0), column(compare(l.bank.teacher, p.teacher), 0)
	}
	both := compare(l.bank.teacher, p.student, s.ToLike(p.teacher, p.student))
	return column(both, 0), column(both, 1)
}
