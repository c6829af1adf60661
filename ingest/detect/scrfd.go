package detect

import (
	"facepipe/ingest/align"
)

// scrfdFamily is SCRFD (Guo et al., "Sample and computation redistribution for
// efficient face detection", 2021) in the form InsightFace exports it: for each
// level a score that went through the sigmoid, the distances from the cell to the
// four sides of the box and the offsets of the landmarks, all in strides. Models
// of three levels have two anchors a cell, those of five have one.
var scrfdFamily = family{
	kind:            "scrfd",
	scores:          1,
	defaultMinScore: 0.5,
	input:           inputLayout{mean: 127.5, std: 128},
	decode: func(l level, minScore float64) []Face {
		score := func(i int) float64 { return float64(l.scores[0][i]) }
		return l.candidates(minScore, score, l.scrfdFace)
	},
	overlap:    inclusiveOverlap,
	maxOverlap: 0.4,
}

func (l level) scrfdFace(x, y, i int) Face {
	stride := float64(l.stride)
	cx, cy := float64(x)*stride, float64(y)*stride
	b := l.boxes[boxWidth*i:]
	return Face{
		X1: cx - float64(b[0])*stride, Y1: cy - float64(b[1])*stride,
		X2: cx + float64(b[2])*stride, Y2: cy + float64(b[3])*stride,
		Landmarks: l.offsets(x, y, i),
	}
}

// offsets reads landmarks that are given as offsets from the cell in strides, as
// they are in both families.
func (l level) offsets(x, y, i int) (out align.Landmarks) {
	stride := float64(l.stride)
	k := l.landmarks[landmarkWidth*i:]
	for p := range out {
		out[p].X = (float64(x) + float64(k[2*p])) * stride
		out[p].Y = (float64(y) + float64(k[2*p+1])) * stride
	}
	return out
}
