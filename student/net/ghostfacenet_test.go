package net

import (
	"fmt"
	"slices"
	"testing"

	"facepipe/internal/onnx"
)

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
		m, err := n.Export(n.Initial(1), ExportOptions{Size: InputSide, Std: 1})
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
