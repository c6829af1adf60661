package loss

import (
	"fmt"
	"math"

	"facepipe/student/torch"
)

var cckdLoss = Loss{
	Name:   "cckd",
	About:  "correlation congruence: a kernel of the embeddings of a batch is the teacher's",
	Source: "Peng et al., ICCV 2019, arXiv 1904.01802; TFace, cckd.py",
	Formula: `L = mean over all i, j of (k(S_ij) - k(T_ij))²
k(x) = exp(-2γ) · Σ_{p<P} (2γ)^p x^p / p!
S_ij and T_ij are the cosines of the student's and of the teacher's embeddings in a batch;
k is the Gaussian kernel exp(-γ|a - b|²) of unit vectors as a Taylor series of P terms.
Defaults (paper, code): γ = 0.4, P = 2. With them L is 0.1292138 times the loss sp.`,
	Needs:    TeacherEmbedding,
	defaults: cckdSettings{Gamma: 0.4, Order: 2},
}

// cckdSettings tune correlation congruence, the relation term of CCKD:
//
//	L = 1/N² Σ_ij (k(S_ij) - k(T_ij))²,   k(x) = e^{-2γ} Σ_{p=0}^{P-1} (2γ)^p x^p / p!
//
// It needs the teacher's embedding alone. Memory: a few times N² numbers.
type cckdSettings struct {
	// Gamma is γ, positive.
	Gamma float64 `yaml:"kernel_gamma" about:"γ, how fast the kernel falls with the distance"`
	// Order is P, the number of terms, from 2: the first is a constant.
	Order int `yaml:"kernel_order" about:"P, the terms of the kernel's Taylor series, from 2 to 20"`
}

func (c cckdSettings) settled() (settings, error) {
	switch {
	case !finite(c.Gamma) || c.Gamma <= 0:
		return c, fmt.Errorf("kernel_gamma %g is not positive", c.Gamma)
	case c.Order < 2 || c.Order > 20:
		return c, fmt.Errorf("kernel_order %d is not in 2 … 20", c.Order)
	}
	return c, nil
}

func (c cckdSettings) build(Env) (term, error) { return paired(c.step), nil }

func (c cckdSettings) step(s *torch.Scope, v *view, _ Parts) torch.Tensor {
	all := v.grams()
	return meanSquare(s, c.kernel(s, all.student), c.kernel(s, all.teacher))
}

// kernel is k without its constant term, which no difference sees.
func (c cckdSettings) kernel(s *torch.Scope, x torch.Tensor) torch.Tensor {
	factor := func(p int) float64 {
		return math.Exp(-2*c.Gamma) * math.Pow(2*c.Gamma, float64(p)) / math.Gamma(float64(p+1))
	}
	sum := s.Scale(x, factor(c.Order-1))
	for p := c.Order - 2; p > 0; p-- {
		sum = s.Mul(x, s.AddScalar(sum, factor(p)))
	}
	return sum
}
