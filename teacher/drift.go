package teacher

import (
	"facepipe/internal/verdict"
	"facepipe/store/cache"
)

// driftEvery says that one in so many crops of a run is compared.
const driftEvery = 16

// driftMeter compares some of a run's embeddings with what half precision keeps of them.
type driftMeter struct {
	half  bool
	every int
	n     int
	low   float64
	sum   float64
}

// newDrift compares the embedding of one in every so many crops, if the cache is fp16.
func newDrift(dtype string, every int) *driftMeter {
	return &driftMeter{half: dtype == cache.FP16, every: every, low: 1}
}

// see looks at the embedding of crop i of the run, unless it has a fault.
func (d *driftMeter) see(i int, embedding []float32, f verdict.Fault) {
	if !d.half || i%d.every != 0 || f != verdict.None {
		return
	}
	cosine := verdict.HalfCosine(embedding)
	d.n++
	d.low = min(d.low, cosine)
	d.sum += cosine
}

// result is nil if nothing was compared.
func (d *driftMeter) result() *cache.Drift {
	if d.n == 0 {
		return nil
	}
	return &cache.Drift{Embeddings: d.n, MinCosine: d.low, MeanCosine: d.sum / float64(d.n)}
}
