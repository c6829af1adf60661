package onnx

import (
	"encoding/binary"
	"math"
	"slices"

	"facepipe/internal/half"
)

// Numbers are the elements of a tensor of numbers that the file itself holds; false for others.
func (t Tensor) Numbers() ([]float64, bool) {
	width := t.Type.Size()
	if t.file() != "" || len(t.Data)%width != 0 {
		return nil, false
	}
	var one func([]byte) float64
	switch le := binary.LittleEndian; t.Type {
	case Float32:
		one = func(b []byte) float64 { return float64(littleFloat(b)) }
	case Float64:
		one = func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) }
	case Float16:
		one = func(b []byte) float64 { return float64(half.ToFloat(le.Uint16(b))) }
	case BFloat16:
		one = func(b []byte) float64 { return float64(math.Float32frombits(uint32(le.Uint16(b)) << 16)) }
	case Uint8:
		one = func(b []byte) float64 { return float64(b[0]) }
	case Int8:
		one = func(b []byte) float64 { return float64(int8(b[0])) }
	case Uint16:
		one = func(b []byte) float64 { return float64(le.Uint16(b)) }
	case Int16:
		one = func(b []byte) float64 { return float64(int16(le.Uint16(b))) }
	case Int32:
		one = func(b []byte) float64 { return float64(int32(le.Uint32(b))) }
	case Int64:
		one = func(b []byte) float64 { return float64(int64(le.Uint64(b))) }
	default:
		return nil, false
	}
	return decode(t.Data, width, one), true
}

// Constants are the values of a graph that its input has no part in. Nodes that exporters put
// between a number and its use are computed: changes of shape and type, and arithmetic.
type Constants struct {
	tensors map[string]*Tensor
	makers  map[string]*Node // by their outputs
}

// maxConstant bounds the elements of a constant that is computed: of a normalisation there is
// one for each channel.
const maxConstant = 1024

// Constants prepares the look-up.
func (g *Graph) Constants() *Constants {
	c := &Constants{map[string]*Tensor{}, map[string]*Node{}}
	for i := range g.Initializers {
		c.tensors[g.Initializers[i].Name] = &g.Initializers[i]
	}
	for i := range g.Nodes {
		for _, out := range g.Nodes[i].Outputs {
			c.makers[out] = &g.Nodes[i]
		}
	}
	return c
}

// Type is the element type of a constant that is a tensor; 0 if it is none.
func (c *Constants) Type(name string) ElemType {
	if t := c.tensors[name]; t != nil {
		return t.Type
	}
	if n := c.makers[name]; n != nil && n.OpType == "Constant" && len(n.Attributes) == 1 && n.Attributes[0].Tensor != nil {
		return n.Attributes[0].Tensor.Type
	}
	return 0
}

// Value are the elements of a constant, in order and without their shape; false if the name is
// none, or none of a normalisation's size.
func (c *Constants) Value(name string) ([]float64, bool) {
	const nodes = 16 // between a number and its use
	v, ok := c.value(name, nodes)
	return v, ok && len(v) > 0
}

func (c *Constants) value(name string, depth int) ([]float64, bool) {
	if t := c.tensors[name]; t != nil {
		return t.small()
	}
	n := c.makers[name]
	if n == nil || depth == 0 {
		return nil, false
	}
	if n.OpType == "Constant" {
		return n.constant()
	}
	var in [][]float64
	for i, name := range n.Inputs {
		if i > 0 && slices.Contains([]string{"Unsqueeze", "Squeeze", "Reshape", "Expand"}, n.OpType) {
			break // a shape
		}
		v, ok := c.value(name, depth-1)
		if !ok {
			return nil, false
		}
		in = append(in, v)
	}
	return n.compute(in)
}

// small are the elements unless they are too many.
func (t *Tensor) small() ([]float64, bool) {
	if len(t.Data) > maxConstant*t.Type.Size() {
		return nil, false
	}
	return t.Numbers()
}

// constant is what a node of that name holds.
func (n *Node) constant() ([]float64, bool) {
	if len(n.Attributes) != 1 {
		return nil, false
	}
	switch a := n.Attributes[0]; a.Name {
	case "value":
		if a.Tensor != nil {
			return a.Tensor.small()
		}
	case "value_float":
		return []float64{float64(a.Float)}, true
	case "value_int":
		return []float64{float64(a.Int)}, true
	case "value_floats":
		return elements(a.Floats), true
	case "value_ints":
		return elements(a.Ints), true
	}
	return nil, false
}

func elements[T float32 | int64](list []T) []float64 {
	out := make([]float64, len(list))
	for i, v := range list {
		out[i] = float64(v)
	}
	return out
}

// compute applies an operator to constants.
func (n *Node) compute(in [][]float64) ([]float64, bool) {
	if len(in) == 0 {
		return nil, false
	}
	var one func(v ...float64) float64
	switch n.OpType {
	case "Identity", "Cast", "CastLike", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Expand":
		return in[0], true
	case "Neg":
		one = func(v ...float64) float64 { return -v[0] }
	case "Reciprocal":
		one = func(v ...float64) float64 { return 1 / v[0] }
	case "Sqrt":
		one = func(v ...float64) float64 { return math.Sqrt(v[0]) }
	case "Add":
		one = func(v ...float64) float64 { return v[0] + v[1] }
	case "Sub":
		one = func(v ...float64) float64 { return v[0] - v[1] }
	case "Mul":
		one = func(v ...float64) float64 { return v[0] * v[1] }
	case "Div":
		one = func(v ...float64) float64 { return v[0] / v[1] }
	case "DequantizeLinear":
		one = func(v ...float64) float64 {
			if len(v) == 2 {
				return v[0] * v[1]
			}
			return (v[0] - v[2]) * v[1]
		}
	default:
		return nil, false
	}
	if want := map[string]int{"Add": 2, "Sub": 2, "Mul": 2, "Div": 2, "DequantizeLinear": 2}[n.OpType]; len(in) < max(want, 1) || len(in) > 3 {
		return nil, false
	}
	return each(one, in)
}

// each applies an operator element by element. Lists of one element stand for any number.
func each(one func(v ...float64) float64, in [][]float64) ([]float64, bool) {
	size := 1
	for _, v := range in {
		if len(v) > 1 && size > 1 && len(v) != size {
			return nil, false
		}
		size = max(size, len(v))
	}
	out, args := make([]float64, size), make([]float64, len(in))
	for i := range out {
		for k, v := range in {
			if len(v) == 0 {
				return nil, false
			}
			args[k] = v[i%len(v)]
		}
		out[i] = one(args...)
	}
	return out, true
}
