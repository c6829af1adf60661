package loss

import "facepipe/student/torch"

// zero is a loss of nothing that still connects to the graph, so that Backward
// finds a gradient of zero instead of none.
func zero(s *torch.Scope, student torch.Tensor) torch.Tensor {
	// Zero times the sum would be NaN for a NaN student; an empty sum is not.
	return s.Sum(s.Slice(student, 0, 0, 0))
}

// intsLike makes an int64 index on the device of a tensor.
func intsLike(s *torch.Scope, like torch.Tensor, v []int64) torch.Tensor {
	return torch.FromDataLike(s, like, v, len(v))
}

// floatsLike makes a vector of the type and on the device of a tensor.
func floatsLike(s *torch.Scope, like torch.Tensor, v []float64) torch.Tensor {
	return s.ToLike(torch.FromDataLike(s, like, v, len(v)), like)
}

// wide is a tensor in single precision at least.
func wide(s *torch.Scope, t torch.Tensor) torch.Tensor {
	if d := s.DType(t); d == torch.BFloat16 || d == torch.Float16 {
		return s.To(t, torch.Float32)
	}
	return t
}
