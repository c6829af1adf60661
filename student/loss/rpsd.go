package loss

import (
	"fmt"

	"facepipe/student/torch"
)

// rpsdSettings tune Relation-Based Pairwise Similarity Distillation with a memory
// bank (after Mishra & Uikey, arXiv 2508.11376; only its abstract is public, so
// the formulas are ours).
type rpsdSettings struct {
	// Weight is λ_R, reached linearly over Ramp steps. With 0 the term is only measured.
	Weight float64 `yaml:"weight" about:"λ_R, the weight of the term"`
	Ramp   int     `yaml:"ramp" about:"steps until the weight is reached"`
	// Relation is what a student embedding is compared with in the bank: the
	// teacher's embeddings ("cross"), which never age, or the student's own of
	// earlier steps ("student").
	Relation string `yaml:"relation" about:"compared with the bank's embeddings of the teacher (cross) or the student"`
	// Bank is M, the number of entries, 0 for no bank.
	Bank int `yaml:"bank" about:"entries of the memory bank, 0 for none"`
	// Repeats says what becomes of an entry whose sample comes again, mirrored the same
	// way: it is replaced ("replace"), so that no face fills the bank, or stays beside the
	// new one ("keep"), as runs of older versions had it. Those did not use a bank smaller
	// than Negatives, and searched it in bfloat16 whatever the settings.
	Repeats string `yaml:"repeats" about:"a face that comes again has its entry replaced (replace) or two (keep)"`
	// Positives is P, the most entries of the same identity for each sample.
	Positives int `yaml:"positives" about:"most entries of the same identity for each sample"`
	// Negatives is K_n, the number of mined other entries. Where this and Positives are
	// 0, there is no bank.
	Negatives int `yaml:"negatives" about:"mined other entries for each sample"`
	// Beta is where the penalty turns from square to linear, positive.
	Beta float64 `yaml:"beta" about:"β, the error at which the penalty turns from square to linear"`
	// Delta is the error below which a pair is not worth keeping; 0 keeps all.
	Delta float64 `yaml:"delta" about:"δ, the error below which a pair is left out, 0 for none"`
	// MaxAge is A, the age in steps at which an entry lapses, 0 for never.
	MaxAge int `yaml:"max_age" about:"steps after which an entry lapses, 0 for never"`
	// IgnoreAbove, when positive, leaves out pairs of different identities that
	// the teacher finds more similar than this: they are one person with two
	// labels (try 0.95).
	IgnoreAbove float64 `yaml:"ignore_above" about:"teacher's similarity above which two identities are one, 0 for none"`
}

// mostEntries are those of a bank of which nothing is said; see [Config.For].
const mostEntries = 16384

var rpsdDefaults = rpsdSettings{
	Weight: 25, Ramp: 1000, Relation: "cross", Bank: mostEntries, Repeats: "replace", Positives: 4, Negatives: 64, Beta: 0.1, Delta: 0.02,
}

func (c rpsdSettings) validate() error {
	switch {
	case c.Relation != "cross" && c.Relation != "student":
		return fmt.Errorf("rpsd relation %q is none of cross, student", c.Relation)
	case c.Repeats != "replace" && c.Repeats != "keep":
		return fmt.Errorf("rpsd repeats %q is none of replace, keep", c.Repeats)
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
//	L       = ½ (L_batch + L_bank), L_batch alone until the bank has K_n entries, or any
//	          where it has no room for so many
//
// R^t_ij = <t̂_i, b^t_j>; R^s_ij is <ŝ_i, b^t_j> (relation cross) or <ŝ_i, b^s_j>.
// Bank entries carry no gradient. The bank is a ring; a batch is pushed after its
// loss was taken.
type RPSD struct {
	c    rpsdSettings
	bank *bank
}

func newRPSD(c rpsdSettings, dim int) *RPSD {
	capacity := c.Bank
	if c.Positives+c.Negatives == 0 {
		capacity = 0
	}
	b := newBank(capacity, dim, c.Relation == "student")
	if c.Repeats == "replace" {
		b.replacing()
		b.closely = b.keepStudent || c.IgnoreAbove > 0
	}
	return &RPSD{c: c, bank: b}
}

// small is whether the bank has less room than there are negatives to be mined, and is used
// with what it has.
func (c rpsdSettings) small() bool { return c.Bank < c.Negatives && c.Repeats == "replace" }

// ramp is the share of λ_R that applies at a step.
func (l *RPSD) ramp(step int) float64 {
	if step >= l.c.Ramp {
		return 1
	}
	return float64(step) / float64(l.c.Ramp)
}

// step adds L_RPSD of a batch to the graph and pushes the batch into the bank.
func (l *RPSD) step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	parts := Parts{}
	parts.know("bank", float64(l.bank.filled))
	p, total := v.unit(), l.batchTerm(s, v)
	if l.bank.filled > 0 && (l.bank.filled >= l.c.Negatives || l.c.small()) {
		bankTerm, pairs := l.bankTerm(s, p, v.Step)
		total = s.Scale(s.Add(total, bankTerm), 0.5)
		parts.know("pairs", float64(pairs))
	}
	l.bank.push(s, p, v.Step)
	return total, parts
}

// batchTerm is L_batch: gradients flow to both ends of a pair. The same face met
// twice is no pair.
func (l *RPSD) batchTerm(s *torch.Scope, v *view) torch.Tensor {
	p := v.unit()
	n := len(p.samples)
	var flat []int64
	for i := range n {
		for j := i + 1; j < n; j++ {
			if p.samples[i] != p.samples[j] {
				flat = append(flat, int64(i*n+j))
			}
		}
	}
	if len(flat) == 0 {
		return zero(s, p.student)
	}
	index, all := intsLike(s, p.student, flat), v.grams()
	similarities := func(gram torch.Tensor) torch.Tensor { return s.Rows(s.Reshape(gram, -1), index) }
	return s.Huber(similarities(all.student), similarities(all.teacher), l.c.Beta)
}

// bankTerm is L_bank over the mined pairs, and their number. Without a pair it is
// zero with a zero gradient.
func (l *RPSD) bankTerm(s *torch.Scope, p pair, step int) (torch.Tensor, int) {
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
func (l *RPSD) similarities(s *torch.Scope, p pair, found torch.Tensor) (student, teacher torch.Tensor) {
	if l.bank.keepStudent {
		return l.bank.compare(s, l.bank.student, found, p.student)[0], l.bank.compare(s, l.bank.teacher, found, p.teacher)[0]
	}
	both := l.bank.compare(s, l.bank.teacher, found, p.student, s.ToLike(p.teacher, p.student))
	return both[0], both[1]
}
