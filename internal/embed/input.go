package embed

import (
	"fmt"
	"math"

	"facepipe/internal/onnx"
)

// freedom is what a model's input may decide of a contract.
type freedom struct{ scaling, layout, height, width bool }

var (
	// shape is what arcface and raw say nothing of.
	shape = freedom{layout: true, height: true, width: true}
	// all is of what is found or assumed.
	all = freedom{scaling: true, layout: true, height: true, width: true}
)

// onlyImage is the graph's input that is no weight, if there is exactly one.
func onlyImage(g *onnx.Graph) (onnx.ValueInfo, bool) {
	images := g.Images()
	if len(images) != 1 {
		return onnx.ValueInfo{}, false
	}
	return images[0], true
}

// fitInput makes the contract one of the model's input, by its type and shape, as far as it may,
// and adds to the reason. [ErrPreprocess] if the input cannot hold what the contract makes.
func (r *Resolved) fitInput(in onnx.ValueInfo) error {
	if _, _, integers := in.Type.Integers(); integers && r.open.scaling {
		mean := float32(0)
		if in.Type == onnx.Int8 {
			mean = 128 // which makes of 0 to 255 what int8 can hold
		}
		r.Mean, r.Std = [3]float32{mean, mean, mean}, [3]float32{1, 1, 1}
		r.Origin, r.Reason = Found, fmt.Sprintf("auto: input %s is %v, so it takes pixels as they are", in.Name, in.Type)
		if mean > 0 {
			r.Reason += fmt.Sprintf(", less %g", mean)
		}
	}
	if r.open.layout && interleaved(in.Dims) {
		r.Layout = "NHWC"
		r.Reason += "; NHWC, as the input's shape tells"
	}
	if r.fitSize(sides(r.Layout, in.Dims)) {
		r.Reason += fmt.Sprintf("; %dx%d, as the input's shape tells", r.Width, r.Height)
	}
	return holds(in, r.Preprocess)
}

// fitSize takes what is open of a size, which is not positive if it is not known, and says
// whether that changes anything.
func (r *Resolved) fitSize(height, width int) bool {
	before := r.Preprocess
	if height > 0 && width > 0 {
		if r.open.height {
			r.Height = height
		}
		if r.open.width {
			r.Width = width
		}
	}
	return r.Preprocess != before
}

// sides are the height and the width of an input; -1 where any fits, 0 if it is no image.
func sides(layout string, dims []onnx.Dim) (height, width int) {
	switch {
	case len(dims) != 4:
		return 0, 0
	case layout == "NHWC":
		return int(dims[1].Size), int(dims[2].Size)
	}
	return int(dims[2].Size), int(dims[3].Size)
}

// interleaved says that a shape can only be NHWC. Where it may be either, NCHW is the custom.
func interleaved(dims []onnx.Dim) bool {
	const noChannels = 5 // from here on a dimension is not that of channels
	return len(dims) == 4 && (dims[3].Size == 3 && dims[1].Size != 3 || dims[3].Size < 0 && dims[1].Size >= noChannels)
}

// holds is [ErrPreprocess] if an input of integers cannot hold what a contract makes of pixels.
func holds(in onnx.ValueInfo, p Preprocess) error {
	least, greatest, integers := in.Type.Integers()
	if !integers {
		return nil
	}
	for c, mean := range p.Mean {
		darkest, brightest := -float64(mean), math.MaxUint8-float64(mean)
		if p.Std[c] != 1 || darkest != math.Trunc(darkest) || darkest < least || brightest > greatest {
			return fmt.Errorf("%w: input %s is %v and cannot hold (x - %v) / %v; leave out --preprocess, or name a file whose values are integers from %g to %g",
				ErrPreprocess, in.Name, in.Type, p.Mean, p.Std, least, greatest)
		}
	}
	return nil
}

// Takes is [ErrPreprocess] if the model's input cannot hold what a contract makes of pixels.
func (m *Model) Takes(p Preprocess) error { return holds(m.input, p) }
