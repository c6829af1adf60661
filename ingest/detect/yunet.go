package detect

import "math"

// yunetFamily is YuNet (Wu et al., "YuNet: a tiny millisecond-level face detector",
// 2023) as libfacedetection.train exports it and OpenCV reads it: for each level a
// class score and an objectness whose geometric mean is the confidence, the box's
// centre as an offset from the cell and its size as a logarithm, all in strides.
// It names landmarks from the person's right eye on, which is the eye on the
// image's left.
var yunetFamily = family{
	kind:            "yunet",
	scores:          2,
	defaultMinScore: 0.6,
	input:           inputLayout{mean: 0, std: 1, bgr: true},
	decode: func(l level, minScore float64) []Face {
		// Which of the two is the class does not matter to their product.
		score := func(i int) float64 {
			return math.Sqrt(clamp01(l.scores[0][i]) * clamp01(l.scores[1][i]))
		}
		return l.candidates(minScore, score, l.yunetFace)
	},
	overlap:    integerOverlap,
	maxOverlap: 0.3,
}

func clamp01(v float32) float64 { return min(max(float64(v), 0), 1) }

func (l level) yunetFace(x, y, i int) Face {
	stride := float64(l.stride)
	b := l.boxes[boxWidth*i:]
	cx, cy := (float64(x)+float64(b[0]))*stride, (float64(y)+float64(b[1]))*stride
	w, h := math.Exp(float64(b[2]))*stride, math.Exp(float64(b[3]))*stride
	return Face{
		X1: cx - w/2, Y1: cy - h/2, X2: cx + w/2, Y2: cy + h/2,
		Landmarks: l.offsets(x, y, i),
	}
}
