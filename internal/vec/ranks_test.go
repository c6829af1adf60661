package vec_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/internal/vec"
)

func TestRanks(t *testing.T) {
	for _, c := range []struct{ values, want []float64 }{
		{nil, []float64{}},
		{[]float64{3, 1, 2}, []float64{3, 1, 2}},
		{[]float64{5, 5, 1, 5}, []float64{3, 3, 1, 3}},
		{[]float64{2, 2, 1, 1}, []float64{3.5, 3.5, 1.5, 1.5}},
	} {
		if got := vec.Ranks(c.values); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}

func TestSpearman(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5}
	for _, c := range []struct {
		y    []float64
		want float64
	}{
		{[]float64{10, 100, 101, 1e6, 1e9}, 1},
		{[]float64{5, 4, 3, 2, -1}, -1},
		// By hand: squared differences of ranks 1+1+1+1+0, 1 - 6*4/(5*24).
		{[]float64{2, 1, 4, 3, 5}, 0.8},
	} {
		if got := vec.Spearman(x, c.y); !(math.Abs(got-c.want) <= 1e-12) {
			t.Errorf("%v: %v, want %v", c.y, got, c.want)
		}
	}
	for _, y := range [][]float64{{7, 7, 7, 7, 7}, nil} {
		if got := vec.Spearman(x[:len(y)], y); !math.IsNaN(got) {
			t.Errorf("%v: %v, want none", y, got)
		}
	}
}

func TestAUC(t *testing.T) {
	for _, c := range []struct {
		high, low []float64
		want      float64
	}{
		{[]float64{3, 4}, []float64{1, 2}, 1},
		{[]float64{1, 2}, []float64{3, 4}, 0},
		{[]float64{1, 1}, []float64{1}, 0.5},
		{[]float64{1, 3}, []float64{2, 2, 0}, (1 + 3) / 6.0},
		{[]float64{3, 4}, []float64{2, 1}, 1},
		{[]float64{1}, []float64{2, 3}, 0},
		{[]float64{2}, []float64{2, 1, 3, 2}, 0.5},
		{[]float64{1, 3}, []float64{2}, 0.5},
	} {
		if got := vec.AUC(c.high, c.low); got != c.want {
			t.Errorf("%v over %v: %v, want %v", c.high, c.low, got, c.want)
		}
	}
	if !math.IsNaN(vec.AUC(nil, []float64{1})) || !math.IsNaN(vec.AUC([]float64{1}, nil)) {
		t.Error("an area with nothing on a side")
	}
	// By definition, over all pairs.
	rng := rand.New(rand.NewPCG(1, 1))
	high, low := make([]float64, 40), make([]float64, 30)
	for i := range high {
		high[i] = float64(rng.IntN(20) + 4)
	}
	for i := range low {
		low[i] = float64(rng.IntN(20))
	}
	wins := 0.0
	for _, h := range high {
		for _, l := range low {
			if h > l {
				wins++
			} else if h == l {
				wins += 0.5
			}
		}
	}
	if got := vec.AUC(high, low); got != wins/1200 {
		t.Errorf("%v, want %v", got, wins/1200)
	}
}
