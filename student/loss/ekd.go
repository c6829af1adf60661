package loss

import (
	"fmt"
	"slices"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

var ekdLoss = Loss{
	Name:   "ekd",
	About:  "evaluation-oriented: a pair ranks among the thresholds of false positive rates as with the teacher",
	Source: "Huang et al., CVPR 2022, arXiv 2206.02325; formula and defaults from its code, TFace, ekd.py",
	Formula: `L = positive · mean over P of (r(S_ij; A^s) - r(T_ij; A^t))²  +  negative · the same mean over H
r(x; A) = Σ_k σ((x - A_k)/temperature), k = 1 .. thresholds: the soft rank of a similarity
S_ij = <ŝ_i, ŝ_j>, T_ij = <t̂_i, t̂_j>; pairs i < j of the batch: P of one identity, Q of two
H: of Q the "hardest" pairs with the largest S_ij
A^s_k, A^t_k: running means of the thresholds at a false positive rate of 10^-k, each batch's
   the element ⌊|Q|/10^k⌋ of S (of T) over Q in falling order: its largest where |Q| < 10^k
With start: zero both thresholds are too small for some hundred steps, and ranks without a
   gradient where S_ij is far above them; start: first or unbiased mends that
The paper trains it beside ArcFace: --loss "arcface + ekd", with --sampler mixed for positives.`,
	Needs: TeacherEmbedding | Labels,
	Own:   true,
	defaults: ekdSettings{
		Positive: 0.02, Negative: 0.01, Thresholds: 6, Temperature: 0.01, Hardest: 2000, Momentum: 0.01, Start: "zero",
	},
}

func (c ekdSettings) settled() (settings, error) { return c, c.validate() }
func (c ekdSettings) build(Env) (term, error)    { return newEKD(c), nil }

// ekdSettings tune [ekd]. All defaults are those of the paper and its code.
type ekdSettings struct {
	// Positive and Negative are the weights of the two terms. With 0 one is only measured.
	Positive float64 `yaml:"positive" about:"weight of the pairs of one identity"`
	Negative float64 `yaml:"negative" about:"weight of the pairs of two identities"`
	// Thresholds is how many false positive rates there are: 1e-1, 1e-2 and so on.
	Thresholds int `yaml:"thresholds" about:"how many false positive rates: 1e-1, 1e-2, … (1 to 9)"`
	// Temperature is τ of the soft ranks, positive.
	Temperature float64 `yaml:"temperature" about:"softness of the ranks"`
	// Hardest is the most pairs of two identities that count.
	Hardest int `yaml:"hardest" about:"how many of the student's hardest pairs of two identities count"`
	// Momentum is the weight of a batch in the running thresholds, in (0, 1].
	Momentum float64 `yaml:"momentum" about:"weight of a batch in the running thresholds"`
	// Start says how the running thresholds begin. "zero": at 0, as published, so that they
	// are too small for some hundred steps, in which a new student, whose faces are all
	// alike, has hardly a gradient. "first": at those of the first batch. "unbiased": at 0,
	// divided by 1 - (1 - momentum)^batches.
	Start string `yaml:"start" about:"how the running thresholds begin: zero (as published), first (batch), unbiased"`
}

func (c ekdSettings) validate() error {
	switch {
	case !finite(c.Positive, c.Negative, c.Temperature, c.Momentum) || c.Positive < 0 || c.Negative < 0:
		return fmt.Errorf("ekd positive %g and negative %g must be finite and not negative", c.Positive, c.Negative)
	case c.Thresholds < 1 || c.Thresholds > 9:
		return fmt.Errorf("ekd thresholds %d is not in [1, 9]", c.Thresholds)
	case c.Temperature <= 0:
		return fmt.Errorf("ekd temperature %g is not positive", c.Temperature)
	case c.Hardest < 0:
		return fmt.Errorf("ekd hardest %d is negative", c.Hardest)
	case c.Momentum <= 0 || c.Momentum > 1:
		return fmt.Errorf("ekd momentum %g is not in (0, 1]", c.Momentum)
	case !slices.Contains([]string{"zero", "first", "unbiased"}, c.Start):
		return fmt.Errorf("ekd start %q is none of zero, first, unbiased", c.Start)
	}
	return nil
}

// ekd is evaluation-oriented knowledge distillation (Huang et al., CVPR 2022, arXiv
// 2206.02325; TFace, ekd.py):
//
//	L = 0.02 · mean over P of (r(S_ij; A^s) - r(T_ij; A^t))² + 0.01 · the same over H
//	r(x; A) = Σ_k σ((x - A_k)/τ), the exponent within ±50
//
// S_ij and T_ij are the similarities of the student's own embeddings, which may be of another
// length, and of the teacher's, of the pairs i < j of the batch. P are those of one identity, Q
// those of two, H the 2,000 of Q with the largest S_ij. The anchors A^s and A^t are exponential
// means, with weight 0.01 for a batch, of the thresholds at false positive rates 1e-1 … 1e-6:
// the elements ⌊|Q|/10^k⌋ of S, and of T on its own, over Q in falling order. They move before
// they are used, and have no gradient.
//
// Samples without a label or a usable teacher embedding are in no pair. Without Q the
// anchors stay and only P counts, without P only H; before the first Q there is no loss,
// unless the anchors start at zero. A rate below 1/|Q| has the largest similarity for its
// threshold, as in the code. So has an image that is drawn twice a positive pair with itself;
// its similarity is 1 to both, without a gradient. The code adds ArcFace's cross-entropy of
// the uniform half of a mixed batch: here that is a loss of its own, of the whole batch.
//
// From the cache it needs the teacher's embeddings. The memory is a few floats for each pair
// of Q and, for each threshold, for each of P and H; of N samples there are N(N-1)/2 pairs. One
// small tensor is read: the batch's thresholds.
type ekd struct {
	c ekdSettings
	// student and teacher are sums of thresholds, each with its weight, that add up to weight:
	// 1 but for anchors that start unbiased, and 0 before the first.
	student, teacher []float64
	weight           float64
}

func newEKD(c ekdSettings) *ekd {
	l := &ekd{c: c, student: make([]float64, c.Thresholds), teacher: make([]float64, c.Thresholds)}
	if c.Start == "zero" {
		l.weight = 1
	}
	return l
}

func (l *ekd) Params() []*layer.Param { return nil }

func (l *ekd) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	v = v.single()
	p, parts, total := v.unit(), Parts{}, zero(s, v.Student)
	same, other := labelledPairs(p.labels)
	parts.know("dropped", float64(p.dropped))
	parts.know("positives", float64(len(same)))
	parts.know("negatives", float64(len(other)))
	if len(same)+len(other) == 0 {
		return total, parts
	}
	all := v.grams()
	of := func(places []int64) similarities {
		return similarities{elements(s, all.student, places), elements(s, all.teacher, places)}
	}
	var negatives similarities
	if len(other) > 0 {
		negatives = of(other)
		hard := l.observe(s, negatives, len(other))
		negatives = similarities{s.Rows(negatives.student, hard), s.Rows(negatives.teacher, hard)}
	}
	if l.weight == 0 || s.Err() != nil {
		return total, parts
	}
	add := func(name string, weight float64, pairs similarities) {
		e := l.disagreement(s, pairs)
		parts.keep(s, name, e)
		total = s.Add(total, s.Scale(e, weight))
	}
	if len(same) > 0 {
		add("positive", l.c.Positive, of(same))
	}
	if min(len(other), l.c.Hardest) > 0 {
		add("negative", l.c.Negative, negatives)
	}
	return total, parts
}

// similarities are those of some pairs, one for each.
type similarities struct{ student, teacher torch.Tensor }

// observe moves the anchors by the n > 0 pairs of two identities of a batch. It gives the
// places of those that are hardest for the student.
func (l *ekd) observe(s *torch.Scope, q similarities, n int) (hard torch.Tensor) {
	at := make([]int64, l.c.Thresholds)
	for k, share := 0, n/10; k < len(at); k, share = k+1, share/10 {
		at[k] = int64(share)
	}
	hardest := min(n, l.c.Hardest)
	student, places := s.Top(s.Detach(q.student), max(hardest, n/10+1))
	teacher, _ := s.Top(q.teacher, n/10+1)
	index := intsLike(s, q.teacher, at)
	both := s.Concat([]torch.Tensor{s.Rows(student, index), s.ToLike(s.Rows(teacher, index), student)}, 0)
	thresholds := torch.ToData[float64](s, s.To(both, torch.Float64))
	if s.Err() != nil {
		return torch.Tensor{}
	}
	m := l.c.Momentum
	if l.c.Start == "first" && l.weight == 0 {
		m = 1
	}
	for k := range at {
		l.student[k] += m * (thresholds[k] - l.student[k])
		l.teacher[k] += m * (thresholds[len(at)+k] - l.teacher[k])
	}
	l.weight += m * (1 - l.weight)
	return s.Slice(places, 0, 0, hardest)
}

// disagreement is the mean over pairs of the squared difference of the soft ranks.
func (l *ekd) disagreement(s *torch.Scope, pairs similarities) torch.Tensor {
	return meanSquare(s, l.rank(s, pairs.student, l.student), s.Detach(l.rank(s, pairs.teacher, l.teacher)))
}

// rank is the soft rank of similarities among anchors.
func (l *ekd) rank(s *torch.Scope, x torch.Tensor, sums []float64) torch.Tensor {
	anchors := make([]float64, len(sums))
	for k, sum := range sums {
		anchors[k] = sum / l.weight
	}
	away := s.Sub(s.Reshape(x, -1, 1), floatsLike(s, x, anchors))
	return s.SumDim(s.Sigmoid(s.Clamp(s.Scale(away, 1/l.c.Temperature), -50, 50)), 1, false)
}

func (l *ekd) State(*torch.Scope) State {
	anchors := slices.Concat(l.student, l.teacher)
	return State{
		"anchors": {Shape: []int{2, len(l.student)}, Float64: anchors},
		"weight":  {Shape: []int{1}, Float64: []float64{l.weight}},
	}
}

func (l *ekd) Restore(_ *torch.Scope, st State) error {
	anchors, err := st.take("anchors", 2*len(l.student))
	if err != nil {
		return err
	}
	weight, err := st.take("weight", 1)
	if err != nil {
		return err
	}
	k := copy(l.student, anchors.Float64)
	copy(l.teacher, anchors.Float64[k:])
	l.weight = weight.Float64[0]
	return nil
}
