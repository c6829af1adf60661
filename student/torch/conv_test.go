package torch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// convolution is one shape of a convolution.
type convolution struct {
	n, in, out, height, width       int
	kernel, stride, padding, groups int
}

// convolutions has every kind that the engine has kernels for, with channels that fill
// vectors and that do not, odd sizes, and one that goes to libtorch.
var convolutions = []convolution{
	{2, 7, 5, 5, 6, 1, 1, 0, 1},
	{3, 64, 72, 9, 7, 1, 1, 0, 1},
	{1, 96, 128, 13, 19, 1, 1, 0, 1},
	{2, 5, 5, 7, 6, 3, 1, 1, 5},
	{2, 36, 36, 8, 5, 3, 2, 1, 36},
	{2, 24, 24, 9, 7, 3, 2, 1, 24},
	{1, 8, 8, 6, 5, 3, 1, 0, 8},
	{2, 4, 4, 5, 5, 3, 3, 2, 4},
	{3, 20, 20, 4, 4, 4, 1, 0, 20},
	{2, 3, 4, 7, 7, 3, 2, 1, 1},
	{3, 16, 40, 9, 8, 3, 1, 1, 1},
	{2, 24, 17, 10, 7, 3, 2, 1, 1},
	{2, 9, 6, 6, 7, 1, 2, 0, 1},
	{1, 5, 6, 11, 9, 5, 3, 2, 1},
	{2, 6, 4, 5, 5, 2, 3, 1, 1}, // the stride passes pixels by
	{2, 6, 9, 6, 5, 3, 1, 1, 3},
	// Of one image, or one pixel; channels beside the widths of vectors.
	{1, 1, 3, 1, 1, 1, 1, 0, 1},
	{1, 17, 33, 1, 1, 1, 1, 0, 1},
	{1, 33, 1, 5, 3, 1, 1, 0, 1},
	{2, 130, 7, 3, 3, 1, 1, 0, 1},
	{1, 17, 3, 4, 5, 3, 1, 1, 1},
	{1, 33, 17, 1, 1, 3, 1, 1, 1},
	{2, 130, 1, 3, 4, 3, 2, 1, 1},
	{1, 1, 1, 5, 4, 3, 1, 1, 1},
	{1, 3, 3, 1, 1, 3, 1, 1, 3},
	{1, 7, 7, 6, 5, 3, 2, 1, 7},
	{2, 17, 17, 5, 4, 3, 1, 1, 17},
	{1, 33, 33, 4, 5, 3, 1, 1, 33},
	{2, 130, 130, 5, 5, 3, 2, 1, 130},
	{1, 7, 7, 7, 7, 7, 1, 0, 7},
	{1, 1, 1, 3, 3, 3, 1, 0, 1},
	{1, 33, 33, 1, 1, 1, 1, 0, 33},
	{2, 130, 130, 4, 4, 4, 1, 0, 130},
}

// run gives y and the gradients of x and w of Σ y·dy. In float32 libtorch does most, in
// float64 and bfloat16 the engine.
func (c convolution) run(t *testing.T, e *torch.Engine, dtype torch.DType, x, w []float64) (y, dx, dw, dy []float64) {
	return c.by(t, e, dtype, x, w, c.forward)
}

func (c convolution) forward(s *torch.Scope, x, w torch.Tensor) torch.Tensor {
	return s.Conv2D(x, w, c.stride, c.padding, c.groups)
}

// by is run by any product that comes to the same.
func (c convolution) by(t *testing.T, e *torch.Engine, dtype torch.DType, x, w []float64, product func(s *torch.Scope, x, w torch.Tensor) torch.Tensor) (y, dx, dw, dy []float64) {
	s := torchtest.Scope(t, e)
	param := torch.Float32
	if dtype == torch.Float64 {
		param = torch.Float64
	}
	a := s.To(torch.FromData(s, "cpu", x, c.n, c.in, c.height, c.width), dtype)
	b := s.To(torch.FromData(s, "cpu", w, c.out, c.in/c.groups, c.kernel, c.kernel), param)
	s.RequireGrad(a, true)
	s.RequireGrad(b, true)
	out := product(s, a, b)
	shape := s.Shape(out)
	rng := rand.New(rand.NewPCG(5, 6))
	dy = exact(rng, shape[0]*shape[1]*shape[2]*shape[3])
	s.Backward(s.Sum(s.Mul(out, s.To(torch.FromData(s, "cpu", dy, shape...), dtype))))
	if got := s.DType(s.Grad(b)); got != param {
		t.Errorf("%+v: the gradient of the weights is %v", c, got)
	}
	read := func(t torch.Tensor) []float64 { return torch.ToData[float64](s, s.To(s.Detach(t), torch.Float64)) }
	return read(out), read(s.Grad(a)), read(s.Grad(b)), dy
}

func (c convolution) input() (x, w []float64) {
	rng := rand.New(rand.NewPCG(3, 4))
	return exact(rng, c.n*c.in*c.height*c.width), exact(rng, c.out*c.in/c.groups*c.kernel*c.kernel)
}

// exact draws numbers that every precision holds.
func exact(rng *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = math.Round(rng.NormFloat64()*16) / 16
	}
	return v
}

// In float64 the results are those of the sums written out, and so, rounded once, are
// those in float32 and bfloat16.
func TestConv2DMatchesSums(t *testing.T) {
	torchtest.EachISA(t, conv2DMatchesSums)
	conv2DMatchesSums(t, torchtest.Open(t)) // in bfloat16 by oneDNN, where that is faster
}

func conv2DMatchesSums(t *testing.T, e *torch.Engine) {
	for _, c := range convolutions {
		c.matchesSums(t, e, c.forward)
	}
}

// A linear layer is the convolution of images of one pixel.
func TestLinearMatchesSums(t *testing.T) {
	torchtest.EachISA(t, linearMatchesSums)
	linearMatchesSums(t, torchtest.Open(t))
}

func linearMatchesSums(t *testing.T, e *torch.Engine) {
	for _, c := range []convolution{
		{n: 1, in: 1, out: 1}, {n: 9, in: 300, out: 20}, {n: 70, in: 33, out: 130},
	} {
		c.height, c.width, c.kernel, c.stride, c.groups = 1, 1, 1, 1, 1
		c.matchesSums(t, e, func(s *torch.Scope, x, w torch.Tensor) torch.Tensor {
			return s.Reshape(s.Linear(s.Reshape(x, c.n, c.in), s.Reshape(w, c.out, c.in)), c.n, c.out, 1, 1)
		})
	}
}

// matchesSums compares a product that comes to the convolution with its definition.
func (c convolution) matchesSums(t *testing.T, e *torch.Engine, product func(s *torch.Scope, x, w torch.Tensor) torch.Tensor) {
	x, w := c.input()
	for _, p := range []struct {
		dtype     torch.DType
		tolerance float64
	}{{torch.Float64, 1e-12}, {torch.Float32, 1e-5}, {torch.BFloat16, 1.0 / 200}, {torch.Float16, 1.0 / 1000}} {
		y, dx, dw, dy := c.by(t, e, p.dtype, x, w, product)
		wantY, wantX, wantW := c.byHand(x, w, dy)
		name := fmt.Sprintf("%+v %v", c, p.dtype)
		near(t, name+": y", y, wantY, p.tolerance)
		near(t, name+": dx", dx, wantX, p.tolerance)
		near(t, name+": dw", dw, wantW, p.tolerance)
	}
}

// byHand is the convolution and its gradients by their definitions.
func (c convolution) byHand(x, w, dy []float64) (y, dx, dw []float64) {
	high := (c.height+2*c.padding-c.kernel)/c.stride + 1
	wide := (c.width+2*c.padding-c.kernel)/c.stride + 1
	y, dx, dw = make([]float64, c.n*c.out*high*wide), make([]float64, len(x)), make([]float64, len(w))
	inner, outer := c.in/c.groups, c.out/c.groups
	for at := range y {
		n, o, oy, ox := at/(c.out*high*wide), at/(high*wide)%c.out, at/wide%high, at%wide
		for i := range inner {
			for ky := range c.kernel {
				for kx := range c.kernel {
					iy, ix := oy*c.stride+ky-c.padding, ox*c.stride+kx-c.padding
					if iy < 0 || ix < 0 || iy >= c.height || ix >= c.width {
						continue
					}
					from := ((n*c.in+o/outer*inner+i)*c.height+iy)*c.width + ix
					weight := ((o*inner+i)*c.kernel+ky)*c.kernel + kx
					y[at] += x[from] * w[weight]
					dx[from] += dy[at] * w[weight]
					dw[weight] += dy[at] * x[from]
				}
			}
		}
	}
	return y, dx, dw
}

// The result does not depend on the number of threads.
func TestConv2DIsTheSameOnAnyThreads(t *testing.T) {
	e := torchtest.Open(t)
	before := e.Threads()
	t.Cleanup(func() { e.SetThreads(before) })
	for _, c := range convolutions {
		c.n = 5
		x, w := c.input()
		e.SetThreads(1)
		y1, dx1, dw1, _ := c.run(t, e, torch.BFloat16, x, w)
		e.SetThreads(3)
		y3, dx3, dw3, _ := c.run(t, e, torch.BFloat16, x, w)
		name := fmt.Sprintf("%+v", c)
		near(t, name+": y", y3, y1, 0)
		near(t, name+": dx", dx3, dx1, 0)
		near(t, name+": dw", dw3, dw1, 0)
	}
}
