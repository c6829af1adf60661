package teacher

import (
	"cmp"
	"errors"
	"fmt"

	"facepipe/internal/verdict"
	"facepipe/store/cache"
)

// ErrEmbeddings marks a teacher whose embeddings have no use. Nothing of the shard at hand
// was stored.
var ErrEmbeddings = errors.New("unusable embeddings")

// RejectRateError says that a cache is complete, but that more of its embeddings than
// allowed have no use.
type RejectRateError struct {
	Teacher string
	// Invalid of the cache's Embeddings have no use; Max is the allowed fraction.
	Invalid, Embeddings int
	Max                 float64
}

// Error gives the numbers and a remedy.
func (e *RejectRateError) Error() string {
	return fmt.Sprintf("teacher %s gives no usable embedding (NaN, infinite or zero) for %d of %d, more than the allowed share of %g; training leaves them out: look at those crops and at --preprocess",
		e.Teacher, e.Invalid, e.Embeddings, e.Max)
}

// tooManyInvalid is a [*RejectRateError] if more of a cache's embeddings than allowed have no
// use.
func tooManyInvalid(cache *cache.Cache, allowed float64) error {
	info := cache.Info()
	all := cache.Rows() * len(flips(info.Flip))
	if float64(cache.Invalid()) <= allowed*float64(all) {
		return nil
	}
	return &RejectRateError{Teacher: info.Name, Invalid: cache.Invalid(), Embeddings: all, Max: allowed}
}

const (
	// maxInvalid is the fraction of embeddings without use that crops may be at fault for.
	// Above it the fault is the model's or its preprocessing's.
	maxInvalid = 0.5
	// minVerdict is how many embeddings that takes. Of fewer, most may be of bad crops.
	minVerdict = 64
)

// remedy is what a user may do about a model's fault.
func (j *judge) remedy() string {
	if j.first == verdict.TooLarge || j.first == verdict.TooSmall {
		return "give --dtype fp32"
	}
	return cmp.Or(j.batchRemedy, "give the --preprocess that it was trained with")
}

// judge counts embeddings and stops a run that cannot come to any good.
type judge struct {
	model       string
	batchRemedy string // of the model, if it has one
	embeddings  int    // that there will be
	invalid     int
	first       verdict.Fault
}

// begin prepares for a shard of so many embeddings. A shard that is too small for a verdict
// of its own is judged together with those before it. The few embeddings that no other cache
// has are not taken for the whole shard.
func (j *judge) begin(embeddings int) {
	if j.embeddings >= minVerdict {
		j.embeddings, j.invalid, j.first = 0, 0, verdict.None
	}
	j.embeddings += embeddings
}

// see takes the faults of one crop's embeddings. [ErrEmbeddings] once too many have one.
func (j *judge) see(faults ...verdict.Fault) error {
	for _, f := range faults {
		j.count(f)
	}
	if j.embeddings < minVerdict || float64(j.invalid) <= maxInvalid*float64(j.embeddings) {
		return nil
	}
	return j.condemn()
}

func (j *judge) count(f verdict.Fault) {
	if f != verdict.None {
		j.invalid++
		j.first = cmp.Or(j.first, f)
	}
}

// condemn says what is wrong with the model.
func (j *judge) condemn() error {
	return fmt.Errorf("%w: the model %s yields %s for %d of %d; %s", ErrEmbeddings, j.model, j.first, j.invalid, j.embeddings, j.remedy())
}
