package loss

import (
	"fmt"

	"facepipe/student/torch"
)

var hfcLoss = Loss{
	Name:   "hfc",
	About:  "feature consistency that weighs a sample by how far it is from its teacher's embedding",
	Source: "Wang et al., ECCV 2020 (EC-KD), after descriptions of it; no code was published",
	Formula: `L = Σ w_i d_i,  d_i = 1 - c_i,  w_i = exp(d_i/T) / Σ_j exp(d_j/T)
c_i is the cosine of the student's and the teacher's embedding of sample i. The farther a
sample is, the more it weighs. Equal distances or a large T make it the loss cosine.
Defaults: T = 1, which is the paper's softmax; weights are constants in the gradient.
The paper's other half, the exclusivity of a layer's filters, is a part of no loss here.`,
	Needs:    TeacherEmbedding,
	defaults: hfcSettings{Temperature: 1, Weights: "constant"},
}

// hfcSettings tune hardness-weighted feature consistency (the "knowledge" of EC-KD):
//
//	L = Σ w_i d_i,   d_i = 1 - c_i,   w_i = exp(d_i/T) / Σ_j exp(d_j/T)
//
// It needs the teacher's embedding alone. The paper's text speaks of a softmax of the
// distances and does not say how it is differentiated.
type hfcSettings struct {
	// Temperature is T, positive. The paper has none, which is 1.
	Temperature float64 `yaml:"hardness_temperature" about:"T, below 1 weighs hard samples more"`
	// Weights says what the gradient takes the weights for: "constant", or "differentiated"
	// as the bare formula is. The latter has the factor w_i·(1 + (d_i - L)/T), which drives
	// samples away from their teacher that are nearer than L - T.
	Weights string `yaml:"hardness_weights" about:"constant or differentiated, in the gradient"`
}

func (c hfcSettings) settled() (settings, error) {
	switch {
	case !finite(c.Temperature) || c.Temperature <= 0:
		return c, fmt.Errorf("hardness_temperature %g is not positive", c.Temperature)
	case c.Weights != "constant" && c.Weights != "differentiated":
		return c, fmt.Errorf("hardness_weights %q is none of constant, differentiated", c.Weights)
	}
	return c, nil
}

func (c hfcSettings) build(Env) (term, error) { return paired(c.step), nil }

func (c hfcSettings) step(s *torch.Scope, v *view, parts Parts) torch.Tensor {
	d := v.distance()
	w := s.Softmax(s.Scale(d, 1/c.Temperature), 0)
	if c.Weights == "constant" {
		w = s.Detach(w)
	}
	parts.keep(s, "distance", s.Mean(d))
	return s.Sum(s.Mul(w, d))
}
