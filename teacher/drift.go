package teacher

import "facepipe/store"

// Drift is how far embeddings turn when they are rounded to half precision.
type Drift struct {
	// Embeddings were compared, each with what is stored of it.
	Embeddings int `json:"embeddings"`
	// MinCosine and MeanCosine are between the two.
	MinCosine  float64 `json:"min_cosine"`
	MeanCosine float64 `json:"mean_cosine"`
}

// driftEvery is how many crops there are for each that is compared.
const driftEvery = 16

// driftMeter compares some of the embeddings of a run.
type driftMeter struct {
	half bool
	n    int
	low  float64
	sum  float64
}

func newDrift(dtype string) *driftMeter { return &driftMeter{half: dtype == store.FP16, low: 1} }

// see looks at the embedding of crop i of the run.
func (d *driftMeter) see(i int, embedding []float32) {
	if !d.half || i%driftEvery != 0 || faultOf(embedding, store.FP16) != none {
		return
	}
	cosine := store.HalfCosine(embedding)
	d.n++
	d.low = min(d.low, cosine)
	d.sum += cosine
}

// result is nil if nothing was compared.
func (d *driftMeter) result() *Drift {
	if d.n == 0 {
		return nil
	}
	return &Drift{Embeddings: d.n, MinCosine: d.low, MeanCosine: d.sum / float64(d.n)}
}
