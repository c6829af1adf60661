package torch

// SynchronisedBatchNorm is what devices without a kernel of ours run where batch
// normalisation is synchronised.
func (s *Scope) SynchronisedBatchNorm(x, weight, bias, mean, variance Tensor, momentum, eps float64) Tensor {
	return s.one("pipe::synchronised_batch_norm", "", x, weight, bias, mean, variance, momentum, eps)
}

// SameRelease is sameRelease.
var SameRelease = sameRelease
