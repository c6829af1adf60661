package loss

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// vector is one of float64 in the engine.
func vector(s *torch.Scope, v []float64) torch.Tensor { return torch.FromData(s, "cpu", v, len(v)) }

func TestWeights(t *testing.T) {
	e := torchtest.Open(t)
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
		s := torchtest.Scope(t, e)
		l, d := newILED(c.config), vector(s, c.d)
		l.observe(s, d)
		got := torch.ToData[float64](s, l.weights(s, d, []int64{0, 1, 2, 3}[:len(c.d)], c.step))
		if len(got) != len(c.want) {
			t.Fatalf("%s: %v, %v", name, got, s.Err())
		}
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-6 {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
				break
			}
		}
	}
}

func TestHard(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	for mode, want := range map[string]float64{"threshold": 0.25, "softmax": 0.25, "topk": 0.5} {
		if got := s.Scalar(newILED(iledSettings{Mode: mode}).hard(s, vector(s, []float64{1, 0, 0, 1.5}))); got != want {
			t.Errorf("%s: %g of the samples are hard, want %g", mode, got, want)
		}
	}
}

func TestSoftmaxWeightsSumToN(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	l := newILED(iledSettings{Mode: "softmax", Temperature: 0.1})
	w := torch.ToData[float64](s, l.weights(s, vector(s, []float64{0.1, 0.2, 1.9}), []int64{0, 1, 2}, 0))
	if sum := w[0] + w[1] + w[2]; math.Abs(sum-3) > 1e-12 || w[0] >= w[1] || w[1] >= w[2] {
		t.Errorf("weights %v", w)
	}
}

func TestRunningStatistics(t *testing.T) {
	c := iledDefaults
	c.Rho = 0.5
	s := torchtest.Scope(t, torchtest.Open(t))
	l := newILED(c)
	l.observe(s, vector(s, []float64{1, 3}))
	if got := l.numbers(s); !slices.Equal(got, []float64{1, 2, 5}) {
		t.Errorf("the first batch starts the statistics: got %v", got)
	}
	l.observe(s, vector(s, []float64{0, 0}))
	if got := l.numbers(s); !slices.Equal(got, []float64{1, 1, 2.5}) {
		t.Errorf("the second moves them by rho: got %v", got)
	}
}

// The ring holds the last distances, whatever batches they came in, and goes on from a checkpoint,
// also from the middle.
func TestRecentDistances(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	c := iledDefaults
	c.Trim = 0.5
	l := newILED(c)
	var all []float64
	for i, n := range []int{3, 4000, 200, 5000, 7, 4096} {
		batch := make([]float64, n)
		for k := range batch {
			batch[k] = float64(len(all) + k)
		}
		all = append(all, batch...)
		l.observe(s, vector(s, batch))
		st := State{}
		l.state(s, st)
		recent, next := st["iled.recent"].Float64, int(st["iled.statistics"].Float64[3])
		want := all[max(0, len(all)-trimWindow):]
		if got := slices.Concat(recent[next:], recent[:next]); !slices.Equal(got, want) {
			t.Fatalf("after batch %d: %d distances from %g on, want %d from %g on", i, len(got), got[0], len(want), want[0])
		}
		if q := s.Scalar(l.recent.quantile(s, c.Trim)); q != want[len(want)/2] {
			t.Errorf("after batch %d the quantile is %g, want %g", i, q, want[len(want)/2])
		}
		l = newILED(c)
		if err := l.restore(s, vector(s, batch), st); err != nil || s.Err() != nil {
			t.Fatal(err, s.Err())
		}
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
func everything(filled int, rs, rt []float32) offered {
	var c offered
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

// The engine mines the very pairs that plain Go does, for all samples of a batch, and of an entry
// that it is offered twice the one that comes first.
func TestMiningInTheEngine(t *testing.T) {
	e := torchtest.Open(t)
	rng := rand.New(rand.NewPCG(2, 1))
	mined := 0
	for trial := range 200 {
		s := torchtest.Scope(t, e)
		c := rpsdSettings{Bank: 40, Positives: rng.IntN(5), Negatives: rng.IntN(20), Delta: rng.Float64() * 0.3,
			MaxAge: rng.IntN(2) * 5, IgnoreAbove: float64(rng.IntN(2)) * 0.6}
		const n = 7
		l := &RPSD{c: c, bank: newBank(40, 4, false)}
		l.bank.filled = 1 + rng.IntN(40)
		var p pair
		for range n {
			p.samples, p.labels = append(p.samples, rng.Int64N(20)), append(p.labels, int32(rng.IntN(5)-1))
		}
		p.student = vector(s, make([]float64, n))
		labels := make([]int64, 40)
		for j := range 40 {
			l.bank.sample[j], l.bank.label[j], l.bank.step[j] = rng.Int64N(20), int32(rng.IntN(5)-1), rng.Int64N(10)
			labels[j] = int64(l.bank.label[j])
		}
		l.bank.columns = columns{intsLike(s, p.student, l.bank.sample), intsLike(s, p.student, labels), intsLike(s, p.student, l.bank.step)}
		rows := make([]offered, n)
		var entry []int64
		var rs, rt []float32
		for i := range rows {
			values := func() []float32 {
				v := make([]float32, 40)
				for j := range v {
					v[j] = float32(rng.IntN(9))/4 - 1 // coarse, so that ties are common
				}
				return v
			}
			rows[i] = everything(l.bank.filled, values(), values())
			entry, rs, rt = append(entry, rows[i].entry...), append(rs, rows[i].rs...), append(rt, rows[i].rt...)
		}
		width := len(entry) / n
		got := torch.ToData[float32](s, s.To(l.mine(s, columnsOf(s, p), 10, candidates{torch.FromData(s, "cpu", entry, n, width),
			torch.FromData(s, "cpu", rs, n, width), torch.FromData(s, "cpu", rt, n, width)}), torch.Float32))
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		for i, row := range rows {
			want := make([]float32, width)
			for _, k := range l.mineRow(p.samples[i], p.labels[i], row, 10) {
				want[k] = 1
				mined++
			}
			if !slices.Equal(got[i*width:(i+1)*width], want) {
				t.Fatalf("trial %d, sample %d: got %v, want %v of %+v", trial, i, got[i*width:(i+1)*width], want, row)
			}
		}
	}
	if mined < 1000 {
		t.Errorf("only %d pairs", mined)
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
