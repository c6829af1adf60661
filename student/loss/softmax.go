package loss

import (
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

var softmaxLoss = Loss{
	Name:   "softmax",
	About:  "plain cross-entropy of a linear classifier on labels",
	Source: "the field's usual classifier; with unit vectors and a scale it is cosface with margin 0 (NormFace: Wang et al. 2017, arXiv 1704.06369)",
	Formula: `L = mean_i -log( exp(z_iy) / Σ_k exp(z_ik) ),  z_ik = <w_k, s_i> + b_k
s_i: raw embedding, y its identity; w_k, b_k: trained vector and number of identity k.
sample < 1: k runs over the identities of the batch and others drawn, sample·C in all.
Cosines instead of products, as in NormFace, are cosface with margin.margin 0.`,
	Needs:    Labels,
	Own:      true,
	Rate:     rateOfClasses,
	defaults: softmaxSettings{Sample: 1},
}

// softmaxSettings tune the plain softmax.
type softmaxSettings struct {
	// Sample is the share of the identities that take part in a step; see [classes].
	Sample float64 `yaml:"sample" about:"share of the identities that take part in a step (partial FC), in (0, 1]"`
}

func (c softmaxSettings) settled() (settings, error) { return c, validSample(c.Sample) }

func (c softmaxSettings) build(env Env) (term, error) {
	k, err := newClasses(c.Sample, env, layer.Spread(env.Dim))
	if err != nil {
		return nil, err
	}
	return &plainSoftmax{k.withBias()}, nil
}

// plainSoftmax is cross-entropy on the products of raw embeddings with trained vectors, plus a
// trained number of each identity that does not decay:
//
//	L = mean of -log softmax_k(<w_k, s_i> + b_k) at k = y_i
//
// Samples without a label are left out. The lengths of s and w count; where only directions
// should, cosface with margin 0 is the normalised softmax (NormFace).
type plainSoftmax struct{ *classes }

func (l *plainSoftmax) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	known, parts := v.labelled(), Parts{}
	parts.know("unlabelled", float64(len(v.Labels)-known.n))
	if known.n == 0 {
		return zero(s, v.Student), parts
	}
	k := l.choose(s, known, v.Step, parts)
	logits := s.Add(s.MatMul(known.raw, s.Transpose(k.weight)), k.bias)
	return s.CrossEntropy(logits, k.target), parts
}
