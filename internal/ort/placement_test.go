package ort

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	yalue "github.com/yalue/onnxruntime_go"

	"facepipe/internal/onnx"
)

// reshaper is a model that doubles its input, and computes with its shape.
func reshaper(t *testing.T) string {
	return doubler(t, func(m *onnx.Model) {
		g := &m.Graph
		g.Initializers = []onnx.Tensor{onnx.IntTensor("first", []int64{0}, 1), onnx.IntTensor("rest", []int64{-1}, 1)}
		g.Nodes[0].Outputs[0] = "doubled"
		g.Nodes = append(g.Nodes,
			onnx.Node{Name: "shape", OpType: "Shape", Inputs: []string{"doubled"}, Outputs: []string{"dims"}},
			onnx.Node{Name: "gather", OpType: "Gather", Inputs: []string{"dims", "first"}, Outputs: []string{"n"}},
			onnx.Node{Name: "concat", OpType: "Concat", Inputs: []string{"n", "rest"}, Outputs: []string{"target"}, Attributes: []onnx.Attribute{onnx.Int("axis", 0)}},
			onnx.Node{Name: "reshape", OpType: "Reshape", Inputs: []string{"doubled", "target"}, Outputs: []string{"y"}})
	})
}

// plainSession opens a model on the processor, with a configuration of the runtime's.
func plainSession(t *testing.T, path, key, value string) *yalue.DynamicAdvancedSession {
	t.Helper()
	if err := Init(""); err != nil {
		t.Fatal(err)
	}
	options, err := yalue.NewSessionOptions()
	if err != nil {
		t.Fatal(err)
	}
	defer options.Destroy()
	if err := options.AddSessionConfigEntry(key, value); err != nil {
		t.Fatal(err)
	}
	s, err := yalue.NewDynamicAdvancedSession(path, []string{"x"}, []string{"y"}, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Destroy() })
	return s
}

func TestPlacement(t *testing.T) {
	p, err := placementOf(plainSession(t, reshaper(t), recordPlacement, "1"))
	want := map[string]int{"Add": 1, "Shape": 1, "Gather": 1, "Concat": 1, "Reshape": 1}
	if err != nil || len(p) != 1 || !maps.Equal(p["CPUExecutionProvider"], want) {
		t.Errorf("%v, %v", p, err)
	}
	if p, err := placementOf(plainSession(t, reshaper(t), recordPlacement, "0")); err == nil {
		t.Errorf("what was not recorded is %v", p)
	}
}

func TestElsewhere(t *testing.T) {
	p := placement{
		"TensorrtExecutionProvider": {"Conv": 90, "Add": 5},
		"CUDAExecutionProvider":     {"Resize": 1},
		"CPUExecutionProvider":      {"Concat": 1, "Gather": 2, "Cast": 1},
	}
	for provider, want := range map[string]string{
		"TensorrtExecutionProvider": "4 nodes to the processor (Gather ×2, Cast, Concat), one node to cuda (Resize)",
		"CUDAExecutionProvider":     "4 nodes to the processor (Gather ×2, Cast, Concat), 95 nodes to tensorrt (Conv ×90, Add ×5)",
	} {
		if got := p.elsewhere(provider); got != want {
			t.Errorf("beside %s: %q", provider, got)
		}
	}
	if got := (placement{"CUDAExecutionProvider": {"Conv": 1}, "CPUExecutionProvider": {}}).elsewhere("CUDAExecutionProvider"); got != "" {
		t.Errorf("nothing elsewhere is %q", got)
	}
	many := map[string]int{}
	for i := range 20 {
		many[fmt.Sprintf("Op%02d", i)] = 1
	}
	if got := operatorList(many); strings.Count(got, "Op") != maxOperators || !strings.HasSuffix(got, ", ...") {
		t.Errorf("many operators are %q", got)
	}
}

// Each function is at its place in the header of the runtime that the binding was made for.
func TestFunctionsAreTheRuntimes(t *testing.T) {
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	binding, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Skipf("the go command cannot tell where the binding lies: %v", err)
	}
	source := "#include <stddef.h>\n#include \"onnxruntime_c_api.h\"\n"
	for place, name := range map[int]string{sessionSubgraphs: "Session_GetEpGraphAssignmentInfo", subgraphProvider: "EpAssignedSubgraph_GetEpName",
		subgraphNodes: "EpAssignedSubgraph_GetNodes", nodeOperator: "EpAssignedNode_GetOperatorType", errorMessage: "GetErrorMessage",
		releaseStatus: "ReleaseStatus", sessionRun: "Run", tensorData: "GetTensorMutableData", tensorShape: "GetTensorTypeAndShape",
		shapeDimensions: "GetDimensionsCount", shapeSizes: "GetDimensions", releaseValue: "ReleaseValue", releaseShape: "ReleaseTensorTypeAndShapeInfo",
		createMemoryInfo: "CreateMemoryInfo", allocate: "AllocatorAlloc", deallocate: "AllocatorFree", releaseMemory: "ReleaseMemoryInfo",
		createAllocator: "CreateAllocator", releaseAllocator: "ReleaseAllocator"} {
		source += fmt.Sprintf("_Static_assert(offsetof(OrtApi, %s) == %d * sizeof(void *), \"%s\");\n", name, place, name)
	}
	file := filepath.Join(t.TempDir(), "places.c")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(compiler, "-fsyntax-only", "-I", strings.TrimSpace(string(binding)), file).CombinedOutput()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		t.Errorf("%s", out)
	} else if err != nil {
		t.Fatal(err)
	}
}
