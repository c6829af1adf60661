package teacher

import (
	"facepipe/store/cache"
)

// driftEvery is how many crops of a run there are for each that is compared.
const driftEvery = 16

// driftMeter compares some of a run's embeddings with what half precision leaves of them.
type driftMeter struct {
	half  bool
	every int
	n     int
	low   float64
	sum   float64
}

// newDrift compares the embedding of one of every so many crops, if the cache is fp16.
func newDrift(dtype string, every int) *driftMeter {
	return &driftMeter{half: dtype == cache.FP16, every: every, low: 1}
}

// see looks at the embedding of crop i of the run.
func (d *driftMeter) see(i int, embedding []float32) {
	if !d.half || i%d.every != 0 || faultOf(embedding, cache.FP16) != none {
		return
	}
	cosine := cache.HalfCosine(embedding)
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
