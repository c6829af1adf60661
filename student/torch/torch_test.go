package torch_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
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

// The fused norm gives what the separate operators give, and the same gradients.
func TestBatchNormPReLUMatchesSeparateOperators(t *testing.T) {
	e := torchtest.Open(t)
	const n, c, h, w = 5, 24, 13, 11 // more rows than one block
	for _, linear := range []bool{false, true} {
		type outcome struct{ y, dx, dw, db, da, mean, variance []float64 }
		run := func(fused bool) outcome {
			s := torchtest.Scope(t, e)
			rng := rand.New(rand.NewPCG(1, 2))
			normal := func(scale, shift float64, shape ...int) torch.Tensor {
				size := 1
				for _, d := range shape {
					size *= d
				}
				v := make([]float64, size)
				for i := range v {
					v[i] = rng.NormFloat64()*scale + shift
				}
				return torch.FromData(s, "cpu", v, shape...)
			}
			x, weight, bias := normal(2, 30, n, c, h, w), normal(1, 0, c), normal(1, 0, c)
			slope, seedGrad := normal(0.3, 0, c), normal(1, 0, n, c, h, w)
			mean, variance := normal(1, 0, c), normal(0.1, 2, c)
			leaves := []torch.Tensor{x, weight, bias, slope}
			for _, l := range leaves {
				s.RequireGrad(l, true)
			}
			var y torch.Tensor
			switch {
			case fused && linear:
				y = s.BatchNormPReLU(x, weight, bias, torch.Tensor{}, mean, variance, 0.1, 1e-5)
			case fused:
				y = s.BatchNormPReLU(x, weight, bias, slope, mean, variance, 0.1, 1e-5)
			default:
				y = s.BatchNorm(x, weight, bias, mean, variance, true, 0.1, 1e-5)
				if !linear {
					y = s.PReLU(y, slope)
				}
			}
			s.Backward(s.Sum(s.Mul(y, seedGrad)))
			o := outcome{y: torch.ToData[float64](s, y), dx: torch.ToData[float64](s, s.Grad(x)),
				dw: torch.ToData[float64](s, s.Grad(weight)), db: torch.ToData[float64](s, s.Grad(bias)),
				mean: torch.ToData[float64](s, mean), variance: torch.ToData[float64](s, variance)}
			if !linear {
				o.da = torch.ToData[float64](s, s.Grad(slope))
			}
			return o
		}
		fused, plain := run(true), run(false)
		for name, pair := range map[string][2][]float64{
			"y": {fused.y, plain.y}, "dx": {fused.dx, plain.dx}, "dweight": {fused.dw, plain.dw},
			"dbias": {fused.db, plain.db}, "dslope": {fused.da, plain.da},
			"running mean": {fused.mean, plain.mean}, "running variance": {fused.variance, plain.variance},
		} {
			if len(pair[0]) != len(pair[1]) {
				t.Fatalf("%s: %d values, want %d", name, len(pair[0]), len(pair[1]))
			}
			for i := range pair[0] {
				if math.Abs(pair[0][i]-pair[1][i]) > 1e-9*(1+math.Abs(pair[1][i])) {
					t.Errorf("linear %v: %s[%d] is %g, want %g", linear, name, i, pair[0][i], pair[1][i])
					break
				}
			}
		}
	}
}

// The result does not depend on the number of threads, in any precision.
func TestBatchNormPReLUIsTheSameOnAnyThreads(t *testing.T) {
	e := torchtest.Open(t)
	before := e.Threads()
	t.Cleanup(func() { e.SetThreads(before) })
	run := func(threads int, dtype torch.DType) ([]float32, []float32) {
		e.SetThreads(threads)
		s := torchtest.Scope(t, e)
		rng := rand.New(rand.NewPCG(3, 4))
		v := make([]float32, 9*16*20*20)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		x := torch.FromData(s, "cpu", v, 9, 16, 20, 20)
		s.RequireGrad(x, true)
		c := ones(s, 16)
		y := s.BatchNormPReLU(s.To(x, dtype), c, c, s.Scale(c, 0.25), s.Clone(c), s.Clone(c), 0.1, 1e-5)
		s.Backward(s.Sum(s.Mul(y, y)))
		return s.Floats(y), s.Floats(s.Grad(x))
	}
	for _, dtype := range []torch.DType{torch.Float32, torch.BFloat16} {
		y1, g1 := run(1, dtype)
		y2, g2 := run(3, dtype)
		for i := range y1 {
			if y1[i] != y2[i] || g1[i] != g2[i] {
				t.Fatalf("%v: element %d differs between 1 and 3 threads", dtype, i)
			}
		}
	}
}
