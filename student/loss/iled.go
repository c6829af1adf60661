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
}

var iledDefaults = iledSettings{
	Mode: "threshold", Weight: 1, Rho: 0.01, Lambda: 1, Cap: 3, Temperature: 0.1, MinRatio: 0.5, Warmup: 1000,
}

func (c iledSettings) validate() error {
	switch {
	case c.Mode != "threshold" && c.Mode != "topk" && c.Mode != "softmax":
		return fmt.Errorf("iled mode %q is none of threshold, topk, softmax", c.Mode)
	case !finite(c.Weight, c.Rho, c.Kappa, c.Lambda, c.Cap, c.Temperature, c.MinRatio, c.Trim):
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
type ILED struct {
	c iledSettings
	// mean and square are the running E[d] and E[d²].
	mean, square float64
	started      bool
	// recent is a ring of distances for Trim; next is where the oldest stands.
	recent []float64
	next   int
	// fixed, where set, replaces the weights: a numeric derivative must hold still
	// what the analytic one treats as constant.
	fixed []float64
}

func newILED(c iledSettings) *ILED { return &ILED{c: c} }

// step adds L_ILED of a batch to the graph.
func (l *ILED) step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	d, samples := v.distance(), v.unit().samples
	values := make([]float64, len(samples))
	for i, x := range s.Floats(d) {
		values[i] = float64(x)
	}
	if s.Err() != nil {
		return torch.Tensor{}, nil
	}
	l.observe(values)
	weights := l.fixed
	if weights == nil {
		weights = l.weights(values, samples, v.Step)
	}
	total := 0.0
	for _, w := range weights {
		total += w
	}
	w := floatsLike(s, d, weights)
	parts := Parts{}
	parts.know("distance", vec.Mean(values))
	parts.know("hard", l.hard(weights))
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

// observe moves the running statistics by one batch.
func (l *ILED) observe(d []float64) {
	m, q := vec.Mean(d), 0.0
	for _, v := range d {
		q += v * v
	}
	q /= float64(len(d))
	if !l.started {
		l.mean, l.square, l.started = m, q, true
	} else {
		l.mean += l.c.Rho * (m - l.mean)
		l.square += l.c.Rho * (q - l.square)
	}
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
	sigma := math.Sqrt(max(l.square-l.mean*l.mean, 0))
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
	started := 0.0
	if l.started {
		started = 1
	}
	st["iled.statistics"] = Array{Shape: []int{4}, Float64: []float64{started, l.mean, l.square, float64(l.next)}}
	st["iled.recent"] = Array{Shape: []int{len(l.recent)}, Float64: append([]float64{}, l.recent...)}
}

func (l *ILED) restore(st State) error {
	a, err := st.take("iled.statistics", 4)
	if err != nil {
		return err
	}
	l.started, l.mean, l.square, l.next = a.Float64[0] == 1, a.Float64[1], a.Float64[2], int(a.Float64[3])
	l.recent = append([]float64(nil), st["iled.recent"].Float64...)
	return nil
}
