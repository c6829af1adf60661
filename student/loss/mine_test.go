package loss

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestWeights(t *testing.T) {
	config := func(f func(*iledSettings)) iledSettings {
		c := iledDefaults
		c.Warmup = 0
		f(&c)
		return c
	}
	d := []float64{0, 0.1, 0.2, 0.7}
	sigma := math.Sqrt(0.54/4 - 0.0625)
	for name, c := range map[string]struct {
		config iledSettings
		d      []float64
		step   int
		want   []float64
	}{
		"threshold":        {config(func(*iledSettings) {}), d, 0, []float64{1, 1, 1, 1 + 0.45/sigma}},
		"threshold capped": {config(func(c *iledSettings) { c.Cap = 0.5 }), d, 0, []float64{1, 1, 1, 1.5}},
		"threshold shift":  {config(func(c *iledSettings) { c.Kappa = 5 }), d, 0, []float64{1, 1, 1, 1}},
		"warm-up":          {config(func(c *iledSettings) { c.Warmup = 10 }), d, 9, []float64{1, 1, 1, 1}},
		"all equal":        {config(func(*iledSettings) {}), []float64{0.5, 0.5}, 0, []float64{1, 1}},
		"one sample":       {config(func(c *iledSettings) { c.Mode = "softmax" }), []float64{0.5}, 0, []float64{1}},
		"topk":             {config(func(c *iledSettings) { c.Mode = "topk" }), d, 0, []float64{0, 0, 1, 1}},
		"topk annealing":   {config(func(c *iledSettings) { c.Mode = "topk"; c.Warmup = 10 }), d, 2, []float64{1, 1, 1, 1}},
		"topk halfway":     {config(func(c *iledSettings) { c.Mode = "topk"; c.Warmup = 10 }), d, 5, []float64{0, 1, 1, 1}},
		"topk at least one": {config(func(c *iledSettings) { c.Mode = "topk"; c.MinRatio = 0.01 }), d, 0,
			[]float64{0, 0, 0, 1}},
		"topk tie": {config(func(c *iledSettings) { c.Mode = "topk" }), []float64{0.3, 0.3, 0.3, 0.3}, 0,
			[]float64{1, 1, 0, 0}},
		"trim": {config(func(c *iledSettings) { c.Trim = 0.5; c.Cap = 1e-9 }), d, 0, []float64{1, 1, 1, 0}},
	} {
		l := newILED(c.config)
		l.observe(c.d)
		got := l.weights(c.d, []int64{0, 1, 2, 3}[:len(c.d)], c.step)
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-6 {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
				break
			}
		}
	}
}

func TestHard(t *testing.T) {
	for mode, want := range map[string]float64{"threshold": 0.25, "softmax": 0.25, "topk": 0.5} {
		if got := newILED(iledSettings{Mode: mode}).hard([]float64{1, 0, 0, 1.5}); got != want {
			t.Errorf("%s: %g of the samples are hard, want %g", mode, got, want)
		}
	}
}

func TestSoftmaxWeightsSumToN(t *testing.T) {
	w := make([]float64, 3)
	softmax(w, []float64{0.1, 0.2, 1.9}, 0.1)
	if sum := w[0] + w[1] + w[2]; math.Abs(sum-3) > 1e-12 || w[0] >= w[1] || w[1] >= w[2] {
		t.Errorf("weights %v", w)
	}
}

func TestRunningStatistics(t *testing.T) {
	c := iledDefaults
	c.Rho = 0.5
	l := newILED(c)
	l.observe([]float64{1, 3})
	if l.mean != 2 || l.square != 5 {
		t.Errorf("the first batch starts the statistics: got %g, %g", l.mean, l.square)
	}
	l.observe([]float64{0, 0})
	if l.mean != 1 || l.square != 2.5 {
		t.Errorf("the second moves them by rho: got %g, %g", l.mean, l.square)
	}
}

// mineByHand is the definition of mining, by sorting everything.
func mineByHand(l *RPSD, sample int64, label int32, rs, rt []float32, step int) []int32 {
	b := l.bank
	var same, other []int32
	for j := range b.filled {
		switch {
		case b.sample[j] == sample, l.c.MaxAge > 0 && step-int(b.step[j]) > l.c.MaxAge:
		case label >= 0 && b.label[j] == label:
			same = append(same, int32(j))
		case l.c.IgnoreAbove > 0 && label >= 0 && b.label[j] >= 0 && float64(rt[j]) > l.c.IgnoreAbove:
		default:
			other = append(other, int32(j))
		}
	}
	top := func(list []int32, k int, score func(j int32) float32) []int32 {
		sorted := slices.Clone(list)
		slices.SortStableFunc(sorted, func(a, b int32) int {
			if score(a) > score(b) {
				return -1
			}
			if score(a) < score(b) {
				return 1
			}
			return 0
		})
		return sorted[:min(k, len(sorted))]
	}
	mined := top(same, l.c.Positives, func(j int32) float32 { return -rs[j] })
	hard := top(other, (l.c.Negatives+1)/2, func(j int32) float32 { return rt[j] })
	rest := slices.DeleteFunc(slices.Clone(other), func(j int32) bool { return slices.Contains(hard, j) })
	mined = slices.Concat(mined, hard, top(rest, l.c.Negatives/2, func(j int32) float32 { return abs(rs[j] - rt[j]) }))
	mined = slices.DeleteFunc(mined, func(j int32) bool { return float64(abs(rs[j]-rt[j])) < l.c.Delta })
	slices.Sort(mined)
	return mined
}

// everything is all entries as candidates, some of them twice and in a random order.
func everything(filled int, rs, rt []float32) candidates {
	var c candidates
	rng := rand.New(rand.NewPCG(3, 4))
	for _, j := range append(rng.Perm(filled), rng.Perm(filled)[:filled/4]...) {
		c.entry, c.rs, c.rt = append(c.entry, int64(j)), append(c.rs, rs[j]), append(c.rt, rt[j])
	}
	return c
}

func TestMiningMatchesDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for trial := range 300 {
		c := rpsdSettings{Bank: 40, Positives: rng.IntN(5), Negatives: rng.IntN(20), Delta: rng.Float64() * 0.3,
			MaxAge: rng.IntN(2) * 5, IgnoreAbove: float64(rng.IntN(2)) * 0.6}
		l := &RPSD{c: c, bank: newBank(40, 4, false)}
		l.bank.filled = rng.IntN(41)
		rs, rt := make([]float32, 40), make([]float32, 40)
		for j := range 40 {
			l.bank.sample[j], l.bank.label[j], l.bank.step[j] = rng.Int64N(20), int32(rng.IntN(5)-1), rng.Int64N(10)
			rs[j], rt[j] = float32(rng.IntN(9))/4-1, float32(rng.IntN(9))/4-1 // coarse, so that ties are common
		}
		sample, label := rng.Int64N(20), int32(rng.IntN(5)-1)
		var got []int32
		all := everything(l.bank.filled, rs, rt)
		for _, k := range l.mineRow(sample, label, all, 10) {
			got = append(got, int32(all.entry[k]))
		}
		slices.Sort(got)
		want := mineByHand(l, sample, label, rs, rt, 10)
		if len(got) != len(want) || (len(got) > 0 && !reflect.DeepEqual(got, want)) {
			t.Fatalf("trial %d: got %v, want %v", trial, got, want)
		}
	}
}

func BenchmarkMineRow(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	l := &RPSD{c: rpsdDefaults, bank: newBank(16384, 1, false)}
	l.bank.filled = 16384
	rs, rt := make([]float32, 16384), make([]float32, 16384)
	for j := range rs {
		l.bank.sample[j], l.bank.label[j] = int64(j)+1, int32(j%1000)
		rs[j], rt[j] = rng.Float32(), rng.Float32()
	}
	all := everything(len(rs), rs, rt)
	for b.Loop() {
		l.mineRow(0, 7, all, 0)
	}
}
