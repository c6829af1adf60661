package export

import (
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/student/net"
)

// What a network says of its cost is what its file says, in every form.
func TestCostOfFiles(t *testing.T) {
	for _, name := range net.Architectures() {
		n, err := net.New(name, net.Config{Dim: 32, Width: 0.125})
		if err != nil {
			t.Fatal(err)
		}
		form := Form{DType: "fp32", Opset: 13, InputNorm: "inside", UnitLength: true}
		if strings.HasSuffix(name, "1") || name == "ir18" {
			form = Form{DType: "fp16", Opset: 20, InputNorm: "outside"}
		}
		path := filepath.Join(t.TempDir(), "student.onnx")
		if err := (Model{Network: n, Values: n.Initial(1)}).Write(path, form); err != nil {
			t.Fatal(err)
		}
		m, err := embed.Open(t.Context(), path, embed.Options{Batch: 1, Runtime: ort.Options{Threads: 1}})
		if err != nil {
			t.Fatal(err)
		}
		work, err := m.Multiplications()
		m.Close()
		if err != nil || work.Weights != n.MACs() || len(work.Unknown) > 0 {
			t.Errorf("%s, %s: %+v, %v, want %d", name, form.DType, work, err, n.MACs())
		}
		if attends := strings.HasPrefix(name, "metaformer"); attends != (work.Attention > 0) {
			t.Errorf("%s: %d multiplications of attention", name, work.Attention)
		}
		f, err := embed.Describe(path)
		if err != nil {
			t.Fatal(err)
		}
		stored := map[string]string{"fp32": "float32", "fp16": "float16"}[form.DType]
		if want := n.Parameters() - folded(n, f); f.Parameters != int64(want) || f.Weights[stored] != f.Parameters {
			t.Errorf("%s: %d parameters in the file, %v, want %d", name, f.Parameters, f.Weights, want)
		}
	}
}

// folded are the trained numbers of a network that its file has not, as each batch norm that is
// no node of its own has become part of the layer before it: its scales and, where that layer
// had an offset, one of the two.
func folded(n *net.Network, f *embed.File) (numbers int) {
	trained, norms := map[string]int{}, []string{}
	for _, p := range n.Params() {
		if p.Trained {
			trained[p.Name] = p.Elements()
		}
		if prefix, found := strings.CutSuffix(p.Name, "norm.running_mean"); found {
			norms = append(norms, prefix)
		}
	}
	for _, prefix := range norms {
		numbers += trained[prefix+"norm.weight"] + trained[prefix+"linear.bias"]
	}
	for _, node := range f.Model.Graph.Nodes {
		if node.OpType == "BatchNormalization" {
			numbers -= trained[node.Inputs[1]]
		}
	}
	return numbers
}
