package loss

import (
	"fmt"
	"math"
	"math/rand/v2"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

var (
	arcfaceLoss = Loss{
		Name:   "arcface",
		About:  "margin softmax on labels, the margin an angle",
		Source: "Deng et al. 2019, arXiv 1801.07698, eq. 3",
		Formula: `L = mean over i of -log( exp(s·ψ(θ_y)) / (exp(s·ψ(θ_y)) + Σ_{k≠y} exp(s·cos θ_k)) ),  ψ(θ) = cos(θ + m)
θ_k is the angle between the student's embedding of sample i and the trained centre w_k of
identity k, y the label of i. Samples without a label are left out. The gradient takes the
shift ψ(θ) - cos θ for a constant (straight-through, as arcface_torch) or not.
Defaults: s = 64, m = 0.5 (paper). No teacher is needed.`,
		Needs:    Labels,
		Rate:     0.1,
		defaults: marginLoss{kind: "arcface", Margin: arcfaceMargin},
		bare:     true,
	}
	cosfaceLoss = Loss{
		Name:   "cosface",
		About:  "margin softmax on labels, the margin a cosine",
		Source: "Wang et al. 2018, arXiv 1801.09414, eq. 4",
		Formula: `L = mean over i of -log( exp(s·ψ(θ_y)) / (exp(s·ψ(θ_y)) + Σ_{k≠y} exp(s·cos θ_k)) ),  ψ(θ) = cos θ - m
θ_k is the angle between the student's embedding of sample i and the trained centre w_k of
identity k, y the label of i. Samples without a label are left out.
Defaults: s = 64, m = 0.35 (paper). No teacher is needed.`,
		Needs:    Labels,
		Rate:     0.1,
		defaults: marginLoss{kind: "cosface", Margin: cosfaceMargin},
		bare:     true,
	}

	arcfaceMargin = marginSettings{Scale: 64, Margin: 0.5, Gradient: "straight-through"}
	cosfaceMargin = marginSettings{Scale: 64, Margin: 0.35, Gradient: "straight-through"}
)

// marginLoss are the settings of a margin softmax alone.
type marginLoss struct {
	kind   string
	Margin marginSettings `yaml:"margin" about:"margin softmax on labels"`
}

func (c marginLoss) settled() (settings, error)  { return c, c.Margin.validate() }
func (c marginLoss) build(env Env) (term, error) { return newMargin(c.kind, c.Margin, env) }

// marginSettings tune a margin softmax.
type marginSettings struct {
	// Scale is s, the length that cosines are stretched to, positive.
	Scale float64 `yaml:"scale" about:"s, the length that cosines are stretched to"`
	// Margin is m: radians for arcface, cosine for cosface.
	Margin float64 `yaml:"margin" about:"m, radians for arcface, a cosine for cosface"`
	// Gradient says how the margin is differentiated. "straight-through"
	// treats the shift of the target's cosine as a constant, as arcface_torch
	// does; "differentiated" goes through acos and cos, with the factor
	// sin(θ+m)/sin θ, large near θ = 0. For cosface both are the same.
	Gradient string `yaml:"gradient" about:"of the margin: straight-through or differentiated"`
}

func (c marginSettings) validate() error {
	if !finite(c.Scale, c.Margin) || c.Scale <= 0 || c.Margin < 0 || c.Margin > math.Pi {
		return fmt.Errorf("margin softmax: scale %g must be positive and margin %g in [0, π]", c.Scale, c.Margin)
	}
	if c.Gradient != "straight-through" && c.Gradient != "differentiated" {
		return fmt.Errorf("margin gradient %q is none of straight-through, differentiated", c.Gradient)
	}
	return nil
}

// margin is cross-entropy on cosines to trained class centres w_k, with the
// target's cosine lowered by a margin before it is scaled:
//
//	arcface: s·cos(θ_y + m)   (Deng et al. 2019, arXiv 1801.07698, eq. 3)
//	cosface: s·(cos θ_y - m)  (Wang et al. 2018, arXiv 1801.09414, eq. 4)
//
// Samples without a label are left out.
type margin struct {
	kind    string
	c       marginSettings
	centres *layer.Param // classes×d
}

// centreSpread is the standard deviation that centres start with; only their
// directions matter.
const centreSpread = 0.01

func newMargin(kind string, c marginSettings, env Env) (*margin, error) {
	if env.Classes < 2 {
		where := "dataset"
		if env.Split != "" {
			where = "split " + env.Split
		}
		return nil, fmt.Errorf("loss %s needs at least 2 identities, the %s has %d", kind, where, env.Classes)
	}
	centres := layer.NewParam("centres.weight", []int{env.Classes, env.Dim}, func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(rng.NormFloat64() * centreSpread)
		}
	})
	return &margin{kind: kind, c: c, centres: centres}, nil
}

func (l *margin) Params() []*layer.Param            { return []*layer.Param{l.centres} }
func (l *margin) State(*torch.Scope) State          { return State{} }
func (l *margin) Restore(*torch.Scope, State) error { return nil }

func (l *margin) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	known := v.labelled()
	parts := Parts{}
	parts.know("unlabelled", float64(len(v.Labels)-known.n))
	if known.n == 0 {
		return zero(s, v.Student), parts
	}
	column := s.Reshape(known.target, -1, 1)
	centres := s.ToLike(l.centres.Tensor(), known.student)
	cosines := s.MatMul(known.student, s.Transpose(s.Unit(centres)))
	own := s.Gather(cosines, 1, column)
	logits := s.Scale(s.Scatter(cosines, 1, column, l.lowered(s, own)), l.c.Scale)
	parts.keep(s, "target_cosine", s.Mean(own))
	return s.CrossEntropy(logits, known.target), parts
}

// lowered is the target's cosine with the margin applied.
func (l *margin) lowered(s *torch.Scope, cosine torch.Tensor) torch.Tensor {
	if l.kind == "cosface" {
		return s.AddScalar(cosine, -l.c.Margin)
	}
	// Off ±1 the arc cosine has a finite derivative.
	const edge = 1e-7
	shifted := s.Cos(s.AddScalar(s.Acos(s.Clamp(cosine, -1+edge, 1-edge)), l.c.Margin))
	if l.c.Gradient == "differentiated" {
		return shifted
	}
	return s.Add(cosine, s.Detach(s.Sub(shifted, cosine)))
}
