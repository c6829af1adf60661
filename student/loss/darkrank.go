package loss

import (
	"fmt"
	"math"

	"facepipe/student/torch"
)

var darkrankLoss = Loss{
	Name:   "darkrank",
	About:  "each sample's nearest others in the batch come in the teacher's order",
	Source: "Chen et al., AAAI 2018, arXiv 1707.01220, hard transfer; TFace, darkrank.py",
	Formula: `L = - mean over i of Σ_{k=1..K} ( q_i,π(k) - log Σ_{m=k..K} exp q_i,π(m) )
q_ij = -α |ŝ_i - ŝ_j|^β;  π(1), …, π(K) are the K samples that the teacher finds nearest to
i, in its order; a sample is not among its own. This is the Plackett-Luce likelihood of
that order. It is not 0 for a perfect student.
Defaults: α = 3, β = 3, K = 3 neighbours (code). Smaller batches rank what they have.`,
	Needs:    TeacherEmbedding,
	defaults: darkrankSettings{Alpha: 3, Beta: 3, Ranked: 3},
}

// darkrankSettings tune DarkRank's hard transfer, the Plackett-Luce likelihood of the
// teacher's order of each sample's K nearest others under the student's scores
// q_ij = -α|ŝ_i - ŝ_j|^β:
//
//	L = -1/N Σ_i Σ_{k=1}^{K} (q_iπ(k) - log Σ_{m=k}^{K} exp q_iπ(m))
//
// It needs the teacher's embedding alone. Memory: a few times N² numbers. The code takes the
// first of a sorted row for the sample itself, which with equal embeddings may be another;
// here the sample is left out by its place.
type darkrankSettings struct {
	// Alpha is α, Beta is β, both positive.
	Alpha float64 `yaml:"score_alpha" about:"α, the factor of scores"`
	Beta  float64 `yaml:"score_beta" about:"β, the power of the distance in scores"`
	// Ranked is K, from 2: one alone has no order.
	Ranked int `yaml:"ranked" about:"K, how many of the nearest are ranked, from 2"`
}

func (c darkrankSettings) settled() (settings, error) {
	switch {
	case !finite(c.Alpha) || c.Alpha <= 0:
		return c, fmt.Errorf("score_alpha %g is not positive", c.Alpha)
	case !finite(c.Beta) || c.Beta <= 0:
		return c, fmt.Errorf("score_beta %g is not positive", c.Beta)
	case c.Ranked < 2:
		return c, fmt.Errorf("ranked %d is fewer than 2", c.Ranked)
	}
	return c, nil
}

func (c darkrankSettings) build(Env) (term, error) { return paired(c.step), nil }

func (c darkrankSettings) step(s *torch.Scope, v *view, _ Parts) torch.Tensor {
	p := v.unit()
	n := len(p.samples)
	k := min(c.Ranked, n-1)
	if k < 2 {
		return zero(s, v.Student)
	}
	self := make([]int64, n)
	for i := range self {
		self[i] = int64(i)
	}
	nearness := s.Clone(v.grams().teacher)
	s.Fill(nearness, 1, s.Reshape(intsLike(s, nearness, self), n, 1), math.Inf(-1))
	q := s.Gather(c.scores(s, p.student), 1, s.Ranked(nearness, k))
	var sum torch.Tensor
	for first := range k - 1 { // the last is sure
		rest := s.LogSumExp(s.Slice(q, 1, first, k), 1, false)
		surprise := s.Sub(rest, s.Reshape(s.Slice(q, 1, first, first+1), -1))
		if first == 0 {
			sum = surprise
		} else {
			sum = s.Add(sum, surprise)
		}
	}
	return s.Mean(sum)
}

// scores are q_ij. At a distance of 0 a power below 1 has no derivative.
func (c darkrankSettings) scores(s *torch.Scope, unit torch.Tensor) torch.Tensor {
	return s.Scale(s.Pow(s.Clamp(apart(s, unit), 1e-6, 3), c.Beta), -c.Alpha)
}
