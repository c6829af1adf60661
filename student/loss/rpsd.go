package loss

import (
	"fmt"

	"facepipe/internal/vec"
	"facepipe/student/torch"
)

// rpsdSettings tune Relation-Based Pairwise Similarity Distillation with a memory
// bank (after Mishra & Uikey, arXiv 2508.11376; only its abstract is public, so
// the formulas are ours).
type rpsdSettings struct {
	// Weight is λ_R, reached linearly over Ramp steps. With 0 the term is only measured.
	Weight float64 `yaml:"weight" about:"λ_R, the weight of the term"`
	Ramp   int     `yaml:"ramp" about:"steps until the weight is reached"`
	// Schedule moves λ_R over the run, beside Ramp.
	Schedule Schedule `yaml:"schedule" about:"moves λ_R over the run"`
	// Pool is where a sample's negatives are from: mined of the bank ("bank"), or the crops of
	// other identities that are nearest to its own by the teacher ("neighbours").
	Pool string `yaml:"pool" about:"a sample's negatives are of the bank, or the teacher's nearest crops of others (neighbours)"`
	// PositivesFrom is where its positives are from: the bank ("bank"), or one pair with its
	// identity's vector ("centres"), of the source that Proxies names.
	PositivesFrom string `yaml:"positives_from" about:"a sample's positives are of the bank, or its identity's vector (centres)"`
	Proxies       string `yaml:"proxies" about:"that vector is from the teacher's class centres, its classifier, or auto: the latter if there is one"`
	// Relation is what a student embedding is compared with in the bank: the
	// teacher's embeddings ("cross"), which never age, or the student's own of
	// earlier steps ("student"). Neighbours and centres are always the teacher's.
	Relation string `yaml:"relation" about:"compared with the bank's embeddings of the teacher (cross) or the student"`
	// Bank is M, the number of entries, 0 for no bank. Where neither negatives nor positives are
	// of the bank, there is none.
	Bank int `yaml:"bank" most:"16777216" about:"entries of the memory bank, 0 for none"`
	// Repeats says what becomes of an entry whose sample comes again, mirrored the same
	// way: it is replaced ("replace"), so that no face fills the bank, or stays beside the
	// new one ("keep"), as runs of older versions had it. Those did not use a bank smaller
	// than Negatives, and searched it in bfloat16 whatever the settings.
	Repeats string `yaml:"repeats" about:"a face that comes again has its entry replaced (replace) or two (keep)"`
	// Positives is P, the most entries of the same identity for each sample.
	Positives int `yaml:"positives" most:"65536" about:"most entries of the same identity for each sample"`
	// Negatives is K_n, the number of mined other entries or of nearest crops. Where this and
	// Positives are 0, there is no bank.
	Negatives int `yaml:"negatives" most:"65536" about:"mined other entries for each sample"`
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
	Weight: 25, Ramp: 1000, Schedule: noSchedule, Pool: "bank", PositivesFrom: "bank", Proxies: "centres", Relation: "cross", Bank: mostEntries, Repeats: "replace", Positives: 4, Negatives: 64, Beta: 0.1, Delta: 0.02,
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
	return c.validateSources()
}

func (c rpsdSettings) validateSources() error {
	for _, err := range []error{
		oneOf("pool", c.Pool, []string{"bank", "neighbours"}),
		oneOf("positives_from", c.PositivesFrom, []string{"bank", "centres"}),
		validateProxies(c.Proxies),
		c.Schedule.validate(),
	} {
		if err != nil {
			return fmt.Errorf("rpsd %w", err)
		}
	}
	if c.Pool == "neighbours" && c.Negatives == 0 {
		return fmt.Errorf("rpsd pool neighbours takes negatives of 1 or more, not 0: the number of nearest crops")
	}
	return nil
}

// ofBank are the most positives and negatives that are mined of the bank for a sample.
func (c rpsdSettings) ofBank() (positives, negatives int) {
	positives, negatives = c.Positives, c.Negatives
	if c.PositivesFrom == "centres" {
		positives = 0
	}
	if c.Pool == "neighbours" {
		negatives = 0
	}
	return positives, negatives
}

// banked is whether something is mined of a bank.
func (c rpsdSettings) banked() bool {
	positives, negatives := c.ofBank()
	return positives+negatives > 0
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
//
// What stands in place of the bank is part of the same mean L_bank, and there from the first
// step on:
//
//   - pool neighbours: j are the K_n crops of the dataset, of other identities, that are nearest
//     to sample i by the teacher, so that none that matters is missed for a bank that is small or
//     old. b^t_j is the unit embedding of crop j, not mirrored, also for a mirrored sample: both
//     images of a face have the same neighbours. All of them are pairs, and not half by the
//     largest error as in the bank. Of a sample without an identity all crops are others'.
//     Fewer than K_n are there where the dataset, or the split, has no more among them.
//   - positives_from centres: j is the identity's unit vector c_y alone, R^s = <ŝ_i, c_y> and
//     R^t = <t̂_i, c_y>. A sample without an identity, or whose identity has no vector, has none.
//
// Of these, too, pairs whose error is below δ, and neighbours above ignore_above, are left out.
// Neither has state: what they are follows from the samples' numbers, on all ranks alike. For
// neighbours a step takes at most 3·4·N·K_n·d bytes, 50 MB for a batch of 128, 64 neighbours and
// d = 512, and for centres there is a table as in the losses on classes.
type RPSD struct {
	c    rpsdSettings
	bank *bank
	// near gives the neighbours, nil without; centres are the identities' vectors, nil without.
	near    func(samples []int64) (Near, error)
	centres *classTable
}

func newRPSD(c rpsdSettings, dim int) *RPSD {
	capacity := c.Bank
	if !c.banked() {
		capacity = 0
	}
	b := newBank(capacity, dim, c.Relation == "student")
	if c.Repeats == "replace" {
		b.replacing()
		b.closely = b.keepStudent || c.IgnoreAbove > 0
	}
	return &RPSD{c: c, bank: b}
}

// ask gets what the run has in place of the bank.
func (l *RPSD) ask(env Env) (err error) {
	if l.c.PositivesFrom == "centres" {
		if l.centres, err = newClassTable("unified", l.c.Proxies, env); err != nil {
			return err
		}
	}
	if l.c.Pool != "neighbours" {
		return nil
	}
	if env.Neighbours == nil {
		return fmt.Errorf("rpsd pool neighbours needs one teacher's nearest crops: name one --teacher, or one of several by @")
	}
	l.near, err = env.Neighbours(l.c.Negatives)
	return err
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

// step adds L_RPSD of a batch, whose pairs are picked from offers, to the graph and pushes the
// batch into the bank.
func (l *RPSD) step(s *torch.Scope, v *view, offers []offer) (torch.Tensor, Parts) {
	parts := Parts{}
	parts.know("bank", float64(l.bank.filled))
	p, total := v.unit(), l.batchTerm(s, v)
	if l.minesBank() || l.near != nil || l.centres != nil {
		bankTerm, pairs := l.bankTerm(s, p, offers)
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

// minesBank is whether the bank has enough to be mined.
func (l *RPSD) minesBank() bool {
	_, negatives := l.c.ofBank()
	return l.bank.filled > 0 && (l.bank.filled >= negatives || l.c.small())
}

// offers are what the samples of a batch may be paired with, of every source; of neighbours,
// there may be none.
func (l *RPSD) offers(r *reader, s *torch.Scope, v *view) (all []offer) {
	p := v.unit()
	if l.minesBank() {
		all = append(all, l.ofBank(r, s, p, v.Step))
	}
	if l.near != nil {
		all = append(all, l.ofNeighbours(r, s, p)...)
	}
	if l.centres != nil {
		all = append(all, l.ofCentres(r, s, p)...)
	}
	return all
}

// bankTerm is L_bank over the mined pairs, and their number. Without a pair it is
// zero with a zero gradient.
func (l *RPSD) bankTerm(s *torch.Scope, p pair, offers []offer) (torch.Tensor, int) {
	var mined []torch.Tensor
	var target []float64
	for _, o := range offers {
		if pairs := o.mined(len(p.samples)); len(pairs.at) > 0 {
			mined = append(mined, s.Rows(s.Reshape(o.student, -1), intsLike(s, o.student, pairs.at)))
			target = append(target, pairs.target...)
		}
	}
	if len(mined) == 0 {
		return zero(s, p.student), 0
	}
	is := mined[0]
	if len(mined) > 1 {
		is = s.Concat(mined, 0)
	}
	return s.Huber(is, floatsLike(s, is, target), l.c.Beta), len(target)
}

// ofBank are the bank's candidates.
func (l *RPSD) ofBank(r *reader, s *torch.Scope, p pair, step int) offer {
	var found torch.Tensor // N×C entry numbers
	s.Engine().NoGrad(func() { found = l.search(s, p, step) })
	student, teacher := l.similarities(s, p, found)
	return offer{student, r.want(found), r.want(student), r.want(teacher), func(i int, c candidates) []int {
		return l.mineRow(p.samples[i], p.labels[i], c, step)
	}}
}

// ofNeighbours are the nearest crops of others, if there are any.
func (l *RPSD) ofNeighbours(r *reader, s *torch.Scope, p pair) []offer {
	near, err := l.near(p.samples)
	if err != nil {
		s.Fail("fetch the neighbours of a batch", err)
		return nil
	}
	most := 0
	for _, places := range near.Of {
		most = max(most, len(places))
	}
	if most == 0 {
		return nil
	}
	found := make([]int64, 0, len(near.Of)*most)
	for _, places := range near.Of {
		for k := range most {
			place := 0 // stands for none
			if k < len(places) {
				place = places[k]
			}
			found = append(found, int64(place))
		}
	}
	d := l.bank.dim
	each(len(near.Vectors)/d, func(i int) { toUnit(near.Vectors[i*d:][:d]) })
	vectors := torch.FromDataLike(s, p.student, near.Vectors, len(near.Vectors)/d, d)
	both := l.bank.compare(s, vectors, s.Reshape(intsLike(s, p.student, found), len(near.Of), -1), p.student, s.ToLike(p.teacher, p.student))
	mine := func(i int, c candidates) (mined []int) {
		for k, place := range near.Of[i] {
			one := l.c.IgnoreAbove > 0 && p.labels[i] >= 0 && near.Known[place] && float64(c.rt[k]) > l.c.IgnoreAbove
			if !one && l.counts(c.rs[k], c.rt[k]) {
				mined = append(mined, k)
			}
		}
		return mined
	}
	return []offer{{both[0], nil, r.want(both[0]), r.want(both[1]), mine}}
}

// toUnit makes a vector a unit one, unless it has no direction.
func toUnit(v []float32) {
	length := vec.Norm(v)
	if !vec.HasDirection(length) {
		return
	}
	for k, x := range v {
		v[k] = float32(float64(x) / length)
	}
}

// ofCentres are the vectors of the samples' identities, one each.
func (l *RPSD) ofCentres(r *reader, s *torch.Scope, p pair) []offer {
	classes, known := make([]int64, len(p.labels)), make([]bool, len(p.labels))
	for i, y := range p.labels {
		if int(y) >= len(l.centres.rows) {
			s.Fail("take a step", fmt.Errorf("a crop has the label %d, there are vectors of %d identities", y, len(l.centres.rows)))
			return nil
		}
		if known[i] = y >= 0 && l.centres.rows[y] >= 0; known[i] {
			classes[i] = int64(l.centres.rows[y])
		}
	}
	table := l.centres.unit(s, wide(s, p.student))
	own := s.ToLike(s.Rows(table, intsLike(s, table, classes)), p.student)
	similar := func(t torch.Tensor) torch.Tensor { return s.SumDim(s.Mul(s.ToLike(t, own), own), 1, true) }
	student := similar(p.student)
	return []offer{{student, nil, r.want(student), r.want(similar(p.teacher)), func(i int, c candidates) []int {
		if !known[i] || !l.counts(c.rs[0], c.rt[0]) {
			return nil
		}
		return []int{0}
	}}}
}

// counts is whether a pair's error is worth keeping.
func (l *RPSD) counts(rs, rt float32) bool { return float64(abs(rs-rt)) >= l.c.Delta }

// similarities are R^s and R^t of each sample and the entries that found (N×C) names for
// it, N×C. Only the sample's own embedding has a gradient.
func (l *RPSD) similarities(s *torch.Scope, p pair, found torch.Tensor) (student, teacher torch.Tensor) {
	if l.bank.keepStudent {
		return l.bank.compare(s, l.bank.student, found, p.student)[0], l.bank.compare(s, l.bank.teacher, found, p.teacher)[0]
	}
	both := l.bank.compare(s, l.bank.teacher, found, p.student, s.ToLike(p.teacher, p.student))
	return both[0], both[1]
}
