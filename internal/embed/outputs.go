package embed

import (
	"fmt"
	"slices"
	"strings"

	"facepipe/internal/onnx"
)

// Outputs says what is used of a model's outputs, beside what every program would use. Values
// of two of them are not those of one teacher.
type Outputs struct {
	// Embedding is the name of the output that was chosen to be the embedding; "" if no other
	// could be.
	Embedding string `json:"output,omitempty"`
	// Norm is the name of the output by which an embedding of unit length is multiplied; ""
	// if the embedding is taken as it comes.
	Norm string `json:"norm_output,omitempty"`
}

// outputs are those of a model that can be had as float32, and what they are used for.
type outputs struct {
	Outputs
	names     []string // in the file, in the session's order
	asked     string   // the one to take, "" for any
	embedding int      // the place of the embedding
	norm      int      // that of the norm, or noNorm
}

// noNorm is the place of a norm that there is not.
const noNorm = -1

func outputsOf(g *onnx.Graph, asked string) outputs {
	o := outputs{asked: asked, norm: noNorm}
	for _, out := range g.AsFloats() {
		o.names = append(o.names, out.Name)
	}
	return o
}

// choose finds the embedding by the shapes that came out for so many crops. Of several outputs
// it is the one that was asked for, or the only one with rows longer than one value.
func (o *outputs) choose(shapes [][]int64, size int) error {
	var found []int
	for i, shape := range shapes {
		if dim, ok := rowLength(shape, size); ok && (dim > 1 || len(shapes) == 1) {
			found = append(found, i)
		}
	}
	asked := slices.Index(o.names, o.asked)
	switch {
	case o.asked != "" && asked < 0:
		return fmt.Errorf("%w: it has no output %q: %s", ErrShape, o.asked, o.list(shapes))
	case o.asked == "" && len(found) != 1:
		return o.notOne(shapes, size, len(found))
	case o.asked == "":
		asked = found[0]
	case !slices.Contains(found, asked):
		return fmt.Errorf("%w: output %s has not %d rows of an embedding each for a batch of %[3]d: %s", ErrShape, o.asked, size, o.list(shapes))
	}
	o.embedding, o.Embedding = asked, ""
	if len(found) > 1 {
		o.Embedding = o.names[asked]
	}
	return nil
}

// errOneRow is [ErrShape] of a model that gives one row for a whole batch.
var errOneRow = fmt.Errorf("%w", ErrShape)

// notOne says that not exactly one output has a row for each crop, but so many have.
func (o *outputs) notOne(shapes [][]int64, size, found int) error {
	kind, want := ErrShape, fmt.Sprintf("%d rows of an embedding each", size)
	switch {
	case found > 1:
		want = "exactly one with " + want + ": name it with --output"
	case len(shapes) > 1:
		want = "one with " + want
	case len(shapes[0]) == 1:
		kind = errOneRow
	}
	return fmt.Errorf("%w: %s for a batch of %d, want %s", kind, o.list(shapes), size, want)
}

// list says what shapes the outputs have.
func (o *outputs) list(shapes [][]int64) string {
	var have []string
	for i, shape := range shapes {
		have = append(have, fmt.Sprintf("output %s has shape %v", o.names[i], shape))
	}
	return strings.Join(have, ", ")
}

// note says what several outputs are taken for; "" of a single one.
func (o *outputs) note() string {
	if len(o.names) < 2 {
		return ""
	}
	var others []string
	for i, name := range o.names {
		if i != o.embedding && i != o.norm {
			others = append(others, name)
		}
	}
	note := fmt.Sprintf("output %s is the embedding", o.names[o.embedding])
	if o.norm != noNorm {
		note += fmt.Sprintf(", of unit length, and %s the length that it had: it is multiplied by that, which makes it the raw one", o.Norm)
	}
	if len(others) > 0 {
		note += fmt.Sprintf(", %s is left out", strings.Join(others, ", "))
	}
	return note
}

// rowLength is the length of an embedding in an output for so many crops: a row for each, with
// ones anywhere in the shape. Of a single crop the row may come without a batch.
func rowLength(shape []int64, size int) (length int, ok bool) {
	if len(shape) == 1 && size == 1 {
		return int(shape[0]), shape[0] > 1
	}
	if len(shape) < 2 || shape[0] != int64(size) {
		return 0, false
	}
	length = 1
	for _, d := range shape[1:] {
		if d < 1 || d > 1 && length > 1 {
			return 0, false
		}
		length *= int(d)
	}
	return length, true
}
