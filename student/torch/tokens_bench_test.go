package torch_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// BenchmarkAttention compares the engine's attention, forward and backward, on the tokens of
// MetaFormer-0's third stage with the same of libtorch's operators.
func BenchmarkAttention(b *testing.B) {
	const images, tokens, heads, width = 32, 50, 8, 48
	e := torchtest.Open(b)
	e.SetThreads(runtime.GOMAXPROCS(0))
	rng := rand.New(rand.NewPCG(1, 2))
	qkv, bias := drawnLeaf(rng, images, tokens, 3*heads*width), drawnLeaf(rng, heads, tokens, tokens)
	separate := func(s *torch.Scope, x, bias torch.Tensor) torch.Tensor {
		parts := s.Permute(s.Reshape(x, images, tokens, 3, heads, width), 2, 0, 3, 1, 4)
		part := func(i int) torch.Tensor {
			return s.Reshape(s.Slice(parts, 0, i, i+1), images*heads, tokens, width)
		}
		logits := s.Reshape(s.BatchMatMul(s.Scale(part(0), 0.144), s.Permute(part(1), 0, 2, 1)), images, heads, tokens, tokens)
		weights := s.Softmax(s.Add(logits, bias), 3)
		y := s.BatchMatMul(s.Reshape(weights, images*heads, tokens, tokens), part(2))
		return s.Reshape(s.Permute(s.Reshape(y, images, heads, tokens, width), 0, 2, 1, 3), images, tokens, heads*width)
	}
	whole := func(s *torch.Scope, x, bias torch.Tensor) torch.Tensor { return s.Attention(x, bias, heads) }
	for _, dtype := range []torch.DType{torch.Float32, torch.BFloat16} {
		for name, f := range map[string]func(s *torch.Scope, x, bias torch.Tensor) torch.Tensor{"engine": whole, "libtorch": separate} {
			b.Run(name+"/"+dtype.String(), func(b *testing.B) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				s := torchtest.Scope(b, e)
				x := s.To(torch.FromData(s, "cpu", qkv.values, qkv.shape...), dtype)
				by := s.To(torch.FromData(s, "cpu", bias.values, bias.shape...), torch.Float32)
				s.RequireGrad(x, true)
				s.RequireGrad(by, true)
				for b.Loop() {
					inner := e.NewScope()
					with := by
					if name == "libtorch" {
						with = inner.To(by, dtype)
					}
					inner.Backward(inner.Mean(inner.To(f(inner, x, with), torch.Float32)))
					inner.ClearGrad(x)
					inner.ClearGrad(by)
					if inner.Err() != nil {
						b.Fatal(inner.Err())
					}
					inner.Close()
				}
			})
		}
	}
}
