package loss

import (
	"fmt"
	"math"
	"math/rand/v2"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// MarginConfig tunes a margin softmax.
type MarginConfig struct {
	// Scale is s, the length that cosines are stretched to (default 64).
	Scale float64 `json:"scale" yaml:"scale"`
	// Margin is m: radians for arcface (default 0.5), cosine for cosface (0.35).
	Margin float64 `json:"margin" yaml:"margin"`
	// Gradient says how the margin is differentiated. "straight-through" (default)
	// treats the shift of the target's cosine as a constant, as arcface_torch
	// does; "differentiated" goes through acos and cos, with the factor
	// sin(θ+m)/sin θ, large near θ = 0. For cosface both are the same.
	Gradient string `json:"gradient" yaml:"gradient"`
}

func (c MarginConfig) withDefaults(cosface bool) MarginConfig {
	m := 0.5
	if cosface {
		m = 0.35
	}
	c.Scale = or(c.Scale, 64)
	c.Margin = or(c.Margin, m)
	c.Gradient = or(c.Gradient, "straight-through")
	return c
}

func (c MarginConfig) validate() error {
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
	c       MarginConfig
	centres *layer.Param // classes×d
}

// centreSpread is the standard deviation that centres start with; only their
// directions matter.
const centreSpread = 0.01

func newMargin(kind string, c MarginConfig, env Env) (*margin, error) {
	if env.Classes < 2 {
		return nil, fmt.Errorf("loss %s needs at least 2 identities, the dataset has %d", kind, env.Classes)
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
func (l *margin) NeedsTeacher() bool                { return false }
func (l *margin) NeedsLabels() bool                 { return true }

func (l *margin) Step(s *torch.Scope, b Batch) (torch.Tensor, Parts) {
	var keep, labels []int64
	for i, y := range b.Labels {
		if y >= 0 {
			keep, labels = append(keep, int64(i)), append(labels, int64(y))
		}
	}
	parts := Parts{"unlabelled": float64(len(b.Labels) - len(keep))}
	if len(keep) == 0 {
		return zero(s, b.Student), parts
	}
	student := b.Student
	if len(keep) < len(b.Labels) {
		student = s.Rows(student, intsLike(s, student, keep))
	}
	target := intsLike(s, student, labels)
	column := s.Reshape(target, -1, 1)
	centres := s.ToLike(l.centres.Tensor(), student)
	cosines := s.MatMul(s.Unit(student), s.Transpose(s.Unit(centres)))
	own := s.Gather(cosines, 1, column)
	logits := s.Scale(s.Scatter(cosines, 1, column, l.lowered(s, own)), l.c.Scale)
	parts["target_cosine"] = s.Scalar(s.Mean(own))
	return s.CrossEntropy(logits, target), parts
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
