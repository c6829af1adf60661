package torch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// normCase is one form of the fused normalisation.
type normCase struct {
	activation string // none, prelu, relu
	residual   bool
	dtype      torch.DType
}

func (c normCase) String() string {
	return fmt.Sprintf("%s/residual=%v/%v", c.activation, c.residual, c.dtype)
}

func normCases(dtypes ...torch.DType) []normCase {
	var cases []normCase
	for _, activation := range []string{"none", "prelu", "relu"} {
		for _, residual := range []bool{false, true} {
			for _, dtype := range dtypes {
				cases = append(cases, normCase{activation, residual, dtype})
			}
		}
	}
	return cases
}

// normInput is what a normalisation works on, in float64: values that bfloat16 holds
// exactly, so that all precisions start from the same.
type normInput struct {
	device                          string
	shape                           []int
	x, residual, dy                 []float64
	weight, bias, slope, mean, vari []float64
}

func newNormInput(n, c, h, w int) normInput {
	rng := rand.New(rand.NewPCG(1, 2))
	normal := func(size int, scale, shift float64) []float64 {
		v := make([]float64, size)
		for i := range v {
			v[i] = math.Round((rng.NormFloat64()*scale+shift)*16) / 16
		}
		return v
	}
	return normInput{device: "cpu", shape: []int{n, c, h, w}, x: normal(n*c*h*w, 1, 3), residual: normal(n*c*h*w, 1, 0),
		dy: normal(n*c*h*w, 1, 0), weight: normal(c, 1, 0), bias: normal(c, 1, 0), slope: normal(c, 0.3, 0),
		mean: normal(c, 1, 0), vari: normal(c, 0.1, 2)}
}

// run gives y, the running statistics, and the gradients of all inputs of Σ y·dy.
func (in normInput) run(t *testing.T, e *torch.Engine, c normCase, fused bool) map[string][]float64 {
	s := torchtest.Scope(t, e)
	big := func(v []float64) torch.Tensor {
		return s.To(torch.FromData(s, in.device, v, in.shape...), c.dtype)
	}
	param := torch.Float32
	if c.dtype == torch.Float64 {
		param = torch.Float64
	}
	small := func(v []float64) torch.Tensor { return s.To(torch.FromData(s, in.device, v, len(v)), param) }
	leaves := map[string]torch.Tensor{"x": big(in.x), "weight": small(in.weight), "bias": small(in.bias)}
	if c.activation == "prelu" {
		leaves["slope"] = small(in.slope)
	}
	if c.residual {
		leaves["residual"] = big(in.residual)
	}
	for _, l := range leaves {
		s.RequireGrad(l, true)
	}
	n := torch.Norm{Weight: leaves["weight"], Bias: leaves["bias"], Mean: small(in.mean), Variance: small(in.vari),
		Slope: leaves["slope"], ReLU: c.activation == "relu", Momentum: 0.1, Eps: 1e-5}
	var y torch.Tensor
	if fused {
		y = s.NormAct(leaves["x"], n, leaves["residual"])
	} else {
		y = s.BatchNorm(leaves["x"], n.Weight, n.Bias, n.Mean, n.Variance, true, n.Momentum, n.Eps)
		switch c.activation {
		case "prelu":
			y = s.PReLU(y, s.To(n.Slope, c.dtype))
		case "relu":
			y = s.ReLU(y)
		}
		if c.residual {
			y = s.Add(y, leaves["residual"])
		}
	}
	s.Backward(s.Sum(s.Mul(y, big(in.dy))))
	read := func(t torch.Tensor) []float64 { return torch.ToData[float64](s, s.To(s.Detach(t), torch.Float64)) }
	out := map[string][]float64{"y": read(y), "running mean": read(n.Mean), "running variance": read(n.Variance)}
	for name, l := range leaves {
		out["d"+name] = read(s.Grad(l))
	}
	return out
}

// The fused norm gives what the separate operators give, and the same gradients.
func TestNormActMatchesSeparateOperators(t *testing.T) {
	e := torchtest.Open(t)
	tolerance := map[torch.DType]float64{torch.Float64: 1e-11, torch.Float32: 2e-4}
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		// Channels that fill vectors, that do not, and that are fewer; more rows than a block.
		for _, channels := range []int{128, 47, 3} {
			in := newNormInput(5, channels, 13, 11)
			in.device = device
			for _, c := range normCases(torch.Float64, torch.Float32) {
				fused, plain := in.run(t, e, c, true), in.run(t, e, c, false)
				for name := range plain {
					near(t, fmt.Sprintf("%v, %d channels: %s", c, channels, name), fused[name], plain[name], tolerance[c.dtype])
				}
			}
		}
	})
}

// Neither a mean that is large beside the spread nor one value far from all others, wherever
// it is, costs the variance its digits.
func TestNormActOfFarValues(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		const images, side = 16, 100
		for _, at := range []int{0, images*side*side - 1} {
			for _, far := range []float64{0, 1e3, 1e6} {
				for _, mean := range []float64{0, 1e3} {
					in := newNormInput(images, 1, side, side)
					in.device = device
					for i := range in.x {
						in.x[i] += mean
					}
					in.x[at] += far
					c := normCase{activation: "none", dtype: torch.Float32}
					got := in.run(t, e, c, true)["running variance"]
					c.dtype = torch.Float64
					near(t, fmt.Sprintf("one value of %g at %d, the others about %g: variance", far, at, mean),
						got, in.run(t, e, c, false)["running variance"], 5e-3)
				}
			}
		}
	})
}

// In 16 bits only what is stored is rounded: y lies within half a unit in the last place
// of the result in float32.
func TestNormActRoundsOnce(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		in := newNormInput(3, 40, 9, 7)
		in.device = device
		unit := map[torch.DType]float64{torch.BFloat16: 1.0 / 128}
		if device != "cpu" {
			unit[torch.Float16] = 1.0 / 1024
		}
		for dtype := range unit {
			for _, c := range normCases(dtype) {
				half := in.run(t, e, c, true)
				c.dtype = torch.Float32
				near(t, fmt.Sprint(dtype, " ", c, ": y"), half["y"], in.run(t, e, c, true)["y"], unit[dtype]/2)
			}
		}
	})
}

// On the CPU float16 is left to libtorch, whatever that can do: its own norm is as good as
// in float32, or not there at all, which is its own error.
func TestNormActInFloat16(t *testing.T) {
	e := torchtest.Open(t)
	in := newNormInput(3, 7, 5, 4)
	s := e.NewScope()
	s.BatchNorm(s.To(ones(s, 1, 2, 2, 2), torch.Float16), ones(s, 2), ones(s, 2), ones(s, 2), ones(s, 2), true, 0.1, 1e-5)
	can := s.Err()
	s.Close()
	if can != nil {
		n := torch.Norm{Weight: ones(s, 2), Bias: ones(s, 2), Mean: ones(s, 2), Variance: ones(s, 2), Momentum: 0.1, Eps: 1e-5}
		s.NormAct(s.To(ones(s, 1, 2, 2, 2), torch.Float16), n, torch.Tensor{})
		if err := s.Err(); err == nil || !strings.HasSuffix(err.Error(), strings.TrimPrefix(can.Error(), "batch_norm: ")) {
			t.Errorf("%v, where libtorch says %v", err, can)
		}
		s.Close()
		return
	}
	for _, c := range normCases(torch.Float16) {
		half := in.run(t, e, c, true)
		c.dtype = torch.Float32
		for name, want := range in.run(t, e, c, true) {
			near(t, fmt.Sprint(c, ": ", name), half[name], want, 1.0/100)
		}
	}
}

// The gradients are those of finite differences, in float64.
func TestNormActGradients(t *testing.T) {
	e := torchtest.Open(t)
	in := newNormInput(2, 5, 3, 4)
	for _, c := range normCases(torch.Float64) {
		gradients := in.run(t, e, c, true)
		value := func() float64 {
			sum := 0.0
			for i, y := range in.run(t, e, c, true)["y"] {
				sum += y * in.dy[i]
			}
			return sum
		}
		inputs := map[string][]float64{"dx": in.x, "dweight": in.weight, "dbias": in.bias}
		if c.activation == "prelu" {
			inputs["dslope"] = in.slope
		}
		if c.residual {
			inputs["dresidual"] = in.residual
		}
		const h = 1e-5
		for name, v := range inputs {
			for i := range v {
				keep := v[i]
				v[i] = keep + h
				up := value()
				v[i] = keep - h
				down := value()
				v[i] = keep
				if want := (up - down) / (2 * h); math.Abs(gradients[name][i]-want) > 1e-6*(1+math.Abs(want)) {
					t.Fatalf("%v: %s[%d] is %g, finite differences give %g", c, name, i, gradients[name][i], want)
				}
			}
		}
	}
}

// The result does not depend on the number of threads, in any precision.
func TestNormActIsTheSameOnAnyThreads(t *testing.T) {
	e := torchtest.Open(t)
	before := e.Threads()
	t.Cleanup(func() { e.SetThreads(before) })
	in := newNormInput(9, 24, 20, 20)
	for _, c := range normCases(torch.BFloat16, torch.Float32) {
		e.SetThreads(1)
		want := in.run(t, e, c, true)
		e.SetThreads(3)
		for name, got := range in.run(t, e, c, true) {
			near(t, fmt.Sprintf("%v: %s", c, name), got, want[name], 0)
		}
	}
}

func TestNormActRefuses(t *testing.T) {
	e := torchtest.Open(t)
	for name, f := range map[string]func(s *torch.Scope, n torch.Norm){
		"two activations": func(s *torch.Scope, n torch.Norm) {
			n.Slope, n.ReLU = n.Weight, true
			s.NormAct(ones(s, 2, 3, 4, 4), n, torch.Tensor{})
		},
		"residual of another shape": func(s *torch.Scope, n torch.Norm) {
			s.NormAct(ones(s, 2, 3, 4, 4), n, ones(s, 2, 3, 4, 1))
		},
		"residual elsewhere": func(s *torch.Scope, n torch.Norm) {
			s.NormAct(ones(s, 2, 3, 4, 4), n, elsewhere(s, 2, 3, 4, 4))
		},
		"weight elsewhere": func(s *torch.Scope, n torch.Norm) {
			n.Weight = elsewhere(s, 3)
			s.NormAct(ones(s, 2, 3, 4, 4), n, torch.Tensor{})
		},
		"other channels": func(s *torch.Scope, n torch.Norm) { s.NormAct(ones(s, 2, 5, 4, 4), n, torch.Tensor{}) },
		"no image":       func(s *torch.Scope, n torch.Norm) { s.NormAct(ones(s, 2, 3), n, torch.Tensor{}) },
	} {
		s := e.NewScope()
		f(s, torch.Norm{Weight: ones(s, 3), Bias: ones(s, 3), Mean: ones(s, 3), Variance: ones(s, 3), Momentum: 0.1, Eps: 1e-5})
		if s.Err() == nil {
			t.Errorf("%s: no error", name)
		}
		s.Close()
	}
}

// elsewhere are ones on a device that has no memory at all.
func elsewhere(s *torch.Scope, shape ...int) torch.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return torch.FromData(s, "meta", slices.Repeat([]float32{1}, n), shape...)
}

// near fails unless got is want within a relative tolerance.
func near(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= tolerance*(1+math.Abs(want[i]))) {
			t.Errorf("%s: element %d is %g, want %g", what, i, got[i], want[i])
			return
		}
	}
}
