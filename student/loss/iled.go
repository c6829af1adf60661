package loss

import (
	"fmt"
	"math"
	"sort"

	"facepipe/internal/vec"
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
	// recent is a ring of distances for Trim; next is where the oldest stands.
	recent []float64
	next   int
	// fixed, where set, replaces the weights: a numeric derivative must hold still
	// what the analytic one treats as constant.
	fixed []float64
}

func newILED(c iledSettings) *ILED { return &ILED{c: c} }

// seen are the values that a step goes by: d and, with quality norm, n.
type seen struct{ distances, lengths *[]float64 }

// look has them read.
func (l *ILED) look(r *reader, v *view) (of seen) {
	of.distances = r.want(v.distance())
	if l.c.Quality == "norm" {
		of.lengths = r.want(v.lengths())
	}
	return of
}

// step adds L_ILED of a batch to the graph.
func (l *ILED) step(s *torch.Scope, v *view, of seen) (torch.Tensor, Parts) {
	d, samples, values := v.distance(), v.unit().samples, *of.distances
	l.observe(values)
	weights := l.fixed
	if weights == nil {
		weights = l.weights(values, samples, v.Step)
	}
	hard := l.hard(weights)
	if of.lengths != nil {
		weights = l.qualified(weights, *of.lengths)
	}
	total := 0.0
	for _, w := range weights {
		total += w
	}
	w := floatsLike(s, d, weights)
	parts := Parts{}
	parts.know("distance", vec.Mean(values))
	parts.know("hard", hard)
	return s.Scale(s.Sum(s.Mul(w, d)), 1/total), parts
}

// hard is the share of samples that are taken for hard: those with more weight than others
// or, in mode topk, with any.
func (l *ILED) hard(weights []float64) float64 {
	ordinary, n := 1.0, 0
	if l.c.Mode == "topk" {
		ordinary = 0
	}
	for _, w := range weights {
		if w > ordinary {
			n++
		}
	}
	return float64(n) / float64(len(weights))
}

// moments are running E[x] and E[x²], from the first batch on.
type moments struct {
	mean, square float64
	started      bool
}

// observe moves them by a batch, which has the weight rho.
func (m *moments) observe(values []float64, rho float64) {
	mean, square := vec.Mean(values), 0.0
	for _, v := range values {
		square += v * v
	}
	square /= float64(len(values))
	if !m.started {
		*m = moments{mean, square, true}
		return
	}
	m.mean += rho * (mean - m.mean)
	m.square += rho * (square - m.square)
}

func (m *moments) deviation() float64 { return math.Sqrt(max(m.square-m.mean*m.mean, 0)) }

// sameLength is the deviation of norms, as a share of their mean, up to which rounding explains
// it.
const sameLength = 1e-3

// qualified are the weights times the quality of samples with these norms.
func (l *ILED) qualified(weights, norms []float64) []float64 {
	l.norms.observe(norms, l.c.Rho)
	sigma := l.norms.deviation()
	if sigma <= sameLength*l.norms.mean {
		return weights
	}
	w := make([]float64, len(weights))
	for i, n := range norms {
		w[i] = weights[i] * min(max(1+l.c.Gain*(n-l.norms.mean)/sigma, l.c.Least), l.c.Most)
	}
	return w
}

// observe moves the running statistics by one batch.
func (l *ILED) observe(d []float64) {
	l.moments.observe(d, l.c.Rho)
	if l.c.Trim == 0 {
		return
	}
	for _, v := range d {
		if len(l.recent) < trimWindow {
			l.recent = append(l.recent, v)
			continue
		}
		l.recent[l.next] = v
		l.next = (l.next + 1) % trimWindow
	}
}

// weights gives w_i for the distances of a batch. At least one is positive.
func (l *ILED) weights(d []float64, samples []int64, step int) []float64 {
	w := make([]float64, len(d))
	for i := range w {
		w[i] = 1
	}
	if len(d) == 1 {
		return w
	}
	warm := step < l.c.Warmup
	switch {
	case l.c.Mode == "topk":
		topK(w, d, samples, l.ratio(step))
	case warm:
		return w
	case l.c.Mode == "threshold":
		l.threshold(w, d)
	case l.c.Mode == "softmax":
		softmax(w, d, l.c.Temperature)
	}
	if l.c.Trim > 0 && !warm {
		trim(w, d, quantile(l.recent, l.c.Trim))
	}
	return w
}

func (l *ILED) threshold(w, d []float64) {
	sigma := l.deviation()
	if sigma == 0 {
		return
	}
	for i, v := range d {
		excess := (v - l.mean - l.c.Kappa*sigma) / max(sigma, 1e-6)
		w[i] = 1 + l.c.Lambda*min(max(excess, 0), l.c.Cap)
	}
}

// ratio is the share of samples that mode topk keeps at a step.
func (l *ILED) ratio(step int) float64 {
	if step >= l.c.Warmup {
		return l.c.MinRatio
	}
	return 1 - (1-l.c.MinRatio)*float64(step)/float64(l.c.Warmup)
}

// topK zeroes the weights of all but the ⌈ratio·N⌉ largest distances, at least
// one; of equal distances the smaller sample number stays.
func topK(w, d []float64, samples []int64, ratio float64) {
	order := make([]int, len(d))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool {
		i, j := order[a], order[b]
		if d[i] != d[j] {
			return d[i] > d[j]
		}
		return samples[i] < samples[j]
	})
	keep := max(1, int(math.Ceil(ratio*float64(len(d)))))
	for _, i := range order[min(keep, len(order)):] {
		w[i] = 0
	}
}

func softmax(w, d []float64, temperature float64) {
	top, sum := d[0], 0.0
	for _, v := range d {
		top = max(top, v)
	}
	for i, v := range d {
		w[i] = math.Exp((v - top) / temperature)
		sum += w[i]
	}
	for i := range w {
		w[i] *= float64(len(w)) / sum
	}
}

// trim zeroes the weights above a limit, unless that would leave nothing.
func trim(w, d []float64, limit float64) {
	left := 0.0
	for i, v := range d {
		if v <= limit {
			left += w[i]
		}
	}
	if left == 0 {
		return
	}
	for i, v := range d {
		if v > limit {
			w[i] = 0
		}
	}
}

// quantile is the smallest value that a share q of the values does not exceed.
func quantile(values []float64, q float64) float64 {
	sorted := append([]float64(nil), values...)
	sort.Float64s(sorted)
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (l *ILED) state(st State) {
	st["iled.statistics"] = Array{Shape: []int{4}, Float64: append(l.moments.numbers(), float64(l.next))}
	if l.c.Quality == "norm" {
		st["iled.norms"] = Array{Shape: []int{3}, Float64: l.norms.numbers()}
	}
	st["iled.recent"] = Array{Shape: []int{len(l.recent)}, Float64: append([]float64{}, l.recent...)}
}

func (l *ILED) restore(st State) error {
	a, err := st.take("iled.statistics", 4)
	if err != nil {
		return err
	}
	l.moments, l.next = momentsOf(a.Float64), int(a.Float64[3])
	l.recent = append([]float64(nil), st["iled.recent"].Float64...)
	if l.c.Quality == "norm" {
		if a, err = st.take("iled.norms", 3); err == nil {
			l.norms = momentsOf(a.Float64)
		}
	}
	return err
}

// numbers are what a checkpoint holds of them.
func (m *moments) numbers() []float64 {
	started := 0.0
	if m.started {
		started = 1
	}
	return []float64{started, m.mean, m.square}
}

func momentsOf(numbers []float64) moments { return moments{numbers[1], numbers[2], numbers[0] == 1} }
