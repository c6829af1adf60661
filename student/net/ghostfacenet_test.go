package net

import (
	"fmt"
	"slices"
	"testing"

	"facepipe/internal/onnx"
)

// Keras' "same", as TensorFlow documents it: zeros before and after a row.
func TestPadAsKeras(t *testing.T) {
	for _, c := range []struct{ side, kernel, stride, before, after int }{
		{112, 3, 1, 1, 1}, {112, 5, 1, 2, 2}, {112, 3, 2, 0, 1}, {28, 5, 2, 1, 2}, {7, 5, 2, 2, 2}, {7, 3, 2, 1, 1}, {7, 7, 1, 3, 3}, {8, 1, 2, 0, 0},
	} {
		l := (&convNorm{kernel: c.kernel, stride: c.stride}).padAsKeras(c.side)
		if l.padding != c.before || l.padding+l.far != c.after {
			t.Errorf("%+v: %d before, %d after", c, l.padding, l.padding+l.far)
		}
		if out, _ := (&convNorm{in: 1, out: 1, groups: 1, kernel: c.kernel, stride: c.stride, padding: l.padding, far: l.far}).cost(shape{1, c.side, c.side}); out.height != (c.side+c.stride-1)/c.stride {
			t.Errorf("%+v: %d places", c, out.height)
		}
	}
}

// The strided convolutions of the graphs have the zeros that the published ones have: of
// maps of even sides one more at the far side.
func TestGhostFaceNetPadding(t *testing.T) {
	even3, even5, odd5 := []int64{0, 0, 1, 1}, []int64{1, 1, 2, 2}, []int64{2, 2, 2, 2}
	for name, want := range map[string][][]int64{
		"ghostfacenetv1-1": {even3, even3, even5, even5, even3, even3, even5, even5},
		"ghostfacenetv1-2": {even3, even3, even3, even5, even5, even3, even3, odd5, odd5},
	} {
		n, err := New(name, small)
		if err != nil {
			t.Fatal(err)
		}
		m, err := n.Export(n.Initial(1), ExportOptions{Size: cropSide, Std: 1})
		if err != nil {
			t.Fatal(err)
		}
		var got [][]int64
		for _, node := range m.Graph.Nodes {
			if node.OpType == "Conv" && slices.Equal(ints(node, "strides"), []int64{2, 2}) {
				got = append(got, ints(node, "pads"))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// ints is an attribute that lists integers, nil if the node has none of the name.
func ints(n onnx.Node, name string) []int64 {
	for _, a := range n.Attributes {
		if a.Name == name {
			return a.Ints
		}
	}
	return nil
}
