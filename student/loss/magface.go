package loss

import (
	"fmt"
	"math"

	"facepipe/student/torch"
)

var magfaceLoss = Loss{
	Name:   "magface",
	About:  "margin softmax on labels, the margin larger for longer embeddings, which are drawn to be long",
	Source: "Meng et al. 2021, arXiv 2103.06627, section 3; IrvingMeng/MagFace, models/magface.py",
	Formula: `L = mean_i [ -log( exp(z_iy) / Σ_k exp(z_ik) ) + lambda_g·g(a_i) ],  z_ik = scale·cos θ_ik
z_iy = scale·cos(θ_iy + m(a_i)); with easy_margin only where cos θ_iy > 0
a_i = clip(|s_i|, l_a, u_a),  g(a) = a/u_a² + 1/a
m(a) = l_margin + (u_margin - l_margin)·(a - l_a)/(u_a - l_a)
θ_ik: angle between the embedding and the trained vector w_k of identity k; y: the sample's own.
lambda_g should be at least scale·K·u_a²·l_a²/(u_a² - l_a²), K the slope of m.` + marginFormula,
	Needs: Labels,
	Own:   true,
	Rate:  rateOfClasses,
	defaults: magfaceSettings{Scale: 64, LowerLength: 10, UpperLength: 110, LowerMargin: 0.45, UpperMargin: 0.8,
		Lambda: 35, Easy: true, Gradient: exact, Sample: 1},
}

// magfaceSettings tune magface. Names are those of the code, defaults those of its run.sh.
type magfaceSettings struct {
	// Scale is s, positive.
	Scale float64 `yaml:"scale" about:"what cosines are multiplied by"`
	// LowerLength and UpperLength are what lengths are clipped to, positive.
	LowerLength float64 `yaml:"l_a" about:"length below which embeddings count as this long"`
	UpperLength float64 `yaml:"u_a" about:"length above which embeddings count as this long"`
	// LowerMargin and UpperMargin are the margins at these lengths, radians.
	LowerMargin float64 `yaml:"l_margin" about:"margin at length l_a, radians"`
	UpperMargin float64 `yaml:"u_margin" about:"margin at length u_a, radians"`
	// Lambda is λ_g, the weight of the regulariser of the length. The code's own default of 20
	// is too small for its other defaults, 22.6 being the least for which the paper proves its
	// point; its run.sh has 35.
	Lambda float64 `yaml:"lambda_g" about:"weight of the regulariser that draws embeddings to be long"`
	// Easy leaves samples more than a right angle off their centre without a margin, as the
	// code does and the paper does not say.
	Easy bool `yaml:"easy_margin" about:"no margin for samples more than a right angle off their centre"`
	// Gradient is that of the margin with respect to the cosine, exact in the code. That with
	// respect to the length is exact either way.
	Gradient string `yaml:"gradient" about:"of the margin: straight-through or exact"`
	// Sample is the share of the identities that take part in a step; see [classes].
	Sample float64 `yaml:"sample" about:"share of the identities that take part in a step (partial FC), in (0, 1]"`
}

func (c magfaceSettings) settled() (settings, error) {
	switch {
	case !finite(c.Scale, c.LowerLength, c.UpperLength, c.LowerMargin, c.UpperMargin, c.Lambda):
		return c, fmt.Errorf("settings must be finite numbers: %+v", c)
	case c.Scale <= 0 || c.Lambda < 0:
		return c, fmt.Errorf("scale %g must be positive and lambda_g %g not negative", c.Scale, c.Lambda)
	case c.LowerLength <= 0 || c.UpperLength <= c.LowerLength:
		return c, fmt.Errorf("l_a %g must be positive and u_a %g larger", c.LowerLength, c.UpperLength)
	case c.LowerMargin < 0 || c.UpperMargin < c.LowerMargin || c.UpperMargin > math.Pi:
		return c, fmt.Errorf("l_margin %g and u_margin %g must be in [0, π] in this order", c.LowerMargin, c.UpperMargin)
	}
	var err error
	if c.Gradient, err = settledGradient(c.Gradient); err != nil {
		return c, err
	}
	return c, validSample(c.Sample)
}

func (c magfaceSettings) build(env Env) (term, error) {
	centres, err := newCentres(c.Sample, env)
	return &magface{classes: centres, c: c}, err
}

// magface is arcface with a margin m(a) that grows with the length a of the embedding, and a
// regulariser g(a) that rewards length, so that easy samples become long and hard ones short:
//
//	a = clip(|s|, l_a, u_a),  m(a) = l_m + (u_m - l_m)·(a - l_a)/(u_a - l_a)
//	L = mean of -log softmax with s·cos(θ_y + m(a)), plus λ_g · mean of a/u_a² + 1/a
//
// The length has its gradient through both. Samples without a label are left out.
type magface struct {
	*classes
	c magfaceSettings
}

func (l *magface) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	known, parts := v.labelled(), Parts{}
	parts.know("unlabelled", float64(len(v.Labels)-known.n))
	if known.n == 0 {
		return zero(s, v.Student), parts
	}
	a := l.cosines(s, known, v.Step, parts)
	length := s.Clamp(s.Lengths(known.raw), l.c.LowerLength, l.c.UpperLength)
	regulariser := s.Mean(s.Add(s.Scale(length, 1/(l.c.UpperLength*l.c.UpperLength)), s.Reciprocal(length)))
	parts.keep(s, "target_cosine", s.Mean(a.own))
	parts.keep(s, "length", s.Mean(length))
	entropy := a.entropy(s, l.lowered(s, a.own, l.margin(s, length)), l.c.Scale)
	return s.Add(entropy, s.Scale(regulariser, l.c.Lambda)), parts
}

// margin is m(a).
func (l *magface) margin(s *torch.Scope, length torch.Tensor) torch.Tensor {
	slope := (l.c.UpperMargin - l.c.LowerMargin) / (l.c.UpperLength - l.c.LowerLength)
	return s.AddScalar(s.Scale(length, slope), l.c.LowerMargin-slope*l.c.LowerLength)
}

// lowered is the target's cosine with the margin applied.
func (l *magface) lowered(s *torch.Scope, cosine, margin torch.Tensor) torch.Tensor {
	low := lowerAngles(s, l.c.Gradient, cosine, func(angle torch.Tensor) torch.Tensor { return s.Add(angle, margin) })
	if l.c.Easy {
		return s.Where(s.Greater(cosine, 0), low, cosine)
	}
	return low
}
