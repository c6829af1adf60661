package loss

import (
	"fmt"

	"facepipe/student/torch"
)

var angularLoss = Loss{
	Name:   "angular",
	About:  "the direction of the student's embedding is the teacher's, far samples counting more",
	Source: "Duong et al. 2019, arXiv 1905.10620 (ShrinkTeaNet), last layer; Svitov & Alyamkin 2020, arXiv 2003.02586",
	Formula: `squared: L = mean of (1 - c_i)²
linear:  L = mean of 1 - c_i
c_i is the cosine of the student's and the teacher's embedding of sample i. "squared" is
the paper's; "linear" is what MarginDistillation compares with under the same name, and is
the loss cosine. Default: squared.
The paper's terms on inner layers need feature maps, which are not cached.`,
	Needs:    TeacherEmbedding,
	defaults: angularSettings{Form: "squared"},
}

// angularSettings tune ShrinkTeaNet's loss of the last layer, of which two forms were
// published:
//
//	squared: L = 1/N Σ (1 - c_i)²   (Duong et al. 2019, arXiv 1905.10620; VarGFaceNet cites it as its eq. 4)
//	linear:  L = 1/N Σ (1 - c_i)    (angular_distillation of Svitov & Alyamkin's MarginDistillation)
//
// It needs the teacher's embedding alone. The gradient of squared fades as a sample nears
// its teacher: 2(1 - c_i) times that of linear.
type angularSettings struct {
	Form string `yaml:"angular_form" about:"squared (the paper) or linear (MarginDistillation's comparison)"`
}

func (c angularSettings) settled() (settings, error) {
	if c.Form != "squared" && c.Form != "linear" {
		return c, fmt.Errorf("angular_form %q is none of squared, linear", c.Form)
	}
	return c, nil
}

func (c angularSettings) build(Env) (term, error) { return paired(c.step), nil }

func (c angularSettings) step(s *torch.Scope, v *view, parts Parts) torch.Tensor {
	d := v.distance()
	parts.keep(s, "distance", s.Mean(d))
	if c.Form == "squared" {
		d = s.Mul(d, d)
	}
	return s.Mean(d)
}
