package torch_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

func TestOperatorsMatchArithmetic(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	a := torch.FromData(s, "cpu", []float64{1, 2, 3, 4}, 2, 2)
	b := torch.FromData(s, "cpu", []float64{5, 6, 7, 8}, 2, 2)
	for name, c := range map[string]struct {
		got  torch.Tensor
		want []float64
	}{
		"add":       {s.Add(a, b), []float64{6, 8, 10, 12}},
		"sub":       {s.Sub(a, b), []float64{-4, -4, -4, -4}},
		"scale":     {s.Scale(a, 3), []float64{3, 6, 9, 12}},
		"matmul":    {s.MatMul(a, b), []float64{19, 22, 43, 50}},
		"transpose": {s.Transpose(a), []float64{1, 3, 2, 4}},
		"sum rows":  {s.SumDim(a, 1, false), []float64{3, 7}},
		"linear":    {s.Linear(a, b), []float64{17, 23, 39, 53}},
		"rows":      {s.Rows(a, torch.FromData(s, "cpu", []int64{1, 1}, 2)), []float64{3, 4, 3, 4}},
		"unit":      {s.Unit(torch.FromData(s, "cpu", []float64{3, 4, 0, 0}, 2, 2)), []float64{0.6, 0.8, 0, 0}},
		"huber":     {s.Huber(a, b, 1), []float64{3.5}},
	} {
		got := torch.ToData[float64](s, c.got)
		for i := range c.want {
			if len(got) != len(c.want) || math.Abs(got[i]-c.want[i]) > 1e-12 {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
				break
			}
		}
	}
}

func TestBackward(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	x := torch.FromData(s, "cpu", []float64{1, -2, 3}, 3)
	s.RequireGrad(x, true)
	s.Backward(s.Sum(s.Mul(x, x)))
	got := torch.ToData[float64](s, s.Grad(x))
	for i, want := range []float64{2, -4, 6} {
		if got[i] != want {
			t.Errorf("gradient %d is %g, want %g", i, got[i], want)
		}
	}
	s.ClearGrad(x)
	if !s.Grad(x).IsNone() {
		t.Error("the gradient outlived ClearGrad")
	}
}

// What goes wrong inside libtorch comes back as a Go error that names the operator.
func TestErrorsComeBack(t *testing.T) {
	e := torchtest.Open(t)
	for name, f := range map[string]func(*torch.Scope){
		"matmul":        func(s *torch.Scope) { s.MatMul(ones(s, 2, 3), ones(s, 2, 3)) },
		"cross_entropy": func(s *torch.Scope) { s.CrossEntropy(ones(s, 1, 2), torch.FromData(s, "cpu", []int64{7}, 1)) },
		"backward":      func(s *torch.Scope) { s.Backward(ones(s, 3)) },
		"tensor":        func(s *torch.Scope) { torch.FromData(s, "nowhere", []float32{1}, 1) },
		"values":        func(s *torch.Scope) { torch.FromData(s, "cpu", []float32{1, 2}, 3) },
		"move":          func(s *torch.Scope) { s.Move(torch.Tensor{}, s) },
	} {
		s := e.NewScope()
		f(s)
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), strings.Split(name, "_")[0]) {
			t.Errorf("%s: error %v", name, err)
		}
		after := ones(s, 2)
		if !after.IsNone() {
			t.Errorf("%s: the scope still works after its error", name)
		}
		s.Close()
		if s.Err() != nil {
			t.Errorf("%s: the error outlived Close", name)
		}
	}
}

func ones(s *torch.Scope, shape ...int) torch.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = 1
	}
	return torch.FromData(s, "cpu", data, shape...)
}

func TestOpenExplainsWhatIsMissing(t *testing.T) {
	if _, err := torch.Open("/does/not/exist.so"); !errors.Is(err, torch.ErrEngine) || !strings.Contains(err.Error(), "make engine") {
		t.Errorf("missing engine: %v", err)
	}
	text := filepath.Join(t.TempDir(), "libpipe_engine.so")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := torch.Open(text); !errors.Is(err, torch.ErrEngine) || !strings.Contains(err.Error(), text) {
		t.Errorf("engine that is no library: %v", err)
	}
}

// Of a library that is no engine of this pipe, or none that can run here, the error names
// the file, the reason and the remedy.
func TestOpenRefusesOtherEngines(t *testing.T) {
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("no C++ compiler")
	}
	// engine is one that answers as an interface of that version built against a libtorch.
	engine := func(version int, built string) string {
		source := fmt.Sprintf("int pipe_engine_abi() { return %d; }\nconst char* pipe_engine_torch_version() { return %q; }\n"+
			"const char* pipe_engine_torch_loaded() { return \"1.13.1\"; }\n", version, built)
		for _, name := range torch.Symbols() {
			if !strings.Contains(source, name+"(") {
				source += "void " + name + "() {}\n"
			}
		}
		return source
	}
	this := engine(torch.ABI, "1.13.1")
	for name, c := range map[string]struct{ source, say string }{
		"nothing of it":        {"int other() { return 0; }", "is no engine of this version of pipe"},
		"a function too few":   {strings.Replace(this, "void pipe_engine_backward() {}", "", 1), "pipe_engine_backward"},
		"the interface before": {fmt.Sprintf("int pipe_engine_abi() { return %d; }", torch.ABI-1), fmt.Sprintf("version %d of the interface, this pipe needs %d", torch.ABI-1, torch.ABI)},
		"the interface after":  {engine(torch.ABI+1, "1.13.1"), fmt.Sprintf("version %d of the interface, this pipe needs %d", torch.ABI+1, torch.ABI)},
		"another libtorch":     {engine(torch.ABI, "2.11.0+cu130"), "built against libtorch 2.11.0+cu130, but the one that it finds here is 1.13.1"},
		"a symbol of another libtorch": {this + "void at_missing();\nvoid call() { at_missing(); }",
			"at_missing (the libtorch that it finds here is not the one that it was built against)"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			source, library := filepath.Join(dir, "engine.cc"), filepath.Join(dir, "libpipe_engine.so")
			if err := os.WriteFile(source, []byte("extern \"C\" {\n"+c.source+"\n}\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(compiler, "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			_, err := torch.Open(library)
			if !errors.Is(err, torch.ErrEngine) {
				t.Fatalf("error %v", err)
			}
			for _, want := range []string{library, c.say, "make engine"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// An engine runs on the libtorch that it was built against, but for patches.
func TestSameRelease(t *testing.T) {
	for _, c := range []struct {
		built, loaded string
		want          bool
	}{
		{"1.13.0", "1.13.0", true}, {"1.13.0", "1.13.1", true}, {"2.11.0+cu130", "2.11.1", true}, {"2.15.0", "", true},
		{"1.13.0", "1.12.0", false}, {"2.1.0", "2.11.0", false}, {"1.13.0", "2.13.0", false},
	} {
		if got := torch.SameRelease(c.built, c.loaded); got != c.want {
			t.Errorf("%s on %s: %v", c.built, c.loaded, got)
		}
	}
}

// A thousand training-like steps leave neither tensors nor memory behind.
func TestNoLeak(t *testing.T) {
	e := torchtest.Open(t)
	outer := torchtest.Scope(t, e)
	w := ones(outer, 64, 64)
	outer.RequireGrad(w, true)
	step := func() {
		s := e.NewScope()
		defer s.Close()
		s.Backward(s.Mean(s.MatMul(ones(s, 512, 64), w)))
		s.Copy(s.Detach(w), s.Grad(w))
		s.ClearGrad(w)
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		step()
	}
	live, before := e.LiveTensors(), residentMiB(t)
	for range 1000 {
		step()
	}
	if e.LiveTensors() != live {
		t.Errorf("%d tensors alive, %d before the steps", e.LiveTensors(), live)
	}
	// Each step makes 260 KiB of tensors: a leak of one in ten would show.
	if grown := residentMiB(t) - before; grown > 25 {
		t.Errorf("resident memory grew by %d MiB", grown)
	}
}

func residentMiB(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	runtime.GC()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() >> 20
}

// What there is no device for is refused with libtorch's reason.
func TestDevicesThatAreNotThere(t *testing.T) {
	e := torchtest.Open(t)
	if err := e.TryDevice("cpu"); err != nil {
		t.Error(err)
	}
	n := e.CUDADevices()
	if e.HasDevice("cuda") != (n > 0) {
		t.Errorf("%d devices, of which cuda: %v", n, e.TryDevice("cuda"))
	}
	if err := e.TryDevice("cuda:99"); err == nil || err.Error() == "" {
		t.Errorf("cuda:99: %v", err)
	}
	if err := e.TryKernels("cpu"); err == nil || !strings.Contains(err.Error(), "not for cpu") {
		t.Errorf("kernels on cpu: %v", err)
	}
	e.SetCUDANumbers(torch.CUDANumbers{TF32: true}) // which the processor does not know of
}

// A device that is there runs the engine's own kernels, for which it must have been built with
// nvcc: PIPE_TEST_CUDA makes it an error that they are not in use.
func TestKernelsOnCUDA(t *testing.T) {
	e := torchtest.Open(t)
	if os.Getenv("PIPE_TEST_CUDA") == "" {
		t.Skip("PIPE_TEST_CUDA is not set")
	}
	for i := range max(e.CUDADevices(), 1) {
		if err := e.TryKernels(fmt.Sprintf("cuda:%d", i)); err != nil {
			t.Errorf("cuda:%d: %v", i, err)
		}
	}
}
