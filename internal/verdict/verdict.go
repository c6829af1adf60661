// Package verdict says whether a cache can hold an embedding, and what is wrong with it if not.
package verdict

import (
	"fmt"
	"math"
	"slices"

	"facepipe/internal/half"
	"facepipe/internal/vec"
)

// Fault says in a word what keeps a cache from holding an embedding.
type Fault string

// The faults there are. Only fp16 knows [TooLarge] and [TooSmall].
const (
	None      Fault = ""
	NotFinite Fault = "NaN or infinity"
	TooLarge  Fault = "values beyond fp16"
	TooSmall  Fault = "values too small for fp16"
	Zero      Fault = "zeros"
)

// Verdict is what is said of an embedding.
type Verdict struct {
	// Norm is the Euclidean length, 0 if there is a fault.
	Norm  float32
	Fault Fault
	// Reason is the fault in numbers, as manifests record it; "" without one.
	Reason string
}

// MaxNormDrift is how much rounding to fp16 may change a norm, relatively. Of a vector that
// loses more, so many elements vanish that it is not stored.
const MaxNormDrift = 0.01

const (
	// maxHalf is the largest fp16.
	maxHalf = 65504
	// safeNorm is a norm from which on, up to maxHalf, fp16 keeps enough whatever the elements
	// are: rounding takes at most 2^-25, or 2^-12 of its value, from each of up to 2^16.
	safeNorm = 1e-3
)

// Of judges an embedding of up to 2^16 elements for a cache of fp16, if half, or of fp32.
func Of(embedding []float32, half bool) Verdict {
	exact := vec.Norm(embedding)
	if math.IsNaN(exact) || math.IsInf(exact, 0) {
		i := vec.NotFinite(embedding)
		return Verdict{Fault: NotFinite, Reason: fmt.Sprintf("element %d is %g", i, embedding[i])}
	}
	norm := float32(exact)
	switch {
	case norm < vec.MinNorm:
		return Verdict{Fault: Zero, Reason: fmt.Sprintf("norm is %g", norm)}
	case math.IsInf(float64(norm), 0) && half:
		return Verdict{Fault: TooLarge, Reason: "norm is beyond float32"}
	case math.IsInf(float64(norm), 0):
		return Verdict{Fault: NotFinite, Reason: "norm is beyond float32"}
	case !half || norm >= safeNorm && norm <= maxHalf:
		return Verdict{Norm: norm}
	}
	rounded := roundedNorm(embedding)
	if math.Abs(rounded-float64(norm)) <= MaxNormDrift*float64(norm) {
		return Verdict{Norm: norm}
	}
	lost := Verdict{Fault: TooSmall, Reason: fmt.Sprintf("norm %g becomes %g in fp16", norm, rounded)}
	if max(slices.Max(embedding), -slices.Min(embedding)) > maxHalf {
		lost.Fault = TooLarge
	}
	return lost
}

// roundedNorm is the norm of what fp16 keeps.
func roundedNorm(embedding []float32) float64 {
	rounded := make([]float32, len(embedding))
	for i, x := range embedding {
		rounded[i] = half.ToFloat(half.FromFloat(x))
	}
	return vec.Norm(rounded)
}

// HalfCosine is the cosine between an embedding, which must not be zero, and what fp16 keeps
// of it.
func HalfCosine(embedding []float32) float64 {
	var xx, yy, xy float64
	for _, v := range embedding {
		x, y := float64(v), float64(half.ToFloat(half.FromFloat(v)))
		xx, yy, xy = xx+x*x, yy+y*y, xy+x*y
	}
	return xy / math.Sqrt(xx*yy)
}
