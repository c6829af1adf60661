package student

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"facepipe/student/data"
	"facepipe/student/torch/torchtest"
)

// BenchmarkStep takes whole training steps of MobileFaceNet at full width: pixels in,
// forward, cosine loss, backward, optimizer. What its convolutions alone take is
// net.BenchmarkConvolutions.
func BenchmarkStep(b *testing.B) {
	for _, precision := range []string{"fp32", "bf16"} {
		for _, batch := range []int{32, 64} {
			b.Run(fmt.Sprintf("%s/%d", precision, batch), func(b *testing.B) { benchmarkStep(b, precision, batch) })
		}
	}
}

func benchmarkStep(b *testing.B, precision string, batch int) {
	e := torchtest.Open(b)
	e.SetThreads(runtime.GOMAXPROCS(0))
	o := DefaultOptions()
	o.Loss.Name, o.Precision = "cosine", precision
	m, err := newModel(e, o, &teachers{names: []string{"t"}, dims: []int{512}}, 0, 100)
	if err != nil {
		b.Fatal(err)
	}
	defer m.close()
	const size = 112
	rng := rand.New(rand.NewPCG(1, 2))
	in := &data.Batch{Pixels: make([]uint8, batch*size*size*3), Teacher: make([]float32, batch*512),
		Rows: make([]int64, batch), Labels: make([]int32, batch)}
	for i := range in.Pixels {
		in.Pixels[i] = uint8(rng.Uint32())
	}
	for i := range in.Teacher {
		in.Teacher[i] = float32(rng.NormFloat64())
	}
	step := func() {
		if err := m.backward(in, size, 1, &tally{}); err != nil {
			b.Fatal(err)
		}
		if _, _, err := m.move(0, 0.01); err != nil {
			b.Fatal(err)
		}
	}
	step() // fills the allocator's cache and oneDNN's
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
}
