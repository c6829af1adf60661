// Package vec has the arithmetic of embeddings and of the figures taken from them: norms,
// cosines, moments, ranks.
//
// Everything is summed up in float64, in the order of the elements. Products are converted
// before they are added, which keeps compilers from fusing the two. Some processors would
// fuse them and others cannot, so results have the same bits on all.
package vec

import (
	"math"
	"slices"
)

// Float is the element of a vector.
type Float interface{ float32 | float64 }

// MinNorm is the norm below which an embedding has no direction to speak of.
const MinNorm = 1e-6

// Dot is the scalar product of a with the first elements of b, which is not shorter.
func Dot[T Float](a, b []T) float64 {
	b = b[:len(a)]
	sum := 0.0
	for i, x := range a {
		sum += float64(float64(x) * float64(b[i]))
	}
	return sum
}

// Norm is the Euclidean length. It is finite if all elements are finite float32.
func Norm[T Float](v []T) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(float64(x) * float64(x))
	}
	return math.Sqrt(sum)
}

// Cosine is that of the angle between two vectors of equal length, neither of them zero.
func Cosine[T Float](a, b []T) float64 { return Dot(a, b) / (Norm(a) * Norm(b)) }

// HasDirection says whether an embedding of that norm can be compared with others: the norm
// is finite and at least [MinNorm].
func HasDirection(norm float64) bool { return norm >= MinNorm && !math.IsInf(norm, 1) }

// Unit is a copy of v scaled to length one. ok is false, and the copy not scaled, if v has no
// direction or a norm beyond float32.
func Unit(v []float32) (unit []float32, ok bool) {
	unit = slices.Clone(v)
	norm := Norm(v)
	if !HasDirection(norm) || norm > math.MaxFloat32 {
		return unit, false
	}
	for i := range unit {
		unit[i] /= float32(norm)
	}
	return unit, true
}

// NotFinite is the place of the first element that is NaN or infinite, -1 if all are finite.
func NotFinite[T Float](v []T) int {
	return slices.IndexFunc(v, func(x T) bool { return x-x != 0 })
}

// Mean is the arithmetic mean; NaN of none.
func Mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Moments are the mean and the variance of all values, not of a sample of more; NaN of none.
func Moments(values []float64) (mean, variance float64) {
	mean = Mean(values)
	for _, v := range values {
		variance += float64((v - mean) * (v - mean))
	}
	return mean, variance / float64(len(values))
}
