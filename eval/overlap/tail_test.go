package overlap

import (
	"math"
	"math/rand/v2"
	"testing"

	"facepipe/internal/nearest"
)

// matrix is some vectors.
type matrix [][]float32

func (m matrix) Len() int { return len(m) }
func (m matrix) Dim() int { return len(m[0]) }
func (m matrix) Row(i int, dst []float32) (bool, error) {
	copy(dst, m[i])
	return true, nil
}

var _ nearest.Vectors = matrix{}

// strangers are n people in random directions, of groups whose members are alike.
func strangers(rng *rand.Rand, n, groups int, alike float64) matrix {
	const dim = 64
	centres := make([][dim]float64, groups)
	for g := range centres {
		for k := range dim {
			centres[g][k] = rng.NormFloat64()
		}
	}
	m := make(matrix, n)
	for i := range m {
		m[i] = make([]float32, dim)
		for k := range dim {
			m[i][k] = float32(rng.NormFloat64() + alike*centres[i%groups][k])
		}
	}
	return m
}

// Between sets that have nobody in common, a threshold gives about as many hits as expected: over
// many pairs of sets less than one each, also where people of a group are alike.
func TestExpectedFalseHits(t *testing.T) {
	for _, alike := range []float64{0, 0.35} {
		const sets, n = 30, 250
		hits := 0
		rng := rand.New(rand.NewPCG(5, uint64(100*alike)))
		for range sets {
			all := strangers(rng, 2*n, 4, alike)
			a, b := all[:n], all[n:]
			person := func(i int) int32 { return int32(i) }
			tail, err := different(t.Context(), "test", a, person, 1)
			if err != nil || tail.Pairs != n*(n-1)/2 || !tail.fit(Expected/(n*n)) {
				t.Fatalf("%+v, %v", tail, err)
			}
			for _, x := range a {
				for _, y := range b {
					if cosine(x, y) >= tail.Threshold {
						hits++
					}
				}
			}
		}
		if mean := float64(hits) / sets; mean > 1 || mean < 0.1 {
			t.Errorf("likeness %g: %.2f false hits a set, want about %.1f", alike, mean, Expected)
		}
	}
}

func cosine(x, y []float32) float64 {
	var xy, xx, yy float64
	for k := range x {
		xy += float64(x[k]) * float64(y[k])
		xx += float64(x[k]) * float64(x[k])
		yy += float64(y[k]) * float64(y[k])
	}
	return xy / math.Sqrt(xx*yy)
}

// A normal distribution gives its own mean and deviation back, and people under two names do not
// move the threshold: they are counted.
func TestTailOfNormal(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	tail := &Tail{cosines: &histogram{}}
	add := func(x float64) {
		tail.cosines.counts[bin(float32(x))]++
		tail.cosines.n++
	}
	const n = 2000000
	for range n {
		add(0.02 + 0.06*rng.NormFloat64())
	}
	tail.Pairs = n
	if !tail.fit(1e-9) || math.Abs(tail.Mean-0.02) > 0.02 || math.Abs(tail.Deviation-0.06) > 0.004 || tail.Residual > 0.01 {
		t.Errorf("%+v", tail)
	}
	pure := tail.Threshold
	if want := 0.02 + 0.06*normalAbove(1e-9); math.Abs(pure-want) > 0.015 {
		t.Errorf("threshold %v, want %v", pure, want)
	}
	for range 5 {
		add(0.8)
	}
	tail.Pairs += 5
	tail.fit(1e-9)
	if tail.conclude(tail.Threshold); math.Abs(tail.Threshold-pure) > 0.01 || tail.Beyond != 5 || tail.BeyondExpected > 0.01 {
		t.Errorf("with people under two names: threshold %v, was %v; %d beyond, %v expected", tail.Threshold, pure, tail.Beyond, tail.BeyondExpected)
	}
}

func TestTailDegenerate(t *testing.T) {
	same := &Tail{Pairs: 5000, cosines: &histogram{}}
	same.cosines.counts[bin(1)], same.cosines.n = 5000, 5000
	if same.fit(1e-6) && same.Deviation > 1e-4 {
		t.Errorf("pairs that are all alike: %+v", same)
	}
	if few := (&Tail{Pairs: fewestPairs - 1, cosines: &histogram{n: fewestPairs - 1}}); few.fit(1e-6) {
		t.Error("too few pairs are fitted")
	}
}

func TestNormalAbove(t *testing.T) {
	for p, want := range map[float64]float64{0.5: 0, 0.025: 1.959964, 1e-3: 3.090232, 1e-9: 5.997807} {
		if got := normalAbove(p); math.Abs(got-want) > 1e-6 {
			t.Errorf("normalAbove(%g) = %v, want %v", p, got, want)
		}
	}
}

// Of a histogram the cosine above which n values are, and how many are above a cosine.
func TestHistogram(t *testing.T) {
	h := &histogram{}
	for _, x := range []float32{-1, 0, 0.5, 0.5, 0.9, 1} {
		h.counts[bin(x)]++
		h.n++
	}
	if got := h.from(0.5); got != 4 {
		t.Errorf("%d at 0.5 or above", got)
	}
	if got := h.above(2); math.Abs(got-0.9) > 2e-4 {
		t.Errorf("2 are above %v", got)
	}
	if got := h.above(100); got != -1 {
		t.Errorf("100 are above %v", got)
	}
}
