package cache

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"facepipe/internal/half"
	"facepipe/store/internal/table"
)

// minNorm is the norm below which an embedding has no direction to speak of.
const minNorm = 1e-6

// maxNormDrift is how much rounding to fp16 may change a norm, relatively: a vector of
// which more is lost (elements so small that they vanish) is not stored.
const maxNormDrift = 0.01

// Usable says why a cache of an element type does not take an embedding, nil if it does: see
// [ShardWriter.Append].
func Usable(embedding []float32, dtype string) error {
	norm, err := usableNorm(embedding)
	if err != nil || dtype != FP16 {
		return err
	}
	widened, sum := table.HalfTable(), 0.0
	for _, x := range embedding {
		y := float64(widened[half.FromFloat(x)])
		sum += y * y
	}
	return survives(norm, sum)
}

// usableNorm is the Euclidean norm, or the reason why the embedding has no use.
func usableNorm(embedding []float32) (float32, error) {
	sum := 0.0
	for _, x := range embedding {
		// The conversion keeps the product from being fused with the sum, which some
		// processors do: the norm's bits are to be the same on all.
		sum += float64(float64(x) * float64(x))
	}
	// Squares of finite float32 do not overflow a float64.
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		i := slices.IndexFunc(embedding, func(x float32) bool { return !(math.Abs(float64(x)) <= math.MaxFloat32) })
		return 0, fmt.Errorf("element %d is %g", i, embedding[i])
	}
	norm := float32(math.Sqrt(sum))
	if norm < minNorm {
		return 0, fmt.Errorf("norm is %g", norm)
	}
	if math.IsInf(float64(norm), 0) {
		return 0, errors.New("norm is beyond float32")
	}
	return norm, nil
}

// survives says what keeps fp16 from holding an embedding of a norm, rounded to a sum of squares.
func survives(norm float32, rounded float64) error {
	rounded = math.Sqrt(rounded)
	if math.Abs(rounded-float64(norm)) > maxNormDrift*float64(norm) {
		return fmt.Errorf("norm %g becomes %g in fp16", norm, rounded)
	}
	return nil
}

// HalfCosine is the cosine between an embedding, which must not be zero, and what fp16 keeps
// of it.
func HalfCosine(embedding []float32) float64 {
	widened := table.HalfTable()
	var xx, yy, xy float64
	for _, v := range embedding {
		x, y := float64(v), float64(widened[half.FromFloat(v)])
		xx, yy, xy = xx+x*x, yy+y*y, xy+x*y
	}
	return xy / math.Sqrt(xx*yy)
}
