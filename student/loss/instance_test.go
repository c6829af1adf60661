package loss

import (
	"math"
	"strings"
	"testing"

	"facepipe/student/torch/torchtest"
)

// samplesCosines are c_i = <ŝ_i, t̂_i>.
func (p problem) samplesCosines() []float64 {
	c := make([]float64, p.n)
	for i := range c {
		c[i] = inner(direction(row(p.student, i, p.d)), direction(row(p.teacher, i, p.d)))
	}
	return c
}

// unit-l2 is 2 times cosine, or 2/d times it, and angular's linear form is cosine: in value and
// in gradient.
func TestMultiplesOfCosine(t *testing.T) {
	e := torchtest.Open(t)
	p := newProblem(41, 7, 8)
	cosine, ofCosine := p.value(t, e, builder(t, Config{Name: "cosine"}, p.d))
	for _, tt := range []struct {
		loss, section string
		factor        float64
	}{
		{"unit-l2", "{}", 2},
		{"unit-l2", "mean_over: samples", 2},
		{"unit-l2", "mean_over: elements", 2.0 / 8},
		{"angular", "angular_form: linear", 1},
		{"hfc", "hardness_temperature: 1e9", 1},
	} {
		got, gradient := p.value(t, e, builder(t, config(t, tt.loss, tt.section), p.d))
		if math.Abs(got-tt.factor*cosine) > 1e-9 {
			t.Errorf("%s of %s is %g, want %g times %g", tt.loss, tt.section, got, tt.factor, cosine)
		}
		for i := range gradient {
			if math.Abs(gradient[i]-tt.factor*ofCosine[i]) > 1e-9 {
				t.Errorf("%s of %s: gradient %d is %g, want %g", tt.loss, tt.section, i, gradient[i], tt.factor*ofCosine[i])
				break
			}
		}
	}
}

// angular is the mean of (1 - c)², by default.
func TestAngularIsItsDefinition(t *testing.T) {
	e := torchtest.Open(t)
	p, want := newProblem(42, 7, 8), 0.0
	for _, c := range p.samplesCosines() {
		want += square(1-c) / float64(p.n)
	}
	if got, _ := p.value(t, e, builder(t, Config{Name: "angular"}, p.d)); math.Abs(got-want) > 1e-12 {
		t.Errorf("it is %g, want %g", got, want)
	}
}

// hfc weighs by the softmax of distances. Weights that are constant have the gradient of the
// weighted sum, -w_i (t̂_i - c_i ŝ_i)/|s_i|; those that are differentiated the factor
// 1 + (d_i - L)/T beside.
func TestHFCIsItsDefinition(t *testing.T) {
	e := torchtest.Open(t)
	const temperature = 0.5
	p := newProblem(43, 7, 8)
	c, weight, sum, want := p.samplesCosines(), make([]float64, p.n), 0.0, 0.0
	for i := range c {
		weight[i] = math.Exp((1 - c[i]) / temperature)
		sum += weight[i]
	}
	for i := range c {
		weight[i] /= sum
		want += weight[i] * (1 - c[i])
	}
	for _, weights := range []string{"constant", "differentiated"} {
		got, gradient := p.value(t, e, builder(t, config(t, "hfc", "{hardness_temperature: 0.5, hardness_weights: "+weights+"}"), p.d))
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: it is %g, want %g", weights, got, want)
		}
		for i := range p.n {
			factor := weight[i]
			if weights == "differentiated" {
				factor *= 1 + (1-c[i]-want)/temperature
			}
			s := row(p.student, i, p.d)
			unit, teacher, length := direction(s), direction(row(p.teacher, i, p.d)), math.Sqrt(inner(s, s))
			for k, g := range row(gradient, i, p.d) {
				if want := -factor * (teacher[k] - c[i]*unit[k]) / length; math.Abs(g-want) > 1e-12 {
					t.Errorf("%s: gradient %d of sample %d is %g, want %g", weights, k, i, g, want)
				}
			}
		}
	}
}

// What no loss can be made of is an error that names the loss and the setting.
func TestLossesRefuseNonsense(t *testing.T) {
	for _, tt := range [][3]string{
		{"hfc", "hardness_temperature: -1", "hardness_temperature"},
		{"hfc", "hardness_temperature: .inf", "hardness_temperature"},
		{"hfc", "hardness_weights: none", "hardness_weights"},
		{"angular", "angular_form: cubic", "angular_form"},
		{"unit-l2", "mean_over: all", "mean_over"},
		{"cckd", "kernel_gamma: .nan", "kernel_gamma"},
		{"cckd", "kernel_order: 1", "kernel_order"},
		{"cckd", "kernel_order: 21", "kernel_order"},
		{"rkd", "distance_weight: -1", "distance_weight"},
		{"rkd", "angle_weight: .nan", "angle_weight"},
		{"rkd", "{distance_weight: 0, angle_weight: 0}", "nothing is left"},
		{"pkt", "log_epsilon: -1e-6", "log_epsilon"},
		{"darkrank", "score_alpha: -1", "score_alpha"},
		{"darkrank", "score_beta: .inf", "score_beta"},
		{"darkrank", "ranked: 1", "ranked"},
	} {
		err := config(t, tt[0], tt[1]).Validate()
		if err == nil || !strings.Contains(err.Error(), "loss "+tt[0]+": ") || !strings.Contains(err.Error(), tt[2]) {
			t.Errorf("%s of %s: %v", tt[0], tt[1], err)
		}
	}
}
