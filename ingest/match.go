package ingest

import (
	"fmt"

	"facepipe/ingest/detect"
	"facepipe/ingest/source"
)

// minOverlap is the intersection over union above which a detected face is the one in a
// source's box. Annotators draw boxes tight, or with hair, chin and room around them: a box of
// 1.8 times the side in the same place still passes. Two faces side by side do not overlap
// that much.
const minOverlap = 0.3

// wanted chooses the face that a photograph of w by h pixels is of: the one that overlaps the
// source's box best or, without a box, the main one. If there is none, the error is a
// [refusal].
func wanted(faces []detect.Face, box *source.Box, w, h int) (detect.Face, error) {
	if len(faces) == 0 {
		return detect.Face{}, refuse(stageDetect, fmt.Errorf("%w in %dx%d pixels", errNoFace, w, h))
	}
	if box == nil {
		return detect.Main(faces, w, h), nil
	}
	given := detect.Face{X1: box.X, Y1: box.Y, X2: box.X + box.W, Y2: box.Y + box.H}
	best, overlap := 0, 0.0
	for i, f := range faces {
		if o := f.Overlap(given); o > overlap {
			best, overlap = i, o
		}
	}
	if !(overlap > minOverlap) {
		return detect.Face{}, refuse(stageDetect, fmt.Errorf("%w: of %d faces the best overlaps by %.2f", errNoMatch, len(faces), overlap))
	}
	return faces[best], nil
}
