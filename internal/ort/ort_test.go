package ort

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"facepipe/internal/half"
	"facepipe/internal/onnx"
)

// doubler is a model that adds its input to itself.
func doubler(t *testing.T, edit func(*onnx.Model)) string {
	t.Helper()
	value := func(name string) onnx.ValueInfo {
		return onnx.ValueInfo{Name: name, Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 2}}}
	}
	m := &onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: onnx.Graph{Name: "g",
		Nodes:  []onnx.Node{{Name: "add", OpType: "Add", Inputs: []string{"x", "x"}, Outputs: []string{"y"}}},
		Inputs: []onnx.ValueInfo{value("x")}, Outputs: []onnx.ValueInfo{value("y")}}}
	if edit != nil {
		edit(m)
	}
	path := filepath.Join(t.TempDir(), "double.onnx")
	if err := os.WriteFile(path, m.Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func tensor(t *testing.T, values ...float32) *Tensor {
	t.Helper()
	x, err := NewTensor(int64(len(values)/2), 2)
	if err != nil {
		t.Fatal(err)
	}
	copy(x.Data(), values)
	t.Cleanup(func() { x.Close() })
	return x
}

func TestRun(t *testing.T) {
	s, err := Open(t.Context(), doubler(t, nil), Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if in := s.Inputs()[0]; in.Name != "x" || in.Dims[0] != -1 || in.Dims[1] != 2 {
		t.Errorf("input %+v", in)
	}
	given, allocated := tensor(t, 0, 0), []*Tensor{nil}
	if err := s.Run([]*Tensor{tensor(t, 1, -3)}, []*Tensor{given}); err != nil {
		t.Fatal(err)
	}
	if err := s.Run([]*Tensor{tensor(t, 1, 2, 3, 4)}, allocated); err != nil {
		t.Fatal(err)
	}
	defer allocated[0].Close()
	if d := given.Data(); d[0] != 2 || d[1] != -6 {
		t.Errorf("given output %v", d)
	}
	if d, dims := allocated[0].Data(), allocated[0].Dims(); dims[0] != 2 || d[3] != 8 {
		t.Errorf("allocated output %v of shape %v", d, dims)
	}
	if err := s.Run([]*Tensor{tensor(t, 1, 2, 3, 4)}, []*Tensor{given}); err == nil {
		t.Error("an output of the wrong shape was taken")
	}
}

// Float16 comes and goes as it is where that is asked for, in outputs of whoever's memory.
func TestRunInHalf(t *testing.T) {
	path := doubler(t, func(m *onnx.Model) { m.Graph.Inputs[0].Type, m.Graph.Outputs[0].Type = onnx.Float16, onnx.Float16 })
	s, err := Open(t.Context(), path, Options{Threads: 1, Crossing: []onnx.ElemType{onnx.Float16}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x, y, allocated := halves(t, 1.5, -3, 65504, 1.0/1024), halves(t, 0, 0, 0, 0), []*Tensor{nil}
	if err := errors.Join(s.Run([]*Tensor{x}, []*Tensor{y}), s.Run([]*Tensor{x}, allocated)); err != nil {
		t.Fatal(err)
	}
	defer allocated[0].Close()
	want := []float32{3, -6, float32(math.Inf(1)), 1.0 / 512}
	for _, got := range []*Tensor{y, allocated[0]} {
		if !slices.Equal(got.Floats(nil), want) || !slices.Equal(got.Dims(), []int64{2, 2}) || got.Type() != onnx.Float16 {
			t.Errorf("%v of shape %v in %v", got.Floats(nil), got.Dims(), got.Type())
		}
	}
	if in := s.Inputs()[0]; in.Type != onnx.Float16 || s.Outputs()[0].Type != onnx.Float16 {
		t.Errorf("input %+v", in)
	}
	b, err := s.Bind([]*Tensor{x}, []*Tensor{y})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	x.Halves()[0] = 0
	if err := b.Run(); err != nil || y.Floats(nil)[0] != 0 || y.Floats(nil)[1] != -6 {
		t.Errorf("bound: %v, %v", y.Floats(nil), err)
	}
	if err := s.Run([]*Tensor{tensor(t, 1, 2)}, []*Tensor{nil}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("float32 for float16: %v", err)
	}
	if _, err := Open(t.Context(), path, Options{Threads: 1}); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), "x is no float32 tensor") {
		t.Errorf("not asked for: %v", err)
	}
}

func halves(t *testing.T, values ...float32) *Tensor {
	t.Helper()
	x, err := NewTensorOf(onnx.Float16, int64(len(values)/2), 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		x.Halves()[i] = half.FromFloat(v)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func TestRunConcurrently(t *testing.T) {
	s, err := Open(t.Context(), doubler(t, nil), Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var group sync.WaitGroup
	for k := range 8 {
		x, y := tensor(t, float32(k), 1), tensor(t, 0, 0)
		group.Go(func() {
			for range 100 {
				if err := s.Run([]*Tensor{x}, []*Tensor{y}); err != nil || y.Data()[0] != float32(2*k) {
					t.Errorf("run %d: %v, %v", k, y.Data(), err)
				}
			}
		})
	}
	group.Wait()
}

func TestOpenExplains(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.onnx")
	if err := os.WriteFile(text, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		o    Options
		want error
		say  string
	}{
		"no file":          {"/no/such/model.onnx", Options{}, ErrModel, "/no/such/model.onnx"},
		"no model":         {text, Options{}, ErrModel, text},
		"unknown operator": {doubler(t, func(m *onnx.Model) { m.Graph.Nodes[0].OpType = "Nonsense" }), Options{}, ErrModel, "Nonsense"},
		"new IR":           {doubler(t, func(m *onnx.Model) { m.IRVersion = 99 }), Options{}, ErrModel, "its IR version is 99, this ONNX Runtime ("},
		"new opset":        {doubler(t, func(m *onnx.Model) { m.OpsetVersion = 99 }), Options{}, ErrModel, "its opset of ai.onnx is 99, this ONNX Runtime ("},
		"output of nobody": {doubler(t, func(m *onnx.Model) { m.Graph.Outputs[0].Name = "gone" }), Options{}, ErrModel, "double.onnx: This is an invalid model. Graph output (gone)"},
		"integer input":    {doubler(t, func(m *onnx.Model) { m.Graph.Inputs[0].Type, m.Graph.Outputs[0].Type = onnx.Int64, onnx.Int64 }), Options{}, ErrModel, "float32"},
		"unknown provider": {doubler(t, nil), Options{Provider: "abacus"}, ErrRuntime, "abacus"},
		"absent provider":  {doubler(t, nil), Options{Provider: "cuda"}, ErrRuntime, "--onnxruntime"},
		"second library":   {doubler(t, nil), Options{Library: "/other.so"}, ErrRuntime, "open already"},
	} {
		if s, err := Open(t.Context(), c.path, c.o); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
			if s != nil {
				s.Close()
			}
		}
	}
}

// oldRuntime compiles a library that answers as ONNX Runtime 1.17 does.
func oldRuntime(t *testing.T) string {
	t.Helper()
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	const source = `
static const void *api(unsigned version) { return version <= 17 ? (const void *)1 : 0; }
static const char *version(void) { return "1.17.3"; }
static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { api, version };
const void *OrtGetApiBase(void) { return &base; }
`
	dir := t.TempDir()
	file, library := filepath.Join(dir, "old.c"), filepath.Join(dir, "libonnxruntime.so.1.17.3")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(compiler, "-shared", "-fPIC", "-o", library, file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return library
}

// foreignLibrary is a shared library of another kind.
func foreignLibrary(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/lib/*-linux-gnu/libm.so.6", "/lib64/libm.so.6", "/usr/lib/libm.so.6"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0]
		}
	}
	t.Skip("no libm.so.6")
	return ""
}

// The processes that this starts have no usable runtime; the one sentence that the
// user sees names the file, the reason and the remedy.
func TestMissingOrUnusableLibrary(t *testing.T) {
	if path := os.Getenv("PIPE_TEST_INIT"); path != "" {
		if err := Init(path); err != nil {
			os.Stdout.WriteString("ERROR " + err.Error() + "\n")
		}
		if v := Version(); v != "" {
			os.Stdout.WriteString("VERSION " + v + "\n")
		}
		return
	}
	text := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, say string }{
		{"/no/such/libonnxruntime.so", "not found"},
		{text, "cannot be used"},
		{foreignLibrary(t), "no ONNX Runtime"},
		{oldRuntime(t), "it is version 1.17.3"},
	} {
		cmd := exec.Command(os.Args[0], "-test.run", "TestMissingOrUnusableLibrary$")
		cmd.Env = append(os.Environ(), "PIPE_TEST_INIT="+c.path)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v, said %q", c.path, err, out)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		for _, want := range []string{"ERROR ONNX Runtime: ", c.path, c.say, "make deps", "--onnxruntime"} {
			if !strings.Contains(line, want) {
				t.Errorf("%s: %q does not say %q", c.path, line, want)
			}
		}
		if strings.Contains(string(out), "VERSION") {
			t.Errorf("%s: an unusable runtime has a version: %s", c.path, out)
		}
	}
}

// probe refuses what the binding would: both must mean the same version.
func TestInterfaceVersionIsTheBindings(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Skipf("the go command cannot tell where the binding lies: %v", err)
	}
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "onnxruntime_c_api.h"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("#define ORT_API_VERSION %d\n", apiVersion); !strings.Contains(string(header), want) {
		t.Errorf("the binding's header does not say %q", want)
	}
}

func TestVersion(t *testing.T) {
	if err := Init(""); err != nil {
		t.Fatal(err)
	}
	if v := Version(); !strings.HasPrefix(v, "1.") {
		t.Errorf("version %q", v)
	}
}
