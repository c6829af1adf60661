package embed

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/onnx"
)

// after makes the model compute its embedding from that of tiny, which is rows, by some nodes.
func after(nodes ...onnx.Node) func(*onnx.Model) {
	return func(m *onnx.Model) {
		g := &m.Graph
		g.Nodes[2].Outputs[0] = "rows"
		g.Nodes = append(g.Nodes, nodes...)
	}
}

// addMean adds the batch's mean to each row.
func addMean(m *onnx.Model) {
	after(onnx.Node{Name: "mean", OpType: "ReduceMean", Inputs: []string{"rows"}, Outputs: []string{"mean"}, Attributes: []onnx.Attribute{onnx.Ints("axes", 0)}},
		onnx.Node{Name: "add", OpType: "Add", Inputs: []string{"rows", "mean"}, Outputs: []string{"embedding"}})(m)
}

// addChance adds a random number to each value, as dropout would that was left on.
func addChance(m *onnx.Model) {
	after(onnx.Node{Name: "chance", OpType: "RandomNormalLike", Inputs: []string{"rows"}, Outputs: []string{"chance"}},
		onnx.Node{Name: "add", OpType: "Add", Inputs: []string{"rows", "chance"}, Outputs: []string{"embedding"}})(m)
}

// A crop has the same embedding in every company, or none.
func TestRowsThatDependOnTheirBatch(t *testing.T) {
	pixels := crops(5)
	want := make([]float32, 5*4)
	if err := open(t, tiny(t, addMean), Options{Batch: 1}).Embed(5, pixels, false, want); err != nil {
		t.Fatal(err)
	}
	for _, batch := range []int{0, 2, 3, 5, 10, 64, AutoBatch} {
		m := open(t, tiny(t, addMean), Options{Batch: batch})
		const said = "a batch of 1 is taken, as a crop's embedding depends on the other crops of a batch of"
		chosen := batch == AutoBatch && m.BatchReason() == "" // as the fastest, on a busy machine
		if m.Batch() != 1 || !chosen && (!strings.HasPrefix(m.BatchReason(), said) || !slices.Contains(m.Notes(), m.BatchReason())) {
			t.Errorf("batch %d: %d, reason %q, notes %q", batch, m.Batch(), m.BatchReason(), m.Notes())
		}
		got := make([]float32, len(want))
		if err := m.Embed(5, pixels, false, got); err != nil || !slices.Equal(got, want) {
			t.Errorf("batch %d: %v, want %v (%v)", batch, got, want, err)
		}
	}
	expectError(t, tiny(t, func(m *onnx.Model) {
		addMean(m)
		m.Graph.Inputs[0].Dims[0].Size = 4
	}), Options{}, ErrRows, "the model has no other batch")
}

func TestRowsThatDependOnChance(t *testing.T) {
	for _, batch := range []int{1, 8} {
		expectError(t, tiny(t, addChance), Options{Batch: batch}, ErrRows, "when it is computed again")
	}
	expectError(t, tiny(t, func(m *onnx.Model) {
		addChance(m)
		m.Graph.Inputs[0].Dims[0].Size = 4
	}), Options{}, ErrRows, "when it is computed again")
}

func TestDifference(t *testing.T) {
	nan := float32(0)
	nan /= nan
	for _, c := range []struct {
		a, b []float32
		want string
	}{
		{[]float32{3, 4}, []float32{3, 4}, "0"},
		{[]float32{3, 4}, []float32{0, 0}, "1"},
		{[]float32{0, 0}, []float32{0, 0}, "0"},
		{[]float32{nan, 1}, []float32{nan, 1}, "0"},
		{[]float32{nan, 1}, []float32{2, 1}, "+Inf"},
		{[]float32{1}, []float32{1, 2}, "+Inf"},
	} {
		if got := fmt.Sprint(difference(c.a, c.b)); got != c.want {
			t.Errorf("%v and %v: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}
