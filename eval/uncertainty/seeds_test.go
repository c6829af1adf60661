package uncertainty

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"facepipe/eval/verification"
)

func TestSignFlip(t *testing.T) {
	for _, c := range []struct {
		deltas []float64
		want   float64
	}{
		{[]float64{1}, 1},
		{[]float64{0.1, 0.2, 0.3}, 0.25},
		{[]float64{-0.1, -0.2, -0.3}, 0.25},
		{[]float64{0.3, 0.3, 0.3, 0.3, 0.3}, 0.0625},
		{[]float64{0.1, 0.2, 0.4, 0.3, 0.7, 0.11}, 2. / 64},
		{[]float64{1, -1}, 1},
		{[]float64{0, 0, 0}, 1},
		// Sums of ±1 ±2 ±3 of at least 4: 6 and 4, with either sign.
		{[]float64{-1, 2, 3}, 0.5},
	} {
		if got := SignFlip(c.deltas); got != c.want {
			t.Errorf("%v: %v, want %v", c.deltas, got, c.want)
		}
	}
	many := make([]float64, 70)
	for i := range many {
		many[i] = float64(i%3) - 0.6 // 0.4 on average, with a deviation of 0.1 of the mean
	}
	if got := SignFlip(many); !(got > 0 && got < 0.01) || got != SignFlip(many) {
		t.Errorf("of 70: %v", got)
	}
	for i := range many {
		many[i] = float64(i%2)*2 - 1 // 0 on average
	}
	if got := SignFlip(many); got != 1 {
		t.Errorf("of 70 around 0: %v", got)
	}
}

func TestCompareValues(t *testing.T) {
	d, err := CompareValues([]float64{1, 2, 3}, []float64{2, 3, 5})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(d.Delta.Mean-4./3) > 1e-15 || math.Abs(*d.Delta.Std-math.Sqrt(1./3)) > 1e-15 || *d.A.Std != 1 || d.P != 0.25 || d.LeastP != 0.25 {
		t.Errorf("%+v", d)
	}
	if d.Floor != "3 seeds: cannot be significant at 5 %" || math.Abs(*d.Detectable-2.8/3) > 1e-12 {
		t.Errorf("%q, %v", d.Floor, *d.Detectable)
	}
	for n, want := range map[int]string{1: "1 seed: cannot be significant at 5 %", 5: "5 seeds: cannot be significant at 5 %", 6: ""} {
		d, err := CompareValues(make([]float64, n), make([]float64, n))
		if err != nil || d.Floor != want || d.P != 1 || (d.Detectable == nil) != (n == 1) {
			t.Errorf("%d seeds: %+v, %v", n, d, err)
		}
		if _, err := json.Marshal(d); err != nil {
			t.Error(err)
		}
	}
	for name, values := range map[string][2][]float64{
		"none": {}, "of other seeds": {{1}, {1, 2}}, "NaN": {{1, math.NaN()}, {1, 2}}, "infinite": {{1, 2}, {1, math.Inf(1)}},
	} {
		if _, err := CompareValues(values[0], values[1]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Seeds and identities both widen the interval of the mean difference.
func TestCompareSeeds(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	base := draw(rng, 200, 4, 1000, 5, 0)
	noisy := func(gain float64) *verification.Scores {
		return moved(base, func(same bool, d float64) float64 {
			if same {
				d -= gain
			}
			return min(max(0, d+0.02*rng.NormFloat64()), verification.MaxDistance)
		})
	}
	var a, alike, apart []*verification.Scores
	for _, gain := range []float64{0.1, 0.1, 0.1, 0.1} {
		a, alike = append(a, noisy(0)), append(alike, noisy(gain))
	}
	for _, gain := range []float64{0, 0.05, 0.15, 0.2} {
		apart = append(apart, noisy(gain))
	}
	o := Options{Targets: []float64{0.01}, Replicates: 200}
	width := func(b []*verification.Scores) float64 {
		c, err := CompareSeeds(a, b, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(c); err != nil {
			t.Fatal(err)
		}
		for _, d := range append(c.FNMR, c.Accuracy, c.AUC, c.EER) {
			if !d.Interval.Holds(d.Delta.Mean) || len(d.Delta.Values) != 4 || d.P < d.LeastP {
				t.Errorf("%+v", d)
			}
		}
		for i := range a {
			one, err := Compare(a[i], b[i], o)
			if err != nil {
				t.Fatal(err)
			}
			if one.AUC.Delta != c.AUC.Delta.Values[i] || one.FNMR[0].Delta != c.FNMR[0].Delta.Values[i] {
				t.Errorf("seed %d: %v, compared alone %v", i, c.AUC.Delta.Values[i], one.AUC.Delta)
			}
		}
		return c.AUC.Interval.High - c.AUC.Interval.Low
	}
	if narrow, wide := width(alike), width(apart); wide < 1.4*narrow {
		t.Errorf("seeds that agree: %v wide, seeds that do not: %v", narrow, wide)
	}
	// One seed's interval is that of the identities alone.
	c, err := CompareSeeds(a[:1], alike[:1], o)
	if err != nil {
		t.Fatal(err)
	}
	one, _ := Compare(a[0], alike[0], o)
	if *c.AUC.Interval != *one.AUC.Interval || c.AUC.Floor == "" {
		t.Errorf("one seed: %+v, compared alone %+v", c.AUC, one.AUC)
	}
	if _, err := CompareSeeds(a, alike[:2], o); err == nil {
		t.Error("recipes of other seeds are compared")
	}
	if _, err := CompareSeeds(nil, nil, o); err == nil {
		t.Error("nothing is compared")
	}
}
