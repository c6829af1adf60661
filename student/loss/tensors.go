package loss

import (
	"slices"

	"facepipe/student/torch"
)

// reader copies the values of several tensors in one, for which a device is waited for once.
type reader struct {
	tensors []torch.Tensor
	values  []*[]float64
}

// want is where the values of a tensor will be.
func (r *reader) want(t torch.Tensor) *[]float64 {
	v := new([]float64)
	r.tensors, r.values = append(r.tensors, t), append(r.values, v)
	return v
}

// read reads what is wanted, if anything is; nothing where the scope has failed.
func (r *reader) read(s *torch.Scope) {
	if len(r.tensors) == 0 {
		return
	}
	flat, lengths := make([]torch.Tensor, len(r.tensors)), make([]int, len(r.tensors))
	for i, t := range r.tensors {
		flat[i] = s.To(s.Reshape(s.Detach(t), -1), torch.Float64)
		if shape := s.Shape(flat[i]); s.Err() == nil {
			lengths[i] = shape[0]
		}
	}
	all := torch.ToData[float64](s, s.Concat(flat, 0))
	if s.Err() != nil {
		return
	}
	for i, n := range lengths {
		*r.values[i], all = slices.Clip(all[:n]), all[n:]
	}
}

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
