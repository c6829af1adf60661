package verification

// MaxDistance is the distance of two opposite embeddings.
const MaxDistance = 4

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

// Distance is |a/normA - b/normB|², of embeddings of equal dimension that have directions.
// The conversion of the product keeps it from being fused into the sum, which some processors
// would do and others cannot: figures have the same bits everywhere.
func Distance(a, b []float32, normA, normB float64) float64 {
	sum := 0.0
	for i := range a {
		difference := float64(a[i])/normA - float64(b[i])/normB
		sum += float64(difference * difference)
	}
	return min(sum, MaxDistance)
}
