package loss

import "facepipe/student/torch"

// paired is a term that looks at nothing but the samples with a usable teacher embedding.
// step sees one of them at least; without any the loss is zero.
func paired(step func(s *torch.Scope, v *view, parts Parts) torch.Tensor) formula {
	return func(s *torch.Scope, v *view) (torch.Tensor, Parts) {
		p, parts := v.raw(), Parts{}
		parts.know("dropped", float64(p.dropped))
		if len(p.samples) == 0 {
			return zero(s, v.Student), parts
		}
		return step(s, v, parts), parts
	}
}

// meanSquare is the mean of the squares of all elements of a - b.
func meanSquare(s *torch.Scope, a, b torch.Tensor) torch.Tensor {
	e := s.Sub(a, b)
	return s.Mean(s.Mul(e, e))
}

// apart are the Euclidean distances of all pairs of rows, N×N, at least in float32. They are
// taken from differences, so that equal rows are 0 apart; these pass no gradient.
func apart(s *torch.Scope, rows torch.Tensor) torch.Tensor {
	if s.DType(rows).Size() < torch.Float32.Size() {
		rows = s.To(rows, torch.Float32)
	}
	return s.Distances(rows, rows)
}
