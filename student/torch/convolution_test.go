package torch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

func normal(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// convolution is a case of a convolution of our own: 1×1, or of each channel alone.
type convolution struct {
	n, in, out, side      int
	size, stride, padding int
	depthwise             bool
}

func (c convolution) weights(s *torch.Scope, rng *rand.Rand) torch.Tensor {
	if c.depthwise {
		return torch.FromData(s, "cpu", normal(rng, c.in*c.size*c.size), c.in, 1, c.size, c.size)
	}
	return torch.FromData(s, "cpu", normal(rng, c.out*c.in), c.out, c.in, 1, 1)
}

func (c convolution) image(s *torch.Scope, rng *rand.Rand) torch.Tensor {
	x := torch.FromData(s, "cpu", normal(rng, c.n*c.in*c.side*c.side), c.n, c.in, c.side, c.side)
	return s.Detach(s.ChannelsLast(s.To(x, torch.BFloat16)))
}

func (c convolution) ours(s *torch.Scope, x, w torch.Tensor) torch.Tensor {
	if c.depthwise {
		return s.Depthwise(x, w, c.stride, c.padding)
	}
	return s.Pointwise(x, w)
}

func (c convolution) plain(s *torch.Scope, x, w torch.Tensor) torch.Tensor {
	if c.depthwise {
		return s.Conv2D(x, w, c.stride, c.padding, c.in)
	}
	return s.Conv2D(x, w, 1, 0, 1)
}

func (c convolution) String() string {
	if c.depthwise {
		return fmt.Sprintf("depthwise %d of %dx%dx%d by %d", c.size, c.in, c.side, c.side, c.stride)
	}
	return fmt.Sprintf("pointwise %dx%dx%d to %d", c.in, c.side, c.side, c.out)
}

// Convolutions of images in bfloat16, and their gradients, are those of the plain one in
// float64 on the same rounded numbers, but for the rounding of their results.
func TestConvolutions(t *testing.T) {
	e := torchtest.Open(t)
	for _, c := range []convolution{
		{n: 1, in: 1, out: 1, side: 1}, {n: 2, in: 3, out: 5, side: 7}, {n: 3, in: 64, out: 128, side: 5},
		{n: 2, in: 130, out: 33, side: 9}, {n: 5, in: 512, out: 96, side: 3}, {n: 1, in: 16, out: 700, side: 13},
		{n: 2, in: 64, side: 9, size: 3, stride: 1, padding: 1, depthwise: true},
		{n: 3, in: 37, side: 8, size: 3, stride: 2, padding: 1, depthwise: true},
		{n: 3, in: 16, side: 9, size: 3, stride: 2, padding: 1, depthwise: true},
		{n: 9, in: 70, side: 7, size: 7, stride: 1, depthwise: true},
		{n: 1, in: 5, side: 11, size: 5, stride: 3, padding: 2, depthwise: true},
		{n: 1, in: 8, side: 10, size: 3, stride: 3, depthwise: true},
		{n: 2, in: 8, side: 2, size: 3, stride: 1, padding: 2, depthwise: true},
		{n: 2, in: 33, side: 6, size: 1, stride: 1, depthwise: true},
	} {
		s := torchtest.Scope(t, e)
		rng := rand.New(rand.NewPCG(1, uint64(c.in)))
		x, w := c.image(s, rng), c.weights(s, rng)
		var g torch.Tensor // of the result, in whole numbers, which are exact in bfloat16
		run := func(dtype torch.DType, f func(s *torch.Scope, x, w torch.Tensor) torch.Tensor) (y, dx, dw []float32) {
			x, w := s.Clone(s.To(x, dtype)), s.Clone(w)
			if dtype == torch.Float64 {
				w = s.Detach(s.To(w, dtype))
			}
			s.RequireGrad(x, true)
			s.RequireGrad(w, true)
			out := f(s, x, w)
			if g.IsNone() {
				values := make([]float32, len(s.Floats(out)))
				for i := range values {
					values[i] = float32(rng.IntN(7) - 3)
				}
				g = torch.FromData(s, "cpu", values, s.Shape(out)...)
			}
			s.Backward(s.Sum(s.Mul(s.To(out, torch.Float64), g)))
			return s.Floats(out), s.Floats(s.Grad(x)), s.Floats(s.Grad(w))
		}
		y, dx, dw := run(torch.BFloat16, c.ours)
		wantY, wantDX, wantDW := run(torch.Float64, c.plain)
		if s.Err() != nil {
			t.Fatalf("%v: %v", c, s.Err())
		}
		const half, single = 1. / 256, 1e-5
		for _, r := range []struct {
			name      string
			got, want []float32
			tolerance float64
		}{{"y", y, wantY, half}, {"dx", dx, wantDX, half}, {"dw", dw, wantDW, single}} {
			if len(r.got) != len(r.want) || len(r.want) == 0 {
				t.Fatalf("%v: %s has %d values, want %d", c, r.name, len(r.got), len(r.want))
			}
			for i := range r.want {
				// Sums of hundreds of products are off by as many roundings of float32.
				slack := r.tolerance*math.Abs(float64(r.want[i])) + 1e-4
				if math.Abs(float64(r.got[i]-r.want[i])) > slack {
					t.Fatalf("%v: %s[%d] = %g, want %g", c, r.name, i, r.got[i], r.want[i])
				}
			}
		}
	}
}

// Whatever the number of threads, the result has the same bits.
func TestConvolutionsDoNotDependOnThreads(t *testing.T) {
	e := torchtest.Open(t)
	before := e.Threads()
	defer e.SetThreads(before)
	for _, c := range []convolution{
		{n: 4, in: 48, out: 40, side: 30},
		{n: 11, in: 40, side: 12, size: 3, stride: 2, padding: 1, depthwise: true},
	} {
		var want []float32
		for _, threads := range []int{1, 2, 5} {
			e.SetThreads(threads)
			s := torchtest.Scope(t, e)
			rng := rand.New(rand.NewPCG(1, 2))
			x, w := s.Clone(c.image(s, rng)), c.weights(s, rng)
			s.RequireGrad(w, true)
			s.RequireGrad(x, true)
			y := s.To(c.ours(s, x, w), torch.Float32)
			s.Backward(s.Sum(s.Mul(y, y)))
			got := append(append(s.Floats(y), s.Floats(s.Grad(w))...), s.Floats(s.Grad(x))...)
			if s.Err() != nil {
				t.Fatal(s.Err())
			}
			if want == nil {
				want = got
			}
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("%v, %d threads: value %d is %g, with one thread %g", c, threads, i, got[i], want[i])
				}
			}
		}
	}
}

// Forward and backward of the layers that MobileFaceNet spends its time in, at a batch of 64.
func BenchmarkConvolution(b *testing.B) {
	e := torchtest.Open(b)
	for _, c := range []convolution{
		{n: 64, in: 256, out: 128, side: 14}, {n: 64, in: 128, out: 256, side: 14}, {n: 64, in: 64, out: 128, side: 56},
		{n: 64, in: 64, side: 56, size: 3, stride: 1, padding: 1, depthwise: true},
		{n: 64, in: 128, side: 56, size: 3, stride: 2, padding: 1, depthwise: true},
		{n: 64, in: 128, side: 28, size: 3, stride: 1, padding: 1, depthwise: true},
		{n: 64, in: 256, side: 14, size: 3, stride: 1, padding: 1, depthwise: true},
		{n: 64, in: 512, side: 7, size: 7, stride: 1, depthwise: true},
	} {
		for name, f := range map[string]func(s *torch.Scope, x, w torch.Tensor) torch.Tensor{
			"ours": c.ours,
			"libtorch": func(s *torch.Scope, x, w torch.Tensor) torch.Tensor {
				return c.plain(s, x, s.To(w, torch.BFloat16))
			},
		} {
			b.Run(c.String()+"/"+name, func(b *testing.B) {
				outer := e.NewScope()
				defer outer.Close()
				rng := rand.New(rand.NewPCG(1, 2))
				x, w := c.image(outer, rng), c.weights(outer, rng)
				outer.RequireGrad(w, true)
				outer.RequireGrad(x, true)
				g := outer.Detach(f(outer, x, w))
				for b.Loop() {
					s := e.NewScope()
					s.Backward(s.Sum(s.Mul(f(s, x, w), g)))
					s.ClearGrad(x)
					s.ClearGrad(w)
					if s.Err() != nil {
						b.Fatal(s.Err())
					}
					s.Close()
				}
			})
		}
	}
}
