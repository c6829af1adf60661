package loss

import (
	"errors"

	"facepipe/student/torch"
)

// logitMargin is that of the heads whose logits TFace compares.
const logitMargin = 0.4

// ofLogits says how logits come about, for the formulas of the losses that compare them.
const ofLogits = `z^s_ik = s·<ŝ_i, û_k>, z^t_ik = s·<t̂_i, ŵ_k>, both with the margin m at k = y_i (classifier arcface or
cosface); CE = mean of -log softmax(z^s_i)[y_i]
ŵ_k: the unit vector of identity k, a row of the teacher's classifier or its class centre; û_k: the
student's own, trained one. With classifier none û = ŵ, m = 0 and CE = 0.
s: margin.scale, m: margin.margin. Crops of an identity without a vector are left out.`

var (
	kdLoss = Loss{
		Name:   "kd",
		About:  "the teacher's softened class probabilities (Hinton), from its classifier or class centres",
		Source: "Hinton et al. 2015, arXiv 1503.02531, sec. 2; for faces as TFace and FaceX-Zoo have it",
		Formula: `L = CE + weight·T²·mean over i of KL(softmax(z^t_i / T) | softmax(z^s_i / T))
` + ofLogits,
		Needs: TeacherEmbedding | Labels | IdentityVectors,
		Rate:  rateOfClasses,
		defaults: kdSettings{Logits: logitSettings{"arcface", differentiating(arcfaceMargin, logitMargin), "auto"},
			Own: softSettings{Temperature: 4, Weight: 1}},
	}
	snnLoss = Loss{
		Name:   "snn",
		About:  "the teacher's logits by regression (SNN-mimic), from its classifier or class centres",
		Source: "Ba and Caruana 2014, arXiv 1312.6184, eq. 1; for faces as FaceX-Zoo has it",
		Formula: `L = CE + weight·mean over i and k of (z^s_ik - z^t_ik)²
` + ofLogits,
		Needs: TeacherEmbedding | Labels | IdentityVectors,
		Rate:  rateOfClasses,
		defaults: snnSettings{Logits: logitSettings{"arcface", differentiating(arcfaceMargin, logitMargin), "auto"},
			Own: weightSettings{Weight: 1}},
	}
)

// kdSettings tune kd. T = 4 and the weight of 1 are from TFace and FaceX-Zoo, s = 64 and m = 0.4
// from TFace.
type kdSettings struct {
	Logits logitSettings `yaml:",inline"`
	Own    softSettings  `yaml:",inline"`
}

type softSettings struct {
	Temperature float64 `yaml:"temperature" about:"T, which logits are divided by"`
	Weight      float64 `yaml:"weight" about:"of the divergence beside the cross-entropy"`
}

func (c kdSettings) settled() (settings, error) {
	var err error
	c.Logits, err = c.Logits.settled()
	return c, errors.Join(err, validTemperature("kd", c.Own.Temperature), validWeight("kd.weight", c.Own.Weight))
}

func (c kdSettings) build(env Env) (term, error) {
	l, err := newLogitTerm(kdLoss.Name, c.Logits, env)
	if err != nil {
		return nil, err
	}
	l.compare = func(s *torch.Scope, z logits, _ int, _ Parts) torch.Tensor {
		cooler := 1 / c.Own.Temperature
		d := divergence(s, s.Scale(z.student, cooler), s.Scale(z.teacher, cooler), c.Own.Temperature)
		return s.Scale(d, c.Own.Weight)
	}
	return l, nil
}

// snnSettings tune snn. The mean over the elements and the weight of 1 are FaceX-Zoo's.
type snnSettings struct {
	Logits logitSettings  `yaml:",inline"`
	Own    weightSettings `yaml:",inline"`
}

type weightSettings struct {
	Weight float64 `yaml:"weight" about:"of the squared difference beside the cross-entropy"`
}

func (c snnSettings) settled() (settings, error) {
	var err error
	c.Logits, err = c.Logits.settled()
	return c, errors.Join(err, validWeight("snn.weight", c.Own.Weight))
}

func (c snnSettings) build(env Env) (term, error) {
	l, err := newLogitTerm(snnLoss.Name, c.Logits, env)
	if err != nil {
		return nil, err
	}
	l.compare = func(s *torch.Scope, z logits, _ int, _ Parts) torch.Tensor {
		return s.Scale(meanSquare(s, z.student, z.teacher), c.Own.Weight)
	}
	return l, nil
}
