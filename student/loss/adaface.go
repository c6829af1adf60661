package loss

import (
	"fmt"
	"math"

	"facepipe/student/torch"
)

var adafaceLoss = Loss{
	Name:   "adaface",
	About:  "margin softmax on labels, the margin by the length of the embedding, which stands for the quality of the image",
	Source: "Kim et al. 2022, arXiv 2204.00964, section 3.3; mk-minchul/AdaFace, head.py",
	Formula: `L = mean_i -log( exp(z_iy) / Σ_k exp(z_ik) ),  z_ik = scale·cos θ_ik
z_iy = scale·( cos(θ_iy - margin·q_i) - margin·(1 + q_i) )
q_i = clip( h·(n_i - μ)/(σ + 0.001), -1, 1 ) without gradient,  n_i = clip(|s_i|, 0.001, 100)
μ, σ: running mean and deviation of the lengths: μ ← t_alpha·mean(n) + (1 - t_alpha)·μ, before use; from 20 and 100.
θ_ik: angle between the embedding and the trained vector w_k of identity k; y: the sample's own.` + marginFormula,
	Needs: Labels,
	Own:   true,
	Rate:  rateOfClasses,
	defaults: adafaceSettings{Margin: marginSettings{Scale: 64, Margin: 0.4, Gradient: exact},
		H: 0.333, Alpha: 0.01, Sample: 1},
}

// adafaceSettings tune adaface. The defaults are those of the code.
type adafaceSettings struct {
	Margin marginSettings `yaml:"margin" about:"margin softmax on labels"`
	// H is h, how many running deviations of the length move q by one, inverse.
	H float64 `yaml:"h" about:"by how much the margin follows the length: 0.333 lets most lengths count"`
	// Alpha is t_alpha, the share of a batch in the running statistics.
	Alpha float64 `yaml:"t_alpha" about:"share of a batch in the running mean and deviation of the lengths, in [0, 1]"`
	// Sample is the share of the identities that take part in a step; see [classes].
	Sample float64 `yaml:"sample" about:"share of the identities that take part in a step (partial FC), in (0, 1]"`
}

func (c adafaceSettings) settled() (settings, error) {
	var err error
	if c.Margin, err = c.Margin.settled(); err != nil {
		return c, err
	}
	if !finite(c.H) || c.H < 0 || !(c.Alpha >= 0 && c.Alpha <= 1) {
		return c, fmt.Errorf("h %g must not be negative and t_alpha %g in [0, 1]", c.H, c.Alpha)
	}
	return c, validSample(c.Sample)
}

func (c adafaceSettings) build(env Env) (term, error) {
	centres, err := newCentres(c.Sample, env)
	return &adaface{classes: centres, c: c, lengths: running{20, 100}}, err
}

// adaface is cross-entropy on cosines to trained class centres, with a margin that is an
// angle for short embeddings, a cosine for those of usual length, and asks more of long ones:
//
//	z_y = s·(cos(clip(θ_y - m·q, 10⁻³, π - 10⁻³)) - m·(1 + q)),  z_k = s·cos θ_k
//	q = clip(h·(n - μ)/(σ + 10⁻³), -1, 1),  n = clip(|s|, 10⁻³, 100)
//
// All cosines are clamped to ±(1 - 10⁻³), and q has no gradient. q = -1 is arcface, 0
// cosface, 1 an angle the other way. The running μ and σ (by N-1) follow each batch's labelled
// samples before they are used. A batch of one has no σ, where the reference code is NaN for
// good: it leaves the running one as it is.
type adaface struct {
	*classes
	c       adafaceSettings
	lengths running
	// fixed, where set, replaces q, as in ILED.
	fixed []float64
}

// running are a mean and a standard deviation.
type running struct{ mean, deviation float64 }

func (l *adaface) State(*torch.Scope) State {
	return State{"lengths": {Shape: []int{2}, Float64: []float64{l.lengths.mean, l.lengths.deviation}}}
}

func (l *adaface) Restore(_ *torch.Scope, st State) error {
	a, err := st.take("lengths", 2)
	if err == nil {
		l.lengths = running{a.Float64[0], a.Float64[1]}
	}
	return err
}

func (l *adaface) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	known, parts := v.labelled(), Parts{}
	parts.know("unlabelled", float64(len(v.Labels)-known.n))
	if known.n == 0 {
		return zero(s, v.Student), parts
	}
	const edge = 1e-3
	k := l.choose(s, known, v.Step, parts)
	cosines := s.Clamp(s.Cosines(known.student, k.weight), -1+edge, 1-edge)
	a := cosinesOf(s, cosines, k.target)
	angle, cosine := l.margins(s, known.raw)
	lowered := shifted(s, l.c.Margin.Gradient, a.own, func(own torch.Tensor) torch.Tensor {
		turned := s.Clamp(s.Add(s.Acos(own), angle), edge, math.Pi-edge)
		return s.Sub(s.Cos(turned), cosine)
	})
	parts.keep(s, "target_cosine", s.Mean(a.own))
	parts.know("length", l.lengths.mean)
	return a.entropy(s, lowered, l.c.Margin.Scale), parts
}

// margins are -m·q_i and m·(1 + q_i), columns, once the statistics have seen the lengths.
func (l *adaface) margins(s *torch.Scope, raw torch.Tensor) (angle, cosine torch.Tensor) {
	q := l.qualities(torch.ToData[float64](s, s.To(s.Detach(s.Lengths(raw)), torch.Float64)))
	if l.fixed != nil {
		q = l.fixed
	}
	m := l.c.Margin.Margin
	a, c := make([]float64, len(q)), make([]float64, len(q))
	for i, q := range q {
		a[i], c[i] = -m*q, m*(1+q)
	}
	column := func(v []float64) torch.Tensor { return s.Reshape(floatsLike(s, raw, v), -1, 1) }
	return column(a), column(c)
}

// qualities are q_i of embeddings of these lengths.
func (l *adaface) qualities(lengths []float64) []float64 {
	q := make([]float64, len(lengths))
	for i, n := range lengths {
		q[i] = min(max(n, 1e-3), 100)
	}
	l.lengths.follow(q, l.c.Alpha)
	for i, n := range q {
		q[i] = min(max(l.c.H*(n-l.lengths.mean)/(l.lengths.deviation+1e-3), -1), 1)
	}
	return q
}

// follow moves towards the mean and the deviation of values by alpha.
func (r *running) follow(values []float64, alpha float64) {
	n, sum, square := float64(len(values)), 0.0, 0.0
	for _, v := range values {
		sum += v
	}
	if n == 0 {
		return
	}
	for _, v := range values {
		square += (v - sum/n) * (v - sum/n)
	}
	r.mean += alpha * (sum/n - r.mean)
	if n > 1 {
		r.deviation += alpha * (math.Sqrt(square/(n-1)) - r.deviation)
	}
}
