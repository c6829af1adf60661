package student

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"syscall"
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
			b.Run(fmt.Sprintf("%s/%d", precision, batch), func(b *testing.B) { benchmarkStep(b, "{name: cosine}", precision, batch, 0) })
		}
	}
}

// BenchmarkClassifier takes such steps with the losses on labels of many identities, a tenth
// of which a step samples, beside those of cosine, and says how much memory was taken at the
// most, the beginning with it.
func BenchmarkClassifier(b *testing.B) {
	for _, name := range []string{"cosine", "softmax", "arcface", "adaface", "magface"} {
		for _, classes := range []int{100_000, 360_000} {
			config := fmt.Sprintf("{name: %s, sample: 0.1}", name)
			b.Run(fmt.Sprintf("%s/%d", name, classes), func(b *testing.B) { benchmarkStep(b, config, "bf16", 128, classes) })
		}
	}
}

func benchmarkStep(b *testing.B, config, precision string, batch, classes int) {
	e := torchtest.Open(b)
	e.SetThreads(runtime.GOMAXPROCS(0))
	o := DefaultOptions()
	tune(&o.Loss, config)
	o.Precision = precision
	m, err := newModel(e, o, &teachers{names: []string{"t"}, dims: []int{512}}, classes, 100)
	if err != nil {
		b.Fatal(err)
	}
	defer m.close()
	const size = 112
	rng := rand.New(rand.NewPCG(1, 2))
	in := &data.Batch{Pixels: make([]uint8, batch*size*size*3), Teachers: [][]float32{make([]float32, batch*512)},
		Rows: make([]int64, batch), Labels: make([]int32, batch)}
	for i := range in.Pixels {
		in.Pixels[i] = uint8(rng.Uint32())
	}
	for i := range in.Teachers[0] {
		in.Teachers[0][i] = float32(rng.NormFloat64())
	}
	step := func() {
		for i := range in.Labels {
			in.Labels[i] = rng.Int32N(int32(max(classes, 1)))
		}
		var sum tally
		if err := m.pass(in, 1, &sum); err != nil {
			b.Fatal(err)
		}
		if _, err := m.take(&sum, 0.01); err != nil {
			b.Fatal(err)
		}
		in.Step++
	}
	debug.FreeOSMemory()
	step() // fills the allocator's cache and oneDNN's
	begun, _ := spent(b)
	for b.Loop() {
		step()
	}
	ended, most := spent(b)
	b.ReportMetric((ended-begun)/float64(b.N), "processor-s/op")
	b.ReportMetric(most, "peak-MiB")
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
}

// spent is the time that the processors have spent on this process, and the most memory in MiB
// that it has had: run benchmarks one by one to see that of each.
func spent(b *testing.B) (seconds, most float64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9, float64(u.Maxrss) / 1024
}
