package detect

import (
	"math"

	"facepipe/ingest/align"
)

// Face is a detected face. Coordinates are pixels of the photograph.
type Face struct {
	// X1, Y1 and X2, Y2 are the corners of its bounding box; it may reach beyond
	// the photograph.
	X1, Y1, X2, Y2 float64
	// Score is the model's confidence, 0 to 1.
	Score float64
	// Landmarks are in the order of [align.Landmarks].
	Landmarks align.Landmarks
}

func (f Face) area() float64 { return (f.X2 - f.X1) * (f.Y2 - f.Y1) }

// Overlap is the intersection over union of two faces' boxes, 0 to 1.
func (f Face) Overlap(g Face) float64 { return intersectionOverUnion(f, g, 0) }

// Main chooses the face that a photograph of w by h pixels is of: the largest in
// area minus twice the squared distance of its centre from the photograph's, as
// InsightFace does, so that a passer-by at the edge does not win by a few pixels.
// faces must not be empty; of equals the first is taken.
func Main(faces []Face, w, h int) Face {
	best, bestValue := 0, math.Inf(-1)
	for i, f := range faces {
		dx := (f.X1+f.X2)/2 - float64(w)/2
		dy := (f.Y1+f.Y2)/2 - float64(h)/2
		if value := f.area() - 2*(dx*dx+dy*dy); value > bestValue {
			best, bestValue = i, value
		}
	}
	return faces[best]
}
