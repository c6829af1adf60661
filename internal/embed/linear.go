package embed

import (
	"fmt"
	"math"
	"slices"

	"facepipe/internal/onnx"
)

// beginning is what a graph does to an image before its first layer: every value x of a channel
// becomes scale·x + shift.
type beginning struct {
	scale, shift [3]float64
	// arithmetic says that there is any, unknown that some of its numbers could not be found.
	arithmetic, unknown bool
	// least and greatest are the values of the input that a quantizer can tell apart, both 0
	// without one.
	least, greatest float64
}

// beginningOf follows the image from the graph's input through linear operators to the first
// other one. It goes by values: names differ between exporters, and optimizers fold a scaling
// into the first layer. To look for the operators alone would take an activation that is built
// of them for a normalisation.
func beginningOf(g *onnx.Graph) beginning {
	b := beginning{scale: [3]float64{1, 1, 1}}
	constants := g.Constants()
	value := imageInput(g)
	for i := range g.Nodes { // the standard demands that they are in order
		n := &g.Nodes[i]
		if len(n.Outputs) == 0 || !slices.Contains(n.Inputs, value) || n.OpType == "Shape" || n.OpType == "Size" {
			continue
		}
		if b.unknown || !b.follow(n, value, constants) {
			break
		}
		value = n.Outputs[0]
	}
	return b
}

// follow adds a node to the beginning; false if it is the first layer.
func (b *beginning) follow(n *onnx.Node, value string, constants *onnx.Constants) bool {
	switch n.OpType {
	case "Identity", "Cast", "Dropout", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Pad", "Resize", "Slice", "Gather", "Clip":
		return true // no value changes, or none that matters here
	case "Sub", "Add", "Mul", "Div":
		return b.arithmeticBy(n, value, constants)
	case "Neg":
		b.apply([]float64{-1}, []float64{0})
		return true
	case "BatchNormalization":
		return b.batchNorm(n, value, constants)
	case "QuantizeLinear":
		b.quantize(n, constants)
		return true
	case "DequantizeLinear":
		return b.dequantize(n, value, constants)
	}
	return false
}

// number is a constant with one value, or one for each channel.
func number(constants *onnx.Constants, name string) ([]float64, bool) {
	v, ok := constants.Value(name)
	return v, ok && (len(v) == 1 || len(v) == 3)
}

// apply makes x into scale·x + shift, of one value or one for each channel.
func (b *beginning) apply(scale, shift []float64) {
	b.arithmetic = true
	for c := range 3 {
		a := scale[c%len(scale)]
		b.scale[c] *= a
		b.shift[c] = a*b.shift[c] + shift[c%len(shift)]
	}
}

func (b *beginning) arithmeticBy(n *onnx.Node, value string, constants *onnx.Constants) bool {
	if len(n.Inputs) != 2 || n.Inputs[0] == n.Inputs[1] {
		return false
	}
	first := n.Inputs[0] == value
	other := n.Inputs[0]
	if first {
		other = n.Inputs[1]
	}
	v, ok := number(constants, other)
	if !ok || n.OpType == "Div" && !first {
		b.unknown, b.arithmetic = true, true
		return true
	}
	one, minus := []float64{1}, negated(v)
	switch {
	case n.OpType == "Add":
		b.apply(one, v)
	case n.OpType == "Sub" && first:
		b.apply(one, minus)
	case n.OpType == "Sub":
		b.apply([]float64{-1}, v)
	case n.OpType == "Mul":
		b.apply(v, []float64{0})
	default:
		b.apply(inverse(v), []float64{0})
	}
	return true
}

func negated(v []float64) []float64 {
	out := slices.Clone(v)
	for i := range out {
		out[i] = -out[i]
	}
	return out
}

func inverse(v []float64) []float64 {
	out := slices.Clone(v)
	for i := range out {
		out[i] = 1 / out[i]
	}
	return out
}

// batchNorm is gamma·(x - mean)/√(variance + epsilon) + beta.
func (b *beginning) batchNorm(n *onnx.Node, value string, constants *onnx.Constants) bool {
	if len(n.Inputs) != 5 || n.Inputs[0] != value {
		return false
	}
	var in [4][]float64
	for i := range in {
		v, ok := number(constants, n.Inputs[i+1])
		if !ok {
			return false // of more channels than an image has
		}
		in[i] = v
	}
	epsilon := 1e-5
	for _, a := range n.Attributes {
		if a.Name == "epsilon" {
			epsilon = float64(a.Float)
		}
	}
	scale, shift := make([]float64, 3), make([]float64, 3)
	for c := range 3 {
		gamma, beta, mean, variance := in[0][c%len(in[0])], in[1][c%len(in[1])], in[2][c%len(in[2])], in[3][c%len(in[3])]
		scale[c] = gamma / math.Sqrt(variance+epsilon)
		shift[c] = beta - mean*scale[c]
	}
	b.apply(scale, shift)
	return true
}

// quantize notes which values of the input a quantizer can tell apart. Those that the graph
// goes on with stand for the same real numbers, rounded.
func (b *beginning) quantize(n *onnx.Node, constants *onnx.Constants) {
	if b.greatest > b.least || len(n.Inputs) < 2 {
		return // the first one was calibrated on the input itself
	}
	scale, ok := constants.Value(n.Inputs[1])
	if !ok || len(scale) != 1 || b.scale[0] == 0 {
		return
	}
	zero, lowest, highest := 0.0, 0.0, 255.0
	if len(n.Inputs) > 2 {
		if v, ok := constants.Value(n.Inputs[2]); ok {
			zero = v[0]
		}
		if least, greatest, integers := constants.Type(n.Inputs[2]).Integers(); integers {
			lowest, highest = least, greatest
		}
	}
	ends := []float64{((lowest-zero)*scale[0] - b.shift[0]) / b.scale[0], ((highest-zero)*scale[0] - b.shift[0]) / b.scale[0]}
	b.least, b.greatest = slices.Min(ends), slices.Max(ends)
}

// dequantize undoes a quantizer, whose scale is the same. Of an input of integers it is the
// normalisation.
func (b *beginning) dequantize(n *onnx.Node, value string, constants *onnx.Constants) bool {
	if len(n.Inputs) < 2 || n.Inputs[0] != value {
		return false
	}
	if b.greatest > b.least {
		return true
	}
	scale, ok := number(constants, n.Inputs[1])
	shift := []float64{0}
	if ok && len(n.Inputs) > 2 {
		shift, ok = number(constants, n.Inputs[2])
	}
	if !ok {
		b.unknown, b.arithmetic = true, true
		return true
	}
	b.apply([]float64{1}, negated(shift))
	b.apply(scale, []float64{0})
	return true
}

// average is that of the channels.
func average(v [3]float64) float64 { return (v[0] + v[1] + v[2]) / 3 }

// centre is the input value that becomes 0, and step the difference that becomes 1, as the
// channels' average.
func (b *beginning) centre() (centre, step float64) {
	var centres, steps [3]float64
	for c := range 3 {
		centres[c], steps[c] = -b.shift[c]/b.scale[c], 1/math.Abs(b.scale[c])
	}
	return average(centres), average(steps)
}

// String is the arithmetic in words.
func (b *beginning) String() string {
	centre, step := b.centre()
	return fmt.Sprintf("(x - %.4g) / %.4g", centre+0, step) // + 0 makes of -0 a 0
}

// changes says that values change.
func (b *beginning) changes() bool {
	for c := range 3 {
		if math.Abs(b.scale[c]-1) > 1e-6 || math.Abs(b.shift[c]) > 1e-6 {
			return true
		}
	}
	return false
}

// scaled is a contract with every channel alike.
func scaled(mean, std float32) Preprocess {
	p := ArcFace()
	p.Mean, p.Std = [3]float32{mean, mean, mean}, [3]float32{std, std, std}
	return p
}

// Unit is RGB from 0 to 1, as images are in most training libraries.
func Unit() Preprocess { return scaled(0, 255) }

// Centred is RGB from -127.5 to 127.5.
func Centred() Preprocess { return scaled(127.5, 1) }

// input is the contract that fits the beginning; false if none clearly does. A normalisation
// moves the middle of its input to 0 and makes its spread about 1: so the input's middle tells
// the input's range, and without a shift the scaling does. Limits leave room for means and
// deviations of datasets, which batch normalisation holds.
func (b *beginning) input() (Preprocess, bool) {
	if b.unknown {
		return Preprocess{}, false
	}
	centre, step := b.centre()
	if math.IsNaN(centre) || math.IsInf(centre, 0) || math.IsInf(step, 0) {
		return Preprocess{}, false
	}
	within := func(v, least, greatest float64) bool { return v >= least && v <= greatest }
	switch shifted := math.Abs(centre) > 0.02*step; {
	case !b.changes():
	case within(centre, 60, 200):
		return Raw(), true
	case within(centre, 0.25, 0.75) && step < 2:
		return Unit(), true
	case !shifted && within(step, 100, 400):
		return Raw(), true
	case !shifted && within(step, 1./300, 1./200):
		return Unit(), true
	case within(centre, -0.25, 0.25) && within(step, 0.2, 1) && shifted, within(centre, -1.3, -0.7) && step < 1./50:
		return ArcFace(), true
	}
	switch span := b.greatest - b.least; {
	case span <= 0:
	case within(span, 128, 300) && b.least > -32:
		return Raw(), true
	case within(span, 128, 300) && within(b.least, -160, -96):
		return Centred(), true
	case within(span, 0.6, 1.3) && b.least > -0.2:
		return Unit(), true
	case within(span, 1.3, 3) && within(b.least, -1.6, -0.6):
		return ArcFace(), true
	}
	return Preprocess{}, false
}
