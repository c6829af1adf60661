package torch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// graph is a function of leaves, built anew in each scope.
type graph func(s *torch.Scope, leaves []torch.Tensor) torch.Tensor

// leaf is an input: its values and its shape.
type leaf struct {
	values []float64
	shape  []int
}

func drawnLeaf(rng *rand.Rand, shape ...int) leaf {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return leaf{exact(rng, n), shape}
}

// differentiate gives y and the gradients of the leaves of Σ y·dy, with the leaves in dtypes
// and dy the same for all.
func differentiate(t *testing.T, s *torch.Scope, device string, f graph, leaves []leaf, dtypes ...torch.DType) (y []float64, gradients [][]float64) {
	t.Helper()
	var in []torch.Tensor
	for i, l := range leaves {
		x := s.To(torch.FromData(s, device, l.values, l.shape...), dtypes[min(i, len(dtypes)-1)])
		s.RequireGrad(x, true)
		in = append(in, x)
	}
	out := f(s, in)
	read := func(t torch.Tensor) []float64 { return torch.ToData[float64](s, s.To(s.Detach(t), torch.Float64)) }
	y = read(out)
	dy := exact(rand.New(rand.NewPCG(5, 6)), len(y))
	s.Backward(s.Sum(s.Mul(s.To(out, torch.Float64), torch.FromData(s, device, dy, s.Shape(out)...))))
	for _, x := range in {
		gradients = append(gradients, read(s.Grad(x)))
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return y, gradients
}

// value is Σ y·dy of differentiate.
func valueOf(t *testing.T, s *torch.Scope, device string, f graph, leaves []leaf) (sum float64) {
	t.Helper()
	s.Engine().NoGrad(func() {
		var in []torch.Tensor
		for _, l := range leaves {
			in = append(in, torch.FromData(s, device, l.values, l.shape...))
		}
		y := torch.ToData[float64](s, f(s, in))
		for i, d := range exact(rand.New(rand.NewPCG(5, 6)), len(y)) {
			sum += d * y[i]
		}
	})
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return sum
}

// finiteDifferences compares the gradients with differences of values in float64.
func finiteDifferences(t *testing.T, e *torch.Engine, device, name string, f graph, leaves []leaf) {
	t.Helper()
	s := torchtest.Scope(t, e)
	_, gradients := differentiate(t, s, device, f, leaves, torch.Float64)
	const h = 1e-5
	for i, l := range leaves {
		length := 0.0
		for _, g := range gradients[i] {
			length = max(length, math.Abs(g))
		}
		for k := 0; k < len(l.values); k += 1 + len(l.values)/40 {
			at := l.values[k]
			l.values[k] = at + h
			above := valueOf(t, s, device, f, leaves)
			l.values[k] = at - h
			below := valueOf(t, s, device, f, leaves)
			l.values[k] = at
			if want := (above - below) / (2 * h); math.Abs(gradients[i][k]-want) > 1e-6*max(1, length) {
				t.Errorf("%s: gradient %d of leaf %d is %g, want %g", name, k, i, gradients[i][k], want)
			}
		}
	}
}

// tokenOperators are what transformers take, with inputs.
func tokenOperators() map[string]struct {
	f      graph
	leaves []leaf
} {
	rng := rand.New(rand.NewPCG(1, 2))
	type operator = struct {
		f      graph
		leaves []leaf
	}
	list := map[string]operator{
		"gelu": {func(s *torch.Scope, in []torch.Tensor) torch.Tensor { return s.GELU(in[0]) }, []leaf{drawnLeaf(rng, 3, 37)}},
		"silu": {func(s *torch.Scope, in []torch.Tensor) torch.Tensor { return s.SiLU(in[0]) }, []leaf{drawnLeaf(rng, 3, 37)}},
		"layer norm": {func(s *torch.Scope, in []torch.Tensor) torch.Tensor { return s.LayerNorm(in[0], in[1], in[2], 1e-5) },
			[]leaf{drawnLeaf(rng, 4, 5, 17), drawnLeaf(rng, 17), drawnLeaf(rng, 17)}},
		"linear": {func(s *torch.Scope, in []torch.Tensor) torch.Tensor { return s.LinearBias(in[0], in[1], in[2]) },
			[]leaf{drawnLeaf(rng, 4, 5, 17), drawnLeaf(rng, 9, 17), drawnLeaf(rng, 9)}},
	}
	// Tokens and widths that fill vectors and tiles, and that do not.
	for _, c := range []struct{ images, tokens, heads, width int }{{2, 5, 3, 4}, {1, 17, 2, 12}, {3, 50, 2, 6}, {2, 1, 1, 1}, {1, 33, 1, 48}} {
		list[fmt.Sprintf("attention of %+v", c)] = operator{
			func(s *torch.Scope, in []torch.Tensor) torch.Tensor { return s.Attention(in[0], in[1], c.heads) },
			[]leaf{drawnLeaf(rng, c.images, c.tokens, 3*c.heads*c.width), drawnLeaf(rng, c.heads, c.tokens, c.tokens)}}
	}
	return list
}

func TestTokenGradients(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		for name, o := range tokenOperators() {
			finiteDifferences(t, e, device, name, o.f, o.leaves)
		}
	})
}

// In every precision values and gradients are those in float64 to its digits. What is trained
// stays in float32.
func TestTokenPrecisions(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		for name, o := range tokenOperators() {
			s := torchtest.Scope(t, e)
			y, gradients := differentiate(t, s, device, o.f, o.leaves, torch.Float64)
			for dtype, tolerance := range map[torch.DType]float64{torch.Float32: 2e-5, torch.BFloat16: 0.03, torch.Float16: 0.004} {
				got, theirs := differentiate(t, s, device, o.f, o.leaves, dtype, torch.Float32)
				nearInAll(t, fmt.Sprintf("%s in %v", name, dtype), got, y, tolerance)
				for i := range gradients {
					nearInAll(t, fmt.Sprintf("%s in %v: gradient %d", name, dtype, i), theirs[i], gradients[i], tolerance)
				}
			}
		}
	})
}

// nearInAll wants the difference of two vectors to be short beside the second.
func nearInAll(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	away, length := 0.0, 0.0
	for i := range want {
		away += (got[i] - want[i]) * (got[i] - want[i])
		length += want[i] * want[i]
	}
	if !(math.Sqrt(away) <= tolerance*math.Sqrt(length)+1e-12) {
		t.Errorf("%s: off by %.2g of its length", what, math.Sqrt(away/length))
	}
}

// Attention is its formula, written out.
func TestAttentionMatchesFormula(t *testing.T) {
	e := torchtest.Open(t)
	const images, tokens, heads, width = 2, 7, 3, 5
	rng := rand.New(rand.NewPCG(7, 8))
	qkv, bias := drawnLeaf(rng, images, tokens, 3*heads*width), drawnLeaf(rng, heads, tokens, tokens)
	part := func(n, token, which, head, i int) float64 {
		return qkv.values[((n*tokens+token)*3+which)*heads*width+head*width+i]
	}
	var want []float64
	for n := range images {
		for i := range tokens {
			for h := range heads {
				weights, sum := make([]float64, tokens), 0.0
				for j := range tokens {
					dot := 0.0
					for c := range width {
						dot += part(n, i, 0, h, c) * part(n, j, 1, h, c)
					}
					weights[j] = math.Exp(dot/math.Sqrt(width) + bias.values[(h*tokens+i)*tokens+j])
					sum += weights[j]
				}
				for c := range width {
					y := 0.0
					for j := range tokens {
						y += weights[j] / sum * part(n, j, 2, h, c)
					}
					want = append(want, y)
				}
			}
		}
	}
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		s := torchtest.Scope(t, e)
		y, _ := differentiate(t, s, device, func(s *torch.Scope, in []torch.Tensor) torch.Tensor { return s.Attention(in[0], in[1], heads) }, []leaf{qkv, bias}, torch.Float64)
		near(t, "attention", y, want, 1e-12)
	})
}

// One thread and three give the same bits.
func TestAttentionOnThreads(t *testing.T) {
	e := torchtest.Open(t)
	before := e.Threads()
	t.Cleanup(func() { e.SetThreads(before) })
	rng := rand.New(rand.NewPCG(7, 8))
	leaves := []leaf{drawnLeaf(rng, 4, 50, 3*8*16), drawnLeaf(rng, 8, 50, 50)}
	run := func(threads int) (y []float64, gradients [][]float64) {
		e.SetThreads(threads)
		return differentiate(t, torchtest.Scope(t, e), "cpu", func(s *torch.Scope, in []torch.Tensor) torch.Tensor { return s.Attention(in[0], in[1], 8) }, leaves, torch.Float32)
	}
	y1, g1 := run(1)
	y3, g3 := run(3)
	if !slices.Equal(y1, y3) || !slices.EqualFunc(g1, g3, slices.Equal) {
		t.Error("one thread and three give other bits")
	}
}

func TestAttentionRefuses(t *testing.T) {
	e := torchtest.Open(t)
	for name, shapes := range map[string][2][]int{
		"odd width":     {{1, 4, 10}, {2, 4, 4}},
		"few heads":     {{1, 4, 12}, {1, 4, 4}},
		"other tokens":  {{1, 4, 12}, {2, 5, 5}},
		"no image":      {{0, 4, 12}, {2, 4, 4}},
		"another shape": {{4, 12}, {2, 4, 4}},
	} {
		s := e.NewScope()
		zeros := func(shape []int) torch.Tensor {
			n := 1
			for _, d := range shape {
				n *= d
			}
			return torch.FromData(s, "cpu", make([]float32, n), shape...)
		}
		s.Attention(zeros(shapes[0]), zeros(shapes[1]), 2)
		if s.Err() == nil {
			t.Errorf("%s: no error", name)
		}
		s.Close()
	}
}

func TestMaxPool(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	for _, dtype := range []torch.DType{torch.Float32, torch.BFloat16, torch.Float16} {
		x := s.To(torch.FromData(s, "cpu", []float64{1, 2, 3, -4, 5, -6, -7, -8, -9}, 1, 1, 3, 3), dtype)
		if got := fmt.Sprint(s.Floats(s.MaxPool(x, 3, 2, 1))); got != "[5 5 5 5]" {
			t.Errorf("%v: %s", dtype, got)
		}
	}
}
