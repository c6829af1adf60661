package verification

import "math"

// MaxDistance is the distance of two opposite embeddings.
const MaxDistance = 4

// MinNorm is the length below which an embedding has no direction to speak of.
const MinNorm = 1e-6

// Trial is one comparison of two images.
type Trial struct {
	// Distance is the squared distance of the unit embeddings, 0 to [MaxDistance].
	Distance float64
	// Same says whether the images show one person.
	Same bool
	// First and Second number the identities of the two images. Trials with an identity
	// in common depend on one another.
	First, Second int32
	// Fold is the part of a cross-validation that the trial belongs to, from 0.
	Fold int32
}

// Cosine is the cosine of two embeddings with a squared distance d after both were
// scaled to length one.
func Cosine(d float64) float64 { return 1 - d/2 }

// The conversions of products below keep compilers from fusing them into the sums, which
// some processors would and others cannot: figures have the same bits everywhere.

// Norm is the Euclidean length of an embedding.
func Norm(e []float32) float64 {
	sum := 0.0
	for _, v := range e {
		sum += float64(float64(v) * float64(v))
	}
	return math.Sqrt(sum)
}

// Usable says whether an embedding of that length has a direction: it is finite and at
// least [MinNorm].
func Usable(norm float64) bool { return norm >= MinNorm && !math.IsInf(norm, 1) }

// Distance is |a/normA - b/normB|², of embeddings of equal dimension and [Usable]
// lengths.
func Distance(a, b []float32, normA, normB float64) float64 {
	sum := 0.0
	for i := range a {
		difference := float64(a[i])/normA - float64(b[i])/normB
		sum += float64(difference * difference)
	}
	return min(sum, MaxDistance)
}
