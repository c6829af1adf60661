package loss

import "facepipe/student/torch"

// labelledPairs are the pairs i < j of samples of known identity: of one identity, and of
// two. A pair is its place i·N+j among the elements of an N×N matrix.
func labelledPairs(labels []int32) (same, other []int64) {
	n := len(labels)
	for i := range n {
		for j := i + 1; j < n; j++ {
			switch place := int64(i*n + j); {
			case labels[i] < 0 || labels[j] < 0:
			case labels[i] == labels[j]:
				same = append(same, place)
			default:
				other = append(other, place)
			}
		}
	}
	return same, other
}

// elements are those of a matrix at some places.
func elements(s *torch.Scope, matrix torch.Tensor, places []int64) torch.Tensor {
	return s.Rows(s.Reshape(matrix, -1), intsLike(s, matrix, places))
}

// single is the view in float32 where its embeddings are in half precision. That has no
// numbers between the similarities that a loss of ranks or of angles tells apart.
func (v *view) single() *view {
	switch v.s.DType(v.Student) {
	case torch.Float16, torch.BFloat16:
		b := v.Batch
		b.Student = v.s.To(b.Student, torch.Float32)
		return &view{Batch: b, s: v.s}
	}
	return v
}
