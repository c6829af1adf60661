package detect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"facepipe/ingest/align"
)

// head describes the outputs of a made-up model.
type head struct {
	family  family
	strides []int
	anchors int
	batched bool
}

// planted is a face to be found again: at anchor a of the cell (x, y) of a level.
type planted struct {
	level, x, y, a int
	face           Face
}

// outputs builds the tensors in which a model of this kind would report faces on a
// canvas of w by h, in the exporter's order: all scores, then boxes, then
// landmarks. Everything else scores low.
func (h head) outputs(w, hgt int, faces []planted) []tensor {
	var scores, seconds, boxes, marks []tensor
	for li, stride := range h.strides {
		cols, rows := ceilDiv(w, stride), ceilDiv(hgt, stride)
		n := cols * rows * h.anchors
		score, second := make([]float32, n), make([]float32, n)
		box, mark := make([]float32, n*boxWidth), make([]float32, n*landmarkWidth)
		for i := range score {
			score[i], second[i] = 0.02, 0.9
		}
		for _, p := range faces {
			if p.level != li {
				continue
			}
			i := (p.y*cols+p.x)*h.anchors + p.a
			score[i] = float32(p.face.Score)
			if h.family.scores == 2 {
				// Both factors contribute: s = √(s·2 · s/2).
				score[i], second[i] = float32(min(1, p.face.Score*1.1)), float32(p.face.Score*p.face.Score/min(1, p.face.Score*1.1))
			}
			h.encode(box[i*boxWidth:], mark[i*landmarkWidth:], p, float64(stride))
		}
		scores = append(scores, h.tensor("score", stride, 1, score))
		seconds = append(seconds, h.tensor("obj", stride, 1, second))
		boxes = append(boxes, h.tensor("bbox", stride, boxWidth, box))
		marks = append(marks, h.tensor("kps", stride, landmarkWidth, mark))
	}
	out := scores
	if h.family.scores == 2 {
		out = append(out, seconds...)
	}
	return append(append(out, boxes...), marks...)
}

// encode is the inverse of the family's decoding.
func (h head) encode(box, mark []float32, p planted, stride float64) {
	f, cx, cy := p.face, float64(p.x)*stride, float64(p.y)*stride
	if h.family.scores == 1 {
		for i, d := range []float64{cx - f.X1, cy - f.Y1, f.X2 - cx, f.Y2 - cy} {
			box[i] = float32(d / stride)
		}
	} else {
		box[0] = float32(((f.X1+f.X2)/2 - cx) / stride)
		box[1] = float32(((f.Y1+f.Y2)/2 - cy) / stride)
		box[2] = float32(math.Log((f.X2 - f.X1) / stride))
		box[3] = float32(math.Log((f.Y2 - f.Y1) / stride))
	}
	for i, q := range f.Landmarks {
		mark[2*i], mark[2*i+1] = float32((q.X-cx)/stride), float32((q.Y-cy)/stride)
	}
}

func (h head) tensor(name string, stride, width int, data []float32) tensor {
	dims := []int64{int64(len(data) / width), int64(width)}
	if h.batched {
		dims = append([]int64{1}, dims...)
	}
	return tensor{name: fmt.Sprintf("%s_%d", name, stride), dims: dims, data: data}
}

// faceAt is a face with a centre and size, its landmarks spread as in the template.
func faceAt(cx, cy, size, score float64) Face {
	f := Face{X1: cx - size/2, Y1: cy - size*0.6, X2: cx + size/2, Y2: cy + size*0.6, Score: score}
	for i, p := range align.Template(align.CropSize) {
		f.Landmarks[i] = align.Point{X: cx + (p.X-56)/112*size, Y: cy + (p.Y-70)/112*size}
	}
	return f
}

func near(a, b Face, tolerance float64) bool {
	d := func(x, y float64) bool { return math.Abs(x-y) <= tolerance }
	ok := d(a.X1, b.X1) && d(a.Y1, b.Y1) && d(a.X2, b.X2) && d(a.Y2, b.Y2) && math.Abs(a.Score-b.Score) < 1e-3
	for i := range a.Landmarks {
		ok = ok && d(a.Landmarks[i].X, b.Landmarks[i].X) && d(a.Landmarks[i].Y, b.Landmarks[i].Y)
	}
	return ok
}

var heads = map[string]head{
	"scrfd, 3 levels":          {scrfdFamily, []int{8, 16, 32}, 2, false},
	"scrfd, 3 levels, batched": {scrfdFamily, []int{8, 16, 32}, 2, true},
	"scrfd, 5 levels":          {scrfdFamily, []int{8, 16, 32, 64, 128}, 1, false},
	"scrfd, 5 levels, batched": {scrfdFamily, []int{8, 16, 32, 64, 128}, 1, true},
	"yunet":                    {yunetFamily, []int{8, 16, 32}, 1, true},
	"yunet, not batched":       {yunetFamily, []int{8, 16, 32}, 1, false},
}

func shuffled(outputs []tensor, seed uint64) []tensor {
	out := append([]tensor{}, outputs...)
	rng := rand.New(rand.NewPCG(seed, 1))
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func mustFaces(t testing.TB, f family, outputs []tensor, w, h int) []Face {
	t.Helper()
	found, err := f.faces(outputs, w, h, f.defaultMinScore)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
