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

// The pointwise convolution of images in bfloat16, and its gradients, are those of the
// plain one in float64 on the same rounded numbers, but for the rounding of its results.
func TestPointwise(t *testing.T) {
	e := torchtest.Open(t)
	for _, c := range []struct{ n, in, out, side int }{{1, 1, 1, 1}, {2, 3, 5, 7}, {3, 64, 128, 5}, {2, 130, 33, 9}, {5, 512, 96, 3}, {1, 16, 700, 13}} {
		s := torchtest.Scope(t, e)
		rng := rand.New(rand.NewPCG(1, uint64(c.in)))
		image := func(channels int) torch.Tensor {
			x := torch.FromData(s, "cpu", normal(rng, c.n*channels*c.side*c.side), c.n, channels, c.side, c.side)
			return s.Detach(s.ChannelsLast(s.To(x, torch.BFloat16)))
		}
		x, g := image(c.in), image(c.out)
		w := torch.FromData(s, "cpu", normal(rng, c.out*c.in), c.out, c.in, 1, 1)
		run := func(dtype torch.DType, f func(x, w torch.Tensor) torch.Tensor) (y, dx, dw []float32) {
			x, w := s.Clone(s.To(x, dtype)), s.Clone(w)
			if dtype == torch.Float64 {
				w = s.Detach(s.To(w, dtype))
			}
			s.RequireGrad(x, true)
			s.RequireGrad(w, true)
			out := f(x, w)
			s.Backward(s.Sum(s.Mul(s.To(out, torch.Float64), s.To(g, torch.Float64))))
			return s.Floats(out), s.Floats(s.Grad(x)), s.Floats(s.Grad(w))
		}
		y, dx, dw := run(torch.BFloat16, s.Pointwise)
		wantY, wantDX, wantDW := run(torch.Float64, func(x, w torch.Tensor) torch.Tensor { return s.Conv2D(x, w, 1, 0, 1) })
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		const half, single = 1. / 256, 1e-5
		for _, r := range []struct {
			name      string
			got, want []float32
			tolerance float64
			terms     int
		}{{"y", y, wantY, half, c.in}, {"dx", dx, wantDX, half, c.out}, {"dw", dw, wantDW, single, c.n * c.side * c.side}} {
			for i := range r.want {
				// Sums of rounded products lie within the size of a product.
				slack := r.tolerance*math.Abs(float64(r.want[i])) + 1e-6*math.Sqrt(float64(r.terms)) + single
				if math.Abs(float64(r.got[i]-r.want[i])) > slack {
					t.Fatalf("%+v: %s[%d] = %g, want %g", c, r.name, i, r.got[i], r.want[i])
				}
			}
		}
	}
}

// Whatever the number of threads, the result has the same bits.
func TestPointwiseDoesNotDependOnThreads(t *testing.T) {
	e := torchtest.Open(t)
	before := e.Threads()
	defer e.SetThreads(before)
	var want []float32
	for _, threads := range []int{1, 2, 5} {
		e.SetThreads(threads)
		s := torchtest.Scope(t, e)
		rng := rand.New(rand.NewPCG(1, 2))
		x := s.Detach(s.ChannelsLast(s.To(torch.FromData(s, "cpu", normal(rng, 4*48*30*30), 4, 48, 30, 30), torch.BFloat16)))
		w := torch.FromData(s, "cpu", normal(rng, 40*48), 40, 48, 1, 1)
		s.RequireGrad(w, true)
		y := s.Pointwise(x, w)
		s.Backward(s.Sum(s.Mul(s.To(y, torch.Float32), s.To(y, torch.Float32))))
		got := append(s.Floats(y), s.Floats(s.Grad(w))...)
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		if want == nil {
			want = got
		}
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%d threads: value %d is %g, with one thread %g", threads, i, got[i], want[i])
			}
		}
	}
}

func BenchmarkPointwise(b *testing.B) {
	e := torchtest.Open(b)
	for _, c := range []struct{ in, out, side int }{{256, 128, 14}, {128, 256, 14}, {64, 128, 56}, {128, 64, 28}} {
		for _, name := range []string{"pointwise", "conv2d"} {
			b.Run(fmt.Sprintf("%s/%dx%d to %d", name, c.side, c.in, c.out), func(b *testing.B) {
				const n = 64
				outer := e.NewScope()
				defer outer.Close()
				rng := rand.New(rand.NewPCG(1, 2))
				x := outer.Detach(outer.ChannelsLast(outer.To(torch.FromData(outer, "cpu", normal(rng, n*c.in*c.side*c.side), n, c.in, c.side, c.side), torch.BFloat16)))
				w := torch.FromData(outer, "cpu", normal(rng, c.out*c.in), c.out, c.in, 1, 1)
				outer.RequireGrad(w, true)
				outer.RequireGrad(x, true)
				for b.Loop() {
					s := e.NewScope()
					var y torch.Tensor
					if name == "pointwise" {
						y = s.Pointwise(x, w)
					} else {
						y = s.Conv2D(x, s.To(w, torch.BFloat16), 1, 0, 1)
					}
					s.Backward(s.Sum(y))
					s.ClearGrad(x)
					s.ClearGrad(w)
					if s.Err() != nil {
						b.Fatal(s.Err())
					}
					s.Close()
				}
				flop := 3 * 2 * n * c.in * c.out * c.side * c.side
				b.ReportMetric(float64(flop)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
