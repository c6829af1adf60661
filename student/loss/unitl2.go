package loss

import (
	"fmt"

	"facepipe/student/torch"
)

var unitL2Loss = Loss{
	Name:   "unit-l2",
	About:  "the student's unit embedding is the teacher's: a fixed multiple of cosine",
	Source: "Yan et al. 2019, arXiv 1910.04985 (VarGFaceNet), eq. 5; Boutros et al. 2022, arXiv 2206.10526 (QuantFace)",
	Formula: `samples:  L = mean over samples of |ŝ_i - t̂_i|²      = 2 · cosine     (VarGFaceNet)
elements: L = mean over all elements of (ŝ - t̂)²     = 2/d · cosine   (QuantFace)
ŝ_i and t̂_i are the unit vectors of the student's and the teacher's embedding, d their
length. Default: samples. VarGFaceNet adds 7 times it to a margin softmax.`,
	Needs:    TeacherEmbedding,
	defaults: unitL2Settings{MeanOver: "samples"},
}

// unitL2Settings tune the squared distance of unit embeddings:
//
//	samples:  L = 1/N Σ |ŝ_i - t̂_i|² = 2/N Σ (1 - c_i)             (VarGFaceNet, eq. 5)
//	elements: L = 1/(N·d) Σ |ŝ_i - t̂_i|², 512 times less at d = 512 (QuantFace's code)
//
// It needs the teacher's embedding alone.
type unitL2Settings struct {
	MeanOver string `yaml:"mean_over" about:"samples (VarGFaceNet) or elements (QuantFace)"`
}

func (c unitL2Settings) settled() (settings, error) {
	if c.MeanOver != "samples" && c.MeanOver != "elements" {
		return c, fmt.Errorf("mean_over %q is none of samples, elements", c.MeanOver)
	}
	return c, nil
}

func (c unitL2Settings) build(env Env) (term, error) {
	scale := 1.0
	if c.MeanOver == "samples" {
		scale = float64(env.Dim)
	}
	return paired(func(s *torch.Scope, v *view, _ Parts) torch.Tensor {
		p := v.unit()
		return s.Scale(meanSquare(s, p.student, p.teacher), scale)
	}), nil
}
