package synthface

import (
	"math"
	"slices"
	"testing"
)

// TestPixelsDoNotVerify holds the difficulty to its purpose: comparing pixels must
// not tell people apart at DefaultHard, and must where every picture of a
// person is the same portrait on another background.
func TestPixelsDoNotVerify(t *testing.T) {
	if got := pixelAccuracy(DefaultHard); got > 0.66 {
		t.Errorf("the cosine of raw pixels is right for %.1f %% of the pairs", 100*got)
	}
	if got := pixelAccuracy(0); got < 0.75 {
		t.Errorf("the cosine of raw pixels is right for only %.1f %% of the portraits", 100*got)
	}
}

// pixelAccuracy is the best accuracy that any threshold on the cosine of raw
// pixels has on as many pairs of one person as of two.
func pixelAccuracy(hard float64) float64 {
	const people, each = 60, 4
	g := New(13)
	var faces [people][each][]float64
	for i := range faces {
		for j := range faces[i] {
			img, _ := g.Aligned(i, j, hard)
			faces[i][j] = normalised(img.Pix)
		}
	}
	var same, different []float64
	for i := range faces {
		for j := range each {
			for k := range j {
				same = append(same, dot(faces[i][j], faces[i][k]))
				different = append(different, dot(faces[i][j], faces[(i+1+j+k)%people][k]))
			}
		}
	}
	return bestAccuracy(same, different)
}

func bestAccuracy(same, different []float64) float64 {
	slices.Sort(same)
	slices.Sort(different)
	best := 0
	for _, threshold := range slices.Concat(same, different) {
		below, _ := slices.BinarySearch(same, threshold)
		rejected, _ := slices.BinarySearch(different, threshold)
		best = max(best, len(same)-below+rejected)
	}
	return float64(best) / float64(len(same)+len(different))
}

func normalised(pix []byte) []float64 {
	v := make([]float64, len(pix))
	var sum float64
	for k, b := range pix {
		v[k] = float64(b)
		sum += v[k] * v[k]
	}
	for k := range v {
		v[k] /= math.Sqrt(sum)
	}
	return v
}

func dot(a, b []float64) (sum float64) {
	for k := range a {
		sum += a[k] * b[k]
	}
	return sum
}
