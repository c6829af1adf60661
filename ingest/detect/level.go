package detect

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// errLayout marks outputs that are not those of the model family.
var errLayout = errors.New("unexpected model outputs")

// tensor is one output of a model.
type tensor struct {
	name string
	dims []int64
	data []float32
}

// shape reads a tensor as rows of width numbers: (rows, width), or the same as a
// batch of one.
func (t tensor) shape() (rows, width int, err error) {
	dims := t.dims
	if len(dims) == 3 && dims[0] == 1 {
		dims = dims[1:]
	}
	if len(dims) != 2 || dims[0] < 0 || dims[1] < 0 || dims[0]*dims[1] != int64(len(t.data)) {
		return 0, 0, fmt.Errorf("%w: %s has shape %v with %d values, want (rows, width) or (1, rows, width)",
			errLayout, t.name, t.dims, len(t.data))
	}
	return int(dims[0]), int(dims[1]), nil
}

// How many numbers a cell gives. The tensors are told apart by that.
const (
	boxWidth      = 4
	landmarkWidth = 10
)

// level is a grid of cells, stride pixels apart. Row (y·cols + x)·anchors + a of
// every tensor belongs to anchor a of the cell in column x and row y.
type level struct {
	stride, cols, anchors int
	scores                [][]float32 // one score a row each, one or two of them
	boxes                 []float32   // four numbers a row
	landmarks             []float32   // ten numbers a row
}

// firstStride is the stride of the finest level of both families; each further
// level doubles it.
const firstStride = 8

// levels sorts the outputs of a model that has seen a canvas of w by h pixels by
// what they hold, whatever their order: the width of a row tells scores, boxes and
// landmarks apart and the number of rows tells the levels apart, finest first.
// scores is the number of score tensors a level has in this family.
func levels(outputs []tensor, w, h, scores int) ([]level, error) {
	byRows := map[int]*level{}
	for _, t := range outputs {
		rows, width, err := t.shape()
		if err != nil {
			return nil, err
		}
		l := byRows[rows]
		if l == nil {
			l = &level{}
			byRows[rows] = l
		}
		switch {
		case width == 1:
			l.scores = append(l.scores, t.data)
		case width == boxWidth && l.boxes == nil:
			l.boxes = t.data
		case width == landmarkWidth && l.landmarks == nil:
			l.landmarks = t.data
		default:
			return nil, fmt.Errorf("%w: %s has %d numbers a row, a second time or unknown", errLayout, t.name, width)
		}
	}
	return arrange(byRows, w, h, scores)
}

// arrange orders levels by their number of rows and checks that they are complete
// and cover the canvas.
func arrange(byRows map[int]*level, w, h, scores int) ([]level, error) {
	if len(byRows) == 0 {
		return nil, fmt.Errorf("%w: there are none", errLayout)
	}
	var all []level
	for _, l := range byRows {
		switch {
		case l.landmarks == nil:
			return nil, fmt.Errorf("%w: a level has no landmarks, without which a face cannot be aligned", errLayout)
		case l.boxes == nil:
			return nil, fmt.Errorf("%w: a level has no boxes", errLayout)
		case len(l.scores) != scores:
			return nil, fmt.Errorf("%w: a level has %d score outputs, want %d", errLayout, len(l.scores), scores)
		}
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b level) int { return cmp.Compare(len(b.boxes), len(a.boxes)) })
	for i := range all {
		l := &all[i]
		l.stride = firstStride << i
		l.cols = ceilDiv(w, l.stride)
		cells, rows := l.cols*ceilDiv(h, l.stride), len(l.boxes)/boxWidth
		if cells == 0 || rows%cells != 0 {
			return nil, fmt.Errorf("%w: %d rows do not cover a canvas of %dx%d at stride %d", errLayout, rows, w, h, l.stride)
		}
		l.anchors = rows / cells
	}
	return all, nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// candidates calls read for every row whose score reaches minScore; x and y are
// the cell's column and row, i the row of boxes and landmarks. score combines the
// row's scores. A score that is not a number is never high enough.
func (l level) candidates(minScore float64, score func(row int) float64, read func(x, y, i int) Face) []Face {
	var faces []Face
	for i := range len(l.boxes) / boxWidth {
		s := score(i)
		if !(s >= minScore) {
			continue
		}
		cell := i / l.anchors
		if f := read(cell%l.cols, cell/l.cols, i); f.finite() {
			f.Score = s
			faces = append(faces, f)
		}
	}
	return faces
}

// finite says whether every coordinate is a number: a broken model gives others.
func (f Face) finite() bool {
	sum := f.X1 + f.Y1 + f.X2 + f.Y2
	for _, p := range f.Landmarks {
		sum += p.X + p.Y
	}
	return sum-sum == 0
}
