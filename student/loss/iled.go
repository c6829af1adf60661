package loss

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"facepipe/student/torch"
)

// iledSettings tune Instance-Level Embedding Distillation with dynamic hard mining
// (after Mishra & Uikey, arXiv 2508.11376; only its abstract is public, so the
// formulas are ours).
type iledSettings struct {
	// Mode is threshold, topk or softmax; see [ILED].
	Mode string `yaml:"mode" about:"how samples are weighed: threshold, topk or softmax"`
	// Weight is λ_I. With 0 the term is only measured.
	Weight float64 `yaml:"weight" about:"λ_I, the weight of the term; 64 beside a classifier"`
	// Rho is the weight of a batch in the running statistics, in (0, 1].
	Rho float64 `yaml:"rho" about:"ρ, the weight of a batch in the running statistics"`
	// Kappa shifts the threshold by so many standard deviations.
	Kappa float64 `yaml:"kappa" about:"κ, shifts the threshold by so many standard deviations"`
	// Lambda is λ_h, the gain of hard samples.
	Lambda float64 `yaml:"lambda" about:"λ_h, the gain of hard samples (threshold)"`
	// Cap limits the excess, in standard deviations.
	Cap float64 `yaml:"cap" about:"the most a sample's excess counts, in standard deviations"`
	// Temperature of mode softmax, positive.
	Temperature float64 `yaml:"temperature" about:"T, below 1 weighs hard samples more (softmax)"`
	// MinRatio is r_min of mode topk, in (0, 1].
	MinRatio float64 `yaml:"min_ratio" about:"r_min, the share of samples that stays (topk)"`
	// Warmup is the number of steps with all weights 1 (threshold, softmax) or
	// over which the ratio anneals from 1 to MinRatio (topk).
	Warmup int `yaml:"warmup" about:"steps before samples are weighed or, in topk, until r_min is reached"`
	// Trim, when positive, is the quantile of recent distances above which a
	// sample is ignored after the warm-up: it is taken for label or teacher noise
	// (try 0.995).
	Trim float64 `yaml:"trim" about:"quantile of distances above which a sample is ignored, 0 for none"`
	// Quality is none or norm, which multiplies weights by the quality that the length of the
	// teacher's embedding tells of; see [ILED]. It is not for embeddings of one length.
	Quality string `yaml:"quality" about:"weights times a quality: none, or norm, that of the teacher's embedding"`
	// Gain is h, the weight of one standard deviation. Least and Most limit the factor.
	Gain  float64 `yaml:"quality_gain" about:"h, what one standard deviation of the norms adds to the factor"`
	Least float64 `yaml:"quality_least" about:"the smallest factor, above 0 and at most 1"`
	Most  float64 `yaml:"quality_most" about:"the largest factor, at least 1"`
	// Schedule moves λ_I over the run.
	Schedule Schedule `yaml:"schedule" about:"moves λ_I over the run"`
}

var iledDefaults = iledSettings{
	Mode: "threshold", Weight: 1, Rho: 0.01, Lambda: 1, Cap: 3, Temperature: 0.1, MinRatio: 0.5, Warmup: 1000,
	Quality: "none", Gain: 0.33, Least: 0.5, Most: 1.5, Schedule: noSchedule,
}

func (c iledSettings) validate() error {
	switch {
	case c.Mode != "threshold" && c.Mode != "topk" && c.Mode != "softmax":
		return fmt.Errorf("iled mode %q is none of threshold, topk, softmax", c.Mode)
	case c.Quality != "none" && c.Quality != "norm":
		return fmt.Errorf("iled quality %q is none of none, norm", c.Quality)
	case !finite(c.Weight, c.Rho, c.Kappa, c.Lambda, c.Cap, c.Temperature, c.MinRatio, c.Trim, c.Gain, c.Least, c.Most):
		return fmt.Errorf("iled settings must be finite numbers: %+v", c)
	case c.Rho <= 0 || c.Rho > 1:
		return fmt.Errorf("iled rho %g is not in (0, 1]", c.Rho)
	case c.MinRatio <= 0 || c.MinRatio > 1:
		return fmt.Errorf("iled min_ratio %g is not in (0, 1]", c.MinRatio)
	case c.Temperature <= 0 || c.Lambda < 0 || c.Cap < 0 || c.Weight < 0:
		return fmt.Errorf("iled temperature must be positive, lambda, cap and weight not negative")
	case c.Trim < 0 || c.Trim >= 1:
		return fmt.Errorf("iled trim %g is not in [0, 1)", c.Trim)
	}
	return c.validateQuality()
}

func (c iledSettings) validateQuality() error {
	if c.Gain < 0 || c.Least <= 0 || c.Least > 1 || c.Most < 1 {
		return fmt.Errorf("iled quality_gain %g must not be negative, quality_least %g be in (0, 1] and quality_most %g at least 1", c.Gain, c.Least, c.Most)
	}
	if err := c.Schedule.validate(); err != nil {
		return fmt.Errorf("iled %w", err)
	}
	return nil
}

// trimWindow is the number of recent distances that the trim quantile is taken of.
const trimWindow = 4096

// ILED weighs the distance d_i = 1 - c_i of each sample to its teacher embedding
// by how hard the sample is:
//
//	L = Σ w_i d_i / Σ w_i,   w without gradient
//	threshold: w_i = 1 + λ_h · clip((d_i - μ - κσ)/max(σ, 1e-6), 0, cap)
//	topk:      w_i = 1 for the ⌈r·N⌉ largest d_i, else 0; r anneals 1 → r_min
//	softmax:   w_i = N · exp(d_i/T) / Σ exp(d_j/T)
//
// μ and σ are running statistics of d, started with the first batch. It needs no
// labels.
//
// With quality norm w_i is multiplied, from the first step on, by
//
//	q_i = clip(1 + h · (n_i - μ_n)/σ_n, least, most)
//
// n_i is the length of the teacher's raw embedding as it is cached, which is the smaller the
// harder the face is to recognise; μ_n and σ_n are running statistics of it, moved by ρ as those
// of d are. Where σ_n ≤ 10⁻³ μ_n, lengths are all the same but for rounding, and q_i is 1: a run
// refuses a teacher of unit vectors before it begins. The form is that of AdaFace's indicator
// (Kim et al. 2022, arXiv 2204.00964), whose h the default is; the limits are ours.
type ILED struct {
	c iledSettings
	// norms are the running statistics for the quality.
	norms   moments
	moments // of d
	recent  ring
	// fixed, where set, replaces the weights: a numeric derivative must hold still
	// what the analytic one treats as constant.
	fixed []float64
}

func newILED(c iledSettings) *ILED { return &ILED{c: c} }

// step adds L_ILED of a batch to the graph. What is not differentiated is in float64.
func (l *ILED) step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	d, samples, parts := v.distance(), v.unit().samples, Parts{}
	var w, lengths torch.Tensor
	if l.c.Quality == "norm" {
		lengths = v.lengths()
	}
	s.Engine().NoGrad(func() {
		values := s.To(s.Detach(d), torch.Float64)
		l.observe(s, values)
		if l.fixed != nil {
			w = floatsLike(s, values, l.fixed)
		} else {
			w = l.weights(s, values, samples, v.Step)
		}
		parts.keep(s, "distance", s.Mean(values))
		parts.keep(s, "hard", l.hard(s, w))
		if !lengths.IsNone() {
			w = l.qualified(s, w, lengths)
		}
	})
	share := s.ToLike(s.Reciprocal(s.Sum(w)), d)
	return s.Mul(s.Sum(s.Mul(s.ToLike(w, d), d)), share), parts
}

// hard is the share of samples that are taken for hard: those with more weight than others
// or, in mode topk, with any.
func (l *ILED) hard(s *torch.Scope, weights torch.Tensor) torch.Tensor {
	ordinary := 1.0
	if l.c.Mode == "topk" {
		ordinary = 0
	}
	return s.Mean(s.To(s.Greater(weights, ordinary), torch.Float64))
}

// moments are running E[x] and E[x²], from the first batch on.
type moments struct {
	kept
	// values (float64) are whether they have begun, 1 or 0, E[x] and E[x²]; none before.
	values torch.Tensor
}

// kept is a scope for what outlives a step.
type kept struct{ scope *torch.Scope }

// keep is a tensor of float64 like another one's, with these values.
func (k *kept) keep(s *torch.Scope, like torch.Tensor, values []float64) torch.Tensor {
	if k.scope == nil {
		k.scope = s.Engine().NewScope()
	}
	k.scope.Close()
	return s.Move(torch.FromDataLike(s, like, values, len(values)), k.scope)
}

// observe moves them by a batch (a vector of float64), which has the weight rho.
func (m *moments) observe(s *torch.Scope, x torch.Tensor, rho float64) {
	if m.values.IsNone() && s.Err() == nil {
		m.values = m.keep(s, x, make([]float64, 3))
	}
	mean := s.Mean(x)
	batch := s.Stack([]torch.Tensor{s.OnesLike(mean), mean, s.Mean(s.Mul(x, x))})
	rate := s.AddScalar(s.Scale(m.part(s, 0), rho-1), 1) // 1 for the first
	s.Copy(m.values, s.Add(m.values, s.Mul(rate, s.Sub(batch, m.values))))
}

// part is one of the values.
func (m *moments) part(s *torch.Scope, i int) torch.Tensor { return s.Slice(m.values, 0, i, i+1) }

// meanAndDeviation are those of x.
func (m *moments) meanAndDeviation(s *torch.Scope) (mean, deviation torch.Tensor) {
	mean = m.part(s, 1)
	return mean, s.Sqrt(s.Clamp(s.Sub(m.part(s, 2), s.Mul(mean, mean)), 0, math.Inf(1)))
}

// sameLength is the deviation of norms, as a share of their mean, up to which rounding explains
// it.
const sameLength = 1e-3

// qualified are the weights times the quality of samples with these norms.
func (l *ILED) qualified(s *torch.Scope, weights, norms torch.Tensor) torch.Tensor {
	l.norms.observe(s, norms, l.c.Rho)
	mean, sigma := l.norms.meanAndDeviation(s)
	quality := s.Clamp(s.AddScalar(s.Div(s.Scale(s.Sub(norms, mean), l.c.Gain), sigma), 1), l.c.Least, l.c.Most)
	differ := s.Greater(s.Sub(sigma, s.Scale(mean, sameLength)), 0)
	return s.Where(differ, s.Mul(weights, quality), weights)
}

// observe moves the running statistics by one batch.
func (l *ILED) observe(s *torch.Scope, d torch.Tensor) {
	l.moments.observe(s, d, l.c.Rho)
	if l.c.Trim > 0 {
		l.recent.push(s, d)
	}
}

// weights gives w_i for the distances of a batch. At least one is positive.
func (l *ILED) weights(s *torch.Scope, d torch.Tensor, samples []int64, step int) torch.Tensor {
	w, warm := s.OnesLike(d), step < l.c.Warmup
	if len(samples) == 1 {
		return w
	}
	switch {
	case l.c.Mode == "topk":
		w = topK(s, d, samples, l.ratio(step))
	case warm:
		return w
	case l.c.Mode == "threshold":
		w = l.threshold(s, d)
	case l.c.Mode == "softmax":
		w = s.Scale(s.Softmax(s.Scale(d, 1/l.c.Temperature), 0), float64(len(samples)))
	}
	if l.c.Trim > 0 && !warm {
		w = trim(s, w, d, l.recent.quantile(s, l.c.Trim))
	}
	return w
}

func (l *ILED) threshold(s *torch.Scope, d torch.Tensor) torch.Tensor {
	mean, sigma := l.meanAndDeviation(s)
	excess := s.Div(s.Sub(s.Sub(d, mean), s.Scale(sigma, l.c.Kappa)), s.Clamp(sigma, 1e-6, math.Inf(1)))
	w := s.AddScalar(s.Scale(s.Clamp(excess, 0, l.c.Cap), l.c.Lambda), 1)
	return s.Where(s.Greater(sigma, 0), w, s.OnesLike(d))
}

// ratio is the share of samples that mode topk keeps at a step.
func (l *ILED) ratio(step int) float64 {
	if step >= l.c.Warmup {
		return l.c.MinRatio
	}
	return 1 - (1-l.c.MinRatio)*float64(step)/float64(l.c.Warmup)
}

// topK is 1 for the ⌈ratio·N⌉ largest distances, at least one, and else 0; of equal distances the
// smaller sample number stays.
func topK(s *torch.Scope, d torch.Tensor, samples []int64, ratio float64) torch.Tensor {
	n := len(samples)
	bySample := make([]int64, n)
	for i := range bySample {
		bySample[i] = int64(i)
	}
	slices.SortStableFunc(bySample, func(i, j int64) int { return cmp.Compare(samples[i], samples[j]) })
	order := intsLike(s, d, bySample)
	_, places := s.StableSort(s.Rows(d, order), true)
	keep := max(1, int(math.Ceil(ratio*float64(n))))
	w := s.ZerosLike(d)
	s.Fill(w, 0, s.Rows(order, s.Slice(places, 0, 0, keep)), 1)
	return w
}

// trim zeroes the weights above a limit, unless that would leave nothing.
func trim(s *torch.Scope, w, d, limit torch.Tensor) torch.Tensor {
	left := s.Mask(w, s.Not(s.AtMost(d, limit)), 0)
	return s.Where(s.Greater(s.Sum(left), 0), left, w)
}

// ring holds recent distances for Trim.
type ring struct {
	kept
	values       torch.Tensor // trimWindow of float64, none before the first
	filled, next int          // next is where the oldest stands, or the first free place
}

// push writes a batch over the oldest ones.
func (r *ring) push(s *torch.Scope, d torch.Tensor) {
	if r.values.IsNone() && s.Err() == nil {
		r.values = r.keep(s, d, make([]float64, trimWindow))
	}
	shape := s.Shape(d)
	for from := 0; s.Err() == nil && from < shape[0]; {
		n := min(shape[0]-from, trimWindow-r.next)
		s.CopyRows(r.values, r.next, s.Slice(d, 0, from, from+n))
		r.filled, r.next, from = min(r.filled+n, trimWindow), (r.next+n)%trimWindow, from+n
	}
}

// quantile is the smallest value that a share q of the values does not exceed.
func (r *ring) quantile(s *torch.Scope, q float64) torch.Tensor {
	sorted, _ := s.StableSort(s.Slice(r.values, 0, 0, r.filled), false)
	at := min(r.filled-1, int(q*float64(r.filled)))
	return s.Slice(sorted, 0, at, at+1)
}

func (l *ILED) state(s *torch.Scope, st State) {
	next := l.recent.next
	if l.recent.filled < trimWindow {
		next = 0 // the oldest
	}
	st["iled.statistics"] = Array{Shape: []int{4}, Float64: append(l.moments.numbers(s), float64(next))}
	if l.c.Quality == "norm" {
		st["iled.norms"] = Array{Shape: []int{3}, Float64: l.norms.numbers(s)}
	}
	recent := []float64{}
	if l.recent.filled > 0 {
		recent = torch.ToData[float64](s, s.Slice(l.recent.values, 0, 0, l.recent.filled))
	}
	st["iled.recent"] = Array{Shape: []int{len(recent)}, Float64: recent}
}

// restore takes back what state gave, on the device of a tensor.
func (l *ILED) restore(s *torch.Scope, like torch.Tensor, st State) error {
	a, err := st.take("iled.statistics", 4)
	if err != nil {
		return err
	}
	next, recent := int(a.Float64[3]), st["iled.recent"].Float64
	if next < 0 || next >= trimWindow || len(recent) > trimWindow {
		return fmt.Errorf("loss state iled.recent is out of range: %d values, next %d of %d", len(recent), next, trimWindow)
	}
	l.moments.values = l.moments.keep(s, like, a.Float64[:3])
	if n := len(recent); n > 0 {
		l.recent.values = l.recent.keep(s, like, append(slices.Clone(recent), make([]float64, trimWindow-n)...))
		if l.recent.filled, l.recent.next = n, next; n < trimWindow {
			l.recent.next = n
		}
	}
	if l.c.Quality == "norm" {
		if a, err = st.take("iled.norms", 3); err == nil {
			l.norms.values = l.norms.keep(s, like, a.Float64)
		}
	}
	return err
}

// numbers are what a checkpoint holds of them.
func (m *moments) numbers(s *torch.Scope) []float64 {
	if m.values.IsNone() {
		return make([]float64, 3)
	}
	return torch.ToData[float64](s, m.values)
}
