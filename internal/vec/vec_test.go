package vec_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"facepipe/internal/vec"
)

// random is a vector of n numbers.
func random(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

func TestNorms(t *testing.T) {
	if got := vec.Norm([]float32{3, 4}); got != 5 {
		t.Errorf("norm %g, want 5", got)
	}
	if got := vec.Norm[float64](nil); got != 0 {
		t.Errorf("norm of nothing %g", got)
	}
	if got := vec.Norm([]float32{math.MaxFloat32, math.MaxFloat32}); math.IsInf(got, 0) {
		t.Error("the norm of finite elements is infinite")
	}
	if got := vec.Dot([]float64{1, 2}, []float64{3, -1, 9}); got != 1 {
		t.Errorf("scalar product %g, want 1", got)
	}
}

// A cosine does not depend on lengths, and is the scalar product of the unit vectors.
func TestCosineAndUnit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		a, b := random(rng, 64), random(rng, 64)
		scaled := make([]float32, len(a))
		for i, x := range a {
			scaled[i] = 8 * x
		}
		if vec.Cosine(a, b) != vec.Cosine(scaled, b) || vec.Cosine(a, b) != vec.Cosine(b, a) {
			t.Fatal("a cosine depends on the order or the lengths")
		}
		u, okU := vec.Unit(a)
		v, okV := vec.Unit(b)
		if !okU || !okV || math.Abs(vec.Norm(u)-1) > 1e-6 || math.Abs(vec.Dot(u, v)-vec.Cosine(a, b)) > 1e-6 {
			t.Fatalf("unit vectors of norms %g, %g", vec.Norm(u), vec.Norm(v))
		}
	}
}

func TestWithoutDirection(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		v         []float32
		direction bool
		unit      bool
		notFinite int
	}{
		"ordinary":       {[]float32{3, 4}, true, true, -1},
		"small":          {[]float32{0, 2e-6}, true, true, -1},
		"too small":      {[]float32{0, 9e-7}, false, false, -1},
		"zeros":          {[]float32{0, 0}, false, false, -1},
		"NaN":            {[]float32{1, nan}, false, false, 1},
		"infinite":       {[]float32{-inf, nan}, false, false, 0},
		"beyond float32": {[]float32{math.MaxFloat32, math.MaxFloat32}, true, false, -1},
	} {
		_, unit := vec.Unit(c.v)
		if got := vec.HasDirection(vec.Norm(c.v)); got != c.direction || unit != c.unit || vec.NotFinite(c.v) != c.notFinite {
			t.Errorf("%s: direction %t, unit %t, not finite %d", name, got, unit, vec.NotFinite(c.v))
		}
	}
}

func TestMoments(t *testing.T) {
	for _, c := range []struct {
		values         []float64
		mean, variance float64
	}{
		{[]float64{7}, 7, 0},
		{[]float64{1, 3}, 2, 1},
		{[]float64{-1, 0, 0, 1}, 0, 0.5},
	} {
		if mean, variance := vec.Moments(c.values); mean != c.mean || variance != c.variance || vec.Mean(c.values) != mean {
			t.Errorf("%v: %g, %g", c.values, mean, variance)
		}
	}
	if mean, variance := vec.Moments(nil); !math.IsNaN(mean) || !math.IsNaN(variance) {
		t.Errorf("of nothing: %g, %g", mean, variance)
	}
}
