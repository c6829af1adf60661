package net

import (
	"fmt"
	"runtime"
	"testing"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// bare is a convolution of a network without its norm and activation.
type bare struct{ *layer.ConvNorm }

func (l bare) Forward(p *layer.Pass, x torch.Tensor) torch.Tensor { return l.Convolve(p, x) }

// stripped is a layer with all but its convolutions taken out.
func stripped(l layer.Layer) layer.Layer {
	switch l := l.(type) {
	case *layer.ConvNorm:
		return bare{l}
	case *layer.Sequence:
		q := &layer.Sequence{}
		for i := range l.Layers {
			q.Add(l.Names[i], stripped(l.Layers[i]))
		}
		return q
	case layer.Residual:
		return stripped(l.Body)
	}
	panic(fmt.Sprintf("a layer %T", l))
}

// BenchmarkConvolutions is the limit that a training step is measured against: the
// convolutions of MobileFaceNet forward and backward, and nothing else.
func BenchmarkConvolutions(b *testing.B) {
	e := torchtest.Open(b)
	e.SetThreads(runtime.GOMAXPROCS(0))
	for _, dtype := range []torch.DType{torch.Float32, torch.BFloat16} {
		for _, batch := range []int{32, 64} {
			b.Run(fmt.Sprintf("%v/%d", dtype, batch), func(b *testing.B) { benchmarkConvolutions(b, e, dtype, batch) })
		}
	}
}

func benchmarkConvolutions(b *testing.B, e *torch.Engine, dtype torch.DType, batch int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n, err := New("mobilefacenet", Config{})
	if err != nil {
		b.Fatal(err)
	}
	n.root = stripped(n.root)
	if err := n.Materialise(e, "cpu", 1); err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	pixels := make([]float32, batch*3*112*112)
	for i := range pixels {
		pixels[i] = float32(i%255)/127.5 - 1
	}
	step := func() {
		s := torchtest.Scope(b, e)
		defer s.Close()
		x := torch.FromData(s, "cpu", pixels, batch, 3, 112, 112)
		s.Backward(s.Mean(n.Forward(s, x, dtype, true)))
		for _, p := range n.params {
			s.ClearGrad(p.Tensor())
		}
	}
	step()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
}
