package loss

import (
	"fmt"

	"facepipe/student/torch"
)

var pktLoss = Loss{
	Name:   "pkt",
	About:  "probabilistic knowledge transfer: how likely a sample takes each other for its neighbour is the teacher's",
	Source: "Passalis & Tefas, ECCV 2018, arXiv 1803.10837; FaceX-Zoo, pkt.py",
	Formula: `L = mean over all i, j of Q_ij · log((Q_ij + ε) / (P_ij + ε))
P_ij = K(S_ij) / Σ_k K(S_ik),  Q_ij = K(T_ij) / Σ_k K(T_ik),  K(x) = (x + 1) / 2
S_ij and T_ij are the cosines of the student's and of the teacher's embeddings in a batch.
The diagonal counts, as in the code. Default (code): ε = 1e-6.
The mean over N² makes L small, about the divergence of a row over N: give it a weight.`,
	Needs:    TeacherEmbedding,
	defaults: pktSettings{Epsilon: 1e-6},
}

// pktSettings tune probabilistic knowledge transfer, the divergence of two tables of
// conditional probabilities:
//
//	L = 1/N² Σ_ij Q_ij log((Q_ij + ε)/(P_ij + ε))
//	P_ij = K(S_ij)/Σ_k K(S_ik),   Q_ij = K(T_ij)/Σ_k K(T_ik),   K(x) = (x + 1)/2
//
// It needs the teacher's embedding alone. Memory: a few times N² numbers. The code adds ε to
// the lengths of embeddings too and makes a NaN 0; here too short an embedding has no
// direction, as in all losses.
type pktSettings struct {
	// Epsilon is ε, positive.
	Epsilon float64 `yaml:"log_epsilon" about:"ε, what keeps the logarithms finite"`
}

func (c pktSettings) settled() (settings, error) {
	if !finite(c.Epsilon) || c.Epsilon <= 0 {
		return c, fmt.Errorf("log_epsilon %g is not positive", c.Epsilon)
	}
	return c, nil
}

func (c pktSettings) build(Env) (term, error) { return paired(c.step), nil }

func (c pktSettings) step(s *torch.Scope, v *view, _ Parts) torch.Tensor {
	all := v.grams()
	p, q := likelihoods(s, all.student), likelihoods(s, all.teacher)
	logs := s.Sub(s.Log(s.AddScalar(q, c.Epsilon)), s.Log(s.AddScalar(p, c.Epsilon)))
	return s.Mean(s.Mul(q, logs))
}

// likelihoods are the rows of K(x), each divided by its sum, which the diagonal keeps from 0.
func likelihoods(s *torch.Scope, x torch.Tensor) torch.Tensor {
	k := s.Clamp(s.Scale(s.AddScalar(x, 1), 0.5), 0, 2) // rounding may lead beyond ±1
	return s.Div(k, s.SumDim(k, 1, true))
}
