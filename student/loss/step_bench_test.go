package loss

import (
	"fmt"
	"testing"

	"facepipe/student/torch/torchtest"
)

// A step of each loss on 128 embeddings of 512 numbers, with its gradient, once its banks are
// full: what it adds to a training step. Take -benchtime 20x or so.
func BenchmarkStep(b *testing.B) {
	trials := []Trial{{Loss: "rkd", Batch: 512}}
	for _, name := range Names() {
		trials = append(trials, Trial{Loss: name})
	}
	for _, t := range trials {
		b.Run(fmt.Sprintf("%s/batch=%d", t.Loss, t.withDefaults().Batch), func(b *testing.B) {
			median, err := t.Run(torchtest.Open(b), b.N)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(median.Microseconds())/1000, "ms/step")
		})
	}
}
