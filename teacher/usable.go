package teacher

import (
	"errors"
	"fmt"
	"math"

	"facepipe/store/cache"
)

// ErrEmbeddings marks a teacher whose embeddings cannot be used at all. Nothing of
// the shard at hand was stored.
var ErrEmbeddings = errors.New("unusable embeddings")

// RejectRateError says that a cache is complete, but that the teacher gave no use for
// more of its embeddings than allowed.
type RejectRateError struct {
	Teacher string
	// Invalid of the cache's Embeddings have no use; Max is the allowed share.
	Invalid, Embeddings int
	Max                 float64
}

// Error gives the numbers and a remedy.
func (e *RejectRateError) Error() string {
	return fmt.Sprintf("teacher %s gives no usable embedding (NaN, infinite or zero) for %d of %d, more than the allowed share of %g; training leaves them out: look at those crops and at --preprocess",
		e.Teacher, e.Invalid, e.Embeddings, e.Max)
}

// tooManyInvalid is the [*RejectRateError] of a cache, nil if no more of what it holds is
// without use than allowed.
func tooManyInvalid(kept *cache.Cache, allowed float64) error {
	info := kept.Info()
	all := kept.Rows() * len(flips(info.Flip))
	if float64(kept.Invalid()) <= allowed*float64(all) {
		return nil
	}
	return &RejectRateError{Teacher: info.Name, Invalid: kept.Invalid(), Embeddings: all, Max: allowed}
}

const (
	// maxInvalid is the share of embeddings without use above which it is not the crops
	// that are at fault but the model or its preprocessing.
	maxInvalid = 0.5
	// minVerdict is how many embeddings that takes: of fewer most may well be bad crops.
	minVerdict = 64
)

const (
	// minNorm is the norm below which an embedding has no direction to speak of.
	minNorm = 1e-6
	// maxHalf is the largest fp16.
	maxHalf = 65504
	// safeNorm is one of which fp16 keeps enough, whatever the elements are: of those up to
	// maxHalf it loses 2^-25 each, or 2^-12 of their value.
	safeNorm = 1e-3
)

// fault says in a word what keeps a cache of an element type from holding an embedding.
type fault string

const (
	none      fault = ""
	notFinite fault = "NaN or infinity"
	tooLarge  fault = "values beyond fp16"
	tooSmall  fault = "values too small for fp16"
	zero      fault = "zeros"
)

// remedy is what a user may do about it.
func (f fault) remedy() string {
	if f == tooLarge || f == tooSmall {
		return "give --dtype fp32"
	}
	return "give the --preprocess that it was trained with"
}

// faultOf looks an embedding over. The store decides; of all but the odd ones it need not be
// asked.
func faultOf(embedding []float32, dtype string) fault {
	sum, largest := 0.0, 0.0
	for _, v := range embedding {
		x := math.Abs(float64(v))
		sum += x * x
		largest = max(largest, x) // NaN stays NaN
	}
	norm := math.Sqrt(sum)
	if largest <= maxHalf && norm >= safeNorm || cache.Usable(embedding, dtype) == nil {
		return none
	}
	half := dtype == cache.FP16
	switch {
	case half && largest > maxHalf && largest <= math.MaxFloat32:
		return tooLarge
	case half && norm >= minNorm && norm < safeNorm:
		return tooSmall
	case norm < minNorm:
		return zero
	}
	return notFinite
}

// firstFault is that of the first of a crop's embeddings that has one.
func firstFault(embeddings [][]float32, dtype string) fault {
	for _, e := range embeddings {
		if f := faultOf(e, dtype); f != none {
			return f
		}
	}
	return none
}

// judge counts embeddings and stops a run that cannot come to any good.
type judge struct {
	model, dtype string
	embeddings   int // that there will be
	invalid      int
	first        fault
}

// begin prepares for a shard of so many embeddings. One that is too small for a verdict of
// its own is judged together with those before it. The few embeddings that no other cache
// has are not held to be the whole shard.
func (j *judge) begin(embeddings int) {
	if j.embeddings >= minVerdict {
		j.embeddings, j.invalid, j.first = 0, 0, none
	}
	j.embeddings += embeddings
}

// see looks at the embeddings of one crop. [ErrEmbeddings] once too many had no use.
func (j *judge) see(rows [][]float32) error {
	for _, row := range rows {
		j.count(row)
	}
	if j.embeddings < minVerdict || float64(j.invalid) <= maxInvalid*float64(j.embeddings) {
		return nil
	}
	return j.verdict()
}

func (j *judge) count(row []float32) {
	if f := faultOf(row, j.dtype); f != none {
		j.invalid++
		if j.first == none {
			j.first = f
		}
	}
}

func (j *judge) verdict() error {
	return fmt.Errorf("%w: the model %s yields %s for %d of %d; %s", ErrEmbeddings, j.model, j.first, j.invalid, j.embeddings, j.first.remedy())
}
