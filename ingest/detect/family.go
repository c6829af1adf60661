package detect

// family is what sets one kind of model apart from another.
type family struct {
	kind string
	// scores is the number of score tensors a level has.
	scores int
	// defaultMinScore is the confidence from which a face counts.
	defaultMinScore float64
	input           inputLayout
	// decode reads the faces of one level, in canvas pixels.
	decode func(l level, minScore float64) []Face
	// overlap and maxOverlap say when two faces are one.
	overlap    func(a, b Face) float64
	maxOverlap float64
}

// maxCandidates bounds the faces that enter non-maximum suppression, whose cost grows with the
// square of their number. OpenCV has the same limit.
const maxCandidates = 5000

// faces reads the outputs of a model that has seen a canvas of w by h pixels, best
// first and in canvas pixels.
func (f family) faces(outputs []tensor, w, h int, minScore float64) ([]Face, error) {
	ls, err := levels(outputs, w, h, f.scores)
	if err != nil {
		return nil, err
	}
	var found []Face
	for _, l := range ls {
		found = append(found, f.decode(l, minScore)...)
	}
	return suppress(best(found, maxCandidates), f.maxOverlap, f.overlap), nil
}
