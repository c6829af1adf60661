package loss

import (
	"fmt"
	"math"
	"math/rand/v2"

	"facepipe/student/torch"
)

var (
	arcfaceLoss = Loss{
		Name:   "arcface",
		About:  "margin softmax on labels, the margin an angle",
		Source: "Deng et al. 2019, arXiv 1801.07698, eq. 3; insightface, arcface_torch",
		Formula: `L = mean_i -log( exp(z_iy) / Σ_k exp(z_ik) ),  z_ik = scale·cos θ_ik,  z_iy = scale·cos(θ_iy + margin)
θ_ik: angle between the embedding and the trained vector w_k of identity k; y: the sample's own.` + marginFormula,
		Needs:    Labels,
		Rate:     rateOfClasses,
		defaults: marginLoss{kind: "arcface", Margin: arcfaceMargin, Sample: 1},
		bare:     true,
	}
	cosfaceLoss = Loss{
		Name:   "cosface",
		About:  "margin softmax on labels, the margin a cosine",
		Source: "Wang et al. 2018, arXiv 1801.09414, eq. 4; insightface, arcface_torch",
		Formula: `L = mean_i -log( exp(z_iy) / Σ_k exp(z_ik) ),  z_ik = scale·cos θ_ik,  z_iy = scale·(cos θ_iy - margin)
θ_ik: angle between the embedding and the trained vector w_k of identity k; y: the sample's own.
margin 0 is the normalised softmax (NormFace).` + marginFormula,
		Needs:    Labels,
		Rate:     rateOfClasses,
		defaults: marginLoss{kind: "cosface", Margin: cosfaceMargin, Sample: 1},
		bare:     true,
	}

	arcfaceMargin = marginSettings{Scale: 64, Margin: 0.5, Gradient: straightThrough}
	cosfaceMargin = marginSettings{Scale: 64, Margin: 0.35, Gradient: straightThrough}
)

// marginFormula is what the formulas of all losses with a margin end with.
const marginFormula = `
gradient: straight-through takes what the margin adds for a constant, exact differentiates it.
sample < 1: k runs over the identities of the batch and others drawn, sample·C in all.`

// How a margin is differentiated.
const (
	straightThrough = "straight-through"
	exact           = "exact"
)

// settledGradient is the way to differentiate a margin by its name; older files have another
// one for exact.
func settledGradient(name string) (string, error) {
	switch name {
	case "differentiated":
		return exact, nil
	case straightThrough, exact:
		return name, nil
	}
	return name, fmt.Errorf("gradient %q of the margin is none of %s, %s", name, straightThrough, exact)
}

// marginLoss are the settings of a margin softmax alone.
type marginLoss struct {
	kind   string
	Margin marginSettings `yaml:"margin" about:"margin softmax on labels"`
	// Sample is the share of the identities that take part in a step; see [classes].
	Sample float64 `yaml:"sample" about:"share of the identities that take part in a step (partial FC), in (0, 1]"`
}

func (c marginLoss) settled() (settings, error) {
	var err error
	if c.Margin, err = c.Margin.settled(); err != nil {
		return c, err
	}
	return c, validSample(c.Sample)
}

func (c marginLoss) build(env Env) (term, error) { return newMargin(c.kind, c.Margin, c.Sample, env) }

// marginSettings tune a margin softmax.
type marginSettings struct {
	// Scale is s, the length that cosines are stretched to, positive.
	Scale float64 `yaml:"scale" about:"what cosines are multiplied by"`
	// Margin is m: radians for arcface, cosine for cosface, both for adaface.
	Margin float64 `yaml:"margin" about:"margin: radians for arcface, a cosine for cosface, both for adaface"`
	// Gradient says how the margin is differentiated: "straight-through" treats the shift of
	// the target's cosine as a constant, as arcface_torch does; "exact" goes through acos and
	// cos, with the factor sin(θ+m)/sin θ, large near θ = 0. For cosface both are the same.
	Gradient string `yaml:"gradient" about:"of the margin: straight-through or exact"`
}

func (c marginSettings) settled() (_ marginSettings, err error) {
	if !finite(c.Scale, c.Margin) || c.Scale <= 0 || c.Margin < 0 || c.Margin > math.Pi {
		return c, fmt.Errorf("margin softmax: scale %g must be positive and margin %g in [0, π]", c.Scale, c.Margin)
	}
	c.Gradient, err = settledGradient(c.Gradient)
	return c, err
}

// margin is cross-entropy on cosines to trained class centres w_k, with the
// target's cosine lowered by a margin before it is scaled:
//
//	arcface: s·cos(θ_y + m)   (Deng et al. 2019, arXiv 1801.07698, eq. 3)
//	cosface: s·(cos θ_y - m)  (Wang et al. 2018, arXiv 1801.09414, eq. 4)
//
// Samples without a label are left out.
type margin struct {
	*classes
	kind string
	c    marginSettings
}

// centreSpread is the standard deviation that centres start with; only their
// directions matter.
const centreSpread = 0.01

// scatter draws them.
func scatter(rng *rand.Rand, data []float32) {
	for i := range data {
		data[i] = float32(rng.NormFloat64() * centreSpread)
	}
}

// newCentres are vectors of which only the directions matter.
func newCentres(sample float64, env Env) (*classes, error) { return newClasses(sample, env, scatter) }

func newMargin(kind string, c marginSettings, sample float64, env Env) (*margin, error) {
	centres, err := newCentres(sample, env)
	return &margin{classes: centres, kind: kind, c: c}, err
}

func (l *margin) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	known, parts := v.labelled(), Parts{}
	parts.know("unlabelled", float64(len(v.Labels)-known.n))
	if known.n == 0 {
		return zero(s, v.Student), parts
	}
	a := l.cosines(s, known, v.Step, parts)
	parts.keep(s, "target_cosine", s.Mean(a.own))
	return a.entropy(s, l.lowered(s, a.own), l.c.Scale), parts
}

// lowered is the target's cosine with the margin applied.
func (l *margin) lowered(s *torch.Scope, cosine torch.Tensor) torch.Tensor {
	if l.kind == "cosface" {
		return s.AddScalar(cosine, -l.c.Margin)
	}
	return lowerAngles(s, l.c.Gradient, cosine, func(angle torch.Tensor) torch.Tensor { return s.AddScalar(angle, l.c.Margin) })
}

// lowerAngles are the cosines of angles that a margin was added to. The angles are a little off
// 0 and π, where they have no finite derivative.
func lowerAngles(s *torch.Scope, gradient string, cosines torch.Tensor, margin func(angle torch.Tensor) torch.Tensor) torch.Tensor {
	const edge = 1e-7
	return shifted(s, gradient, cosines, func(cosines torch.Tensor) torch.Tensor {
		return s.Cos(margin(s.Acos(s.Clamp(cosines, -1+edge, 1-edge))))
	})
}

// shifted is what margin makes of cosines, with the gradient that is asked for. Straight
// through, that of what else the margin depends on stays exact.
func shifted(s *torch.Scope, gradient string, cosine torch.Tensor, margin func(torch.Tensor) torch.Tensor) torch.Tensor {
	if gradient == exact {
		return margin(cosine)
	}
	still := s.Detach(cosine)
	return s.Add(cosine, s.Sub(margin(still), still))
}
