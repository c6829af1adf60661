package loss

import (
	"fmt"
	"math"

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

// step adds L_RPSD of a batch to the graph and pushes the batch into the bank.
func (l *RPSD) step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	parts := Parts{}
	parts.know("bank", float64(l.bank.filled))
	p := v.unit()
	own := columnsOf(s, p)
	total := l.batchTerm(s, v, own.samples)
	if l.minesBank() || l.near != nil || l.centres != nil {
		bankTerm, pairs := l.bankTerm(s, p, l.offers(s, p, own, v.Step))
		total = s.Scale(s.Add(total, bankTerm), 0.5)
		parts.keep(s, "pairs", pairs)
	}
	l.bank.push(s, p, v.Step)
	return total, parts
}

// columns are numbers on the device: of samples, their identities and, of entries, the steps.
type columns struct{ samples, labels, steps torch.Tensor }

// nobody is the identity of a sample without one. It equals no entry's.
const nobody = math.MinInt64

// columnsOf are those of a batch's samples, N×1.
func columnsOf(s *torch.Scope, p pair) columns {
	labels := make([]int64, len(p.labels))
	for i, v := range p.labels {
		if labels[i] = int64(v); v < 0 {
			labels[i] = nobody
		}
	}
	n := len(p.samples)
	both := s.Upload(p.student, torch.ArrayOf(p.samples, n, 1), torch.ArrayOf(labels, n, 1))
	return columns{samples: both[0], labels: both[1]}
}

// batchTerm is L_batch: gradients flow to both ends of a pair. The same face met
// twice is no pair.
func (l *RPSD) batchTerm(s *torch.Scope, v *view, samples torch.Tensor) torch.Tensor {
	p := v.unit()
	n := pairsOfFaces(p.samples)
	if n == 0 {
		return zero(s, p.student)
	}
	all, differ := v.grams(), s.Upper(s.Not(s.Equal(samples, s.Transpose(samples))))
	return s.Scale(l.penalty(s, all.student, all.teacher, differ), 1/float64(n))
}

// pairsOfFaces is how many pairs there are of different samples.
func pairsOfFaces(samples []int64) (n int) {
	met := map[int64]int{}
	for i, sample := range samples {
		n += i - met[sample]
		met[sample]++
	}
	return n
}

// penalty is the sum of h_β over some of the elements of similarities R^s and R^t.
func (l *RPSD) penalty(s *torch.Scope, rs, rt, some torch.Tensor) torch.Tensor {
	return s.Sum(wide(s, s.Mask(s.HuberEach(rs, s.ToLike(s.Detach(rt), rs), l.c.Beta), s.Not(some), 0)))
}

// minesBank is whether the bank has enough to be mined.
func (l *RPSD) minesBank() bool {
	_, negatives := l.c.ofBank()
	return l.bank.filled > 0 && (l.bank.filled >= negatives || l.c.small())
}

// offers are what the samples of a batch may be paired with, of every source; of neighbours,
// there may be none.
func (l *RPSD) offers(s *torch.Scope, p pair, own columns, step int) (all []offer) {
	if l.minesBank() {
		all = append(all, l.ofBank(s, p, own, step))
	}
	if l.near != nil {
		all = append(all, l.ofNeighbours(s, p)...)
	}
	if l.centres != nil {
		all = append(all, l.ofCentres(s, p)...)
	}
	return all
}

// bankTerm is L_bank over the mined pairs, and their number. Without a pair it is
// zero with a zero gradient.
func (l *RPSD) bankTerm(s *torch.Scope, p pair, offers []offer) (term, pairs torch.Tensor) {
	term = zero(s, p.student)
	pairs = s.To(s.Detach(term), torch.Float64)
	for _, o := range offers {
		term = s.Add(term, l.penalty(s, o.student, o.teacher, o.mined))
		pairs = s.Add(pairs, s.To(s.Sum(o.mined), torch.Float64))
	}
	return s.Mul(term, s.ToLike(s.Reciprocal(s.Clamp(pairs, 1, math.Inf(1))), term)), pairs
}

// offer is what samples may be paired with: their student's and their teacher's similarities to
// it, N×C, and which of these are pairs.
type offer struct{ student, teacher, mined torch.Tensor }

// ofBank are the bank's candidates.
func (l *RPSD) ofBank(s *torch.Scope, p pair, own columns, step int) (o offer) {
	var found torch.Tensor // N×C entry numbers
	s.Engine().NoGrad(func() { found = l.search(s, p, own, step) })
	o.student, o.teacher = l.similarities(s, p, found)
	s.Engine().NoGrad(func() { o.mined = l.mine(s, own, step, candidates{found, o.student, o.teacher}) })
	return o
}

// ofNeighbours are the nearest crops of others, if there are any.
func (l *RPSD) ofNeighbours(s *torch.Scope, p pair) []offer {
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
	n, d := len(near.Of), l.bank.dim
	found, there, known := make([]int64, n*most), make([]uint8, n*most), make([]uint8, n*most)
	for i, places := range near.Of {
		for k, place := range places {
			at := i*most + k
			if found[at], there[at] = int64(place), 1; p.labels[i] >= 0 && near.Known[place] {
				known[at] = 1
			}
		}
	}
	each(len(near.Vectors)/d, func(i int) { toUnit(near.Vectors[i*d:][:d]) })
	up := s.Upload(p.student, torch.ArrayOf(near.Vectors, len(near.Vectors)/d, d), torch.ArrayOf(found, n, most),
		torch.ArrayOf(there, n, most), torch.ArrayOf(known, n, most))
	both := l.bank.compare(s, up[0], up[1], p.student, s.ToLike(p.teacher, p.student))
	mined := s.And(s.Greater(up[2], 0.5), l.count(s, both[0], both[1]))
	if l.c.IgnoreAbove > 0 {
		mined = s.And(mined, s.Not(s.And(s.Greater(up[3], 0.5), l.tooAlike(s, both[1]))))
	}
	return []offer{{both[0], both[1], mined}}
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
func (l *RPSD) ofCentres(s *torch.Scope, p pair) []offer {
	n := len(p.labels)
	classes, known := make([]int64, n), make([]uint8, n)
	for i, y := range p.labels {
		if int(y) >= len(l.centres.rows) {
			s.Fail("take a step", fmt.Errorf("a crop has the label %d, there are vectors of %d identities", y, len(l.centres.rows)))
			return nil
		}
		if y >= 0 && l.centres.rows[y] >= 0 {
			classes[i], known[i] = int64(l.centres.rows[y]), 1
		}
	}
	table := l.centres.unit(s, wide(s, p.student))
	up := s.Upload(table, torch.ArrayOf(classes, n), torch.ArrayOf(known, n, 1))
	own := s.ToLike(s.Rows(table, up[0]), p.student)
	similar := func(t torch.Tensor) torch.Tensor { return s.SumDim(s.Mul(s.ToLike(t, own), own), 1, true) }
	student, teacher := similar(p.student), similar(p.teacher)
	return []offer{{student, teacher, s.And(s.Greater(up[1], 0.5), l.count(s, student, teacher))}}
}

// count is where a pair's error is worth keeping.
func (l *RPSD) count(s *torch.Scope, rs, rt torch.Tensor) torch.Tensor {
	return s.AtLeast(s.To(apartBy(s, rs, rt), torch.Float64), l.c.Delta)
}

// apartBy is |R^s - R^t| in float32, without history.
func apartBy(s *torch.Scope, rs, rt torch.Tensor) torch.Tensor {
	return s.Abs(s.Sub(s.To(s.Detach(rs), torch.Float32), s.To(s.Detach(rt), torch.Float32)))
}

// tooAlike is where the teacher's similarity in float32 is that of one person.
func (l *RPSD) tooAlike(s *torch.Scope, rt torch.Tensor) torch.Tensor {
	return s.Greater(s.To(s.To(s.Detach(rt), torch.Float32), torch.Float64), l.c.IgnoreAbove)
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
