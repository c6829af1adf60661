package torch

// SynchronisedBatchNorm is what devices without a kernel of ours run where batch
// normalisation is synchronised.
func (s *Scope) SynchronisedBatchNorm(x, weight, bias, mean, variance Tensor, momentum, eps float64) Tensor {
	return s.one("pipe::synchronised_batch_norm", "", x, weight, bias, mean, variance, momentum, eps)
}

// SameRelease is sameRelease.
var SameRelease = sameRelease

// Symbols are the C names of all functions that an engine has.
func Symbols() []string {
	var names []string
	for name := range new(api).symbols() {
		names = append(names, symbolPrefix+name)
	}
	return names
}

// ABI is abi.
const ABI = abi
