package layer

import (
	"math"
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// Of a map of 2×2 and one other token: offsets of rows, then of columns, and the first entry
// for every pair with the other token.
func TestRelativePositions(t *testing.T) {
	l := Attention{Channels: 8, Heads: 2, Side: 2, Extra: 1}
	want := []int64{
		0, 0, 0, 0, 0,
		0, 4, 3, 1, 0,
		0, 5, 4, 2, 1,
		0, 7, 6, 4, 3,
		0, 8, 7, 5, 4,
	}
	if got := l.index(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for side, entries := range map[int]int{7: 170, 4: 50} {
		var table *Param
		l := Attention{Channels: 16, Heads: 8, Side: side, Extra: 1}
		l.Register("", func(p *Param) {
			if p.Name == "table" {
				table = p
			}
		})
		if !slices.Equal(table.Shape, []int{8, entries}) {
			t.Errorf("a side of %d has a table of %v", side, table.Shape)
		}
		if last := slices.Max(l.index()); last != int64(entries-2) {
			t.Errorf("a side of %d: the last entry of a pair is %d", side, last)
		}
	}
}

// dropped is what a DropPath with a body that does nothing makes of ones, a value a crop.
func dropped(t *testing.T, name string, rate float64, p Pass, dtype torch.DType) []float32 {
	t.Helper()
	s := torchtest.Scope(t, torchtest.Open(t))
	l := &DropPath{Body: &Sequence{}, Rate: rate}
	l.Register(name, func(*Param) {})
	p.Scope, p.DType = s, dtype
	ones := make([]float32, len(p.Chance.Crops)*2)
	for i := range ones {
		ones[i] = 1
	}
	y := s.Floats(l.Forward(&p, s.To(torch.FromData(s, "cpu", ones, len(ones)/2, 2, 1), dtype)))
	var v []float32
	for i := 0; i < len(y); i += 2 {
		if y[i] != y[i+1] {
			t.Errorf("crop %d is dropped in part", i/2)
		}
		v = append(v, y[i])
	}
	return v
}

// What is dropped depends on the seed, the step, the crop and the layer, and on nothing else;
// as many are dropped as asked for, and the mean stays.
func TestDropPath(t *testing.T) {
	const n, rate = 4000, 0.25
	crops := make([]int64, n)
	for i := range crops {
		crops[i] = int64(i)
	}
	pass := func(seed uint64, step int, crops []int64) Pass {
		return Pass{Training: true, Chance: &Chance{Seed: seed, Step: step, Crops: crops}}
	}
	one := dropped(t, "a", rate, pass(1, 2, crops), torch.Float32)
	gone := 0
	for i, v := range one {
		switch {
		case v == 0:
			gone++
		case math.Abs(float64(v)-1/(1-rate)) > 1e-6:
			t.Fatalf("crop %d becomes %g", i, v)
		}
	}
	if share := float64(gone) / n; math.Abs(share-rate) > 4*math.Sqrt(rate*(1-rate)/n) {
		t.Errorf("%g of the crops are dropped, want %g", share, rate)
	}
	if !slices.Equal(one, dropped(t, "a", rate, pass(1, 2, crops), torch.Float32)) {
		t.Error("the same step drops others the second time")
	}
	if half := dropped(t, "a", rate, pass(1, 2, crops[n/2:]), torch.BFloat16); !slices.EqualFunc(half, one[n/2:], func(a, b float32) bool { return (a == 0) == (b == 0) }) {
		t.Error("half of the batch drops others")
	}
	for what, other := range map[string][]float32{
		"seed": dropped(t, "a", rate, pass(2, 2, crops), torch.Float32), "step": dropped(t, "a", rate, pass(1, 3, crops), torch.Float32),
		"layer": dropped(t, "b", rate, pass(1, 2, crops), torch.Float32),
	} {
		both := 0
		for i := range one {
			if one[i] == 0 && other[i] == 0 {
				both++
			}
		}
		if share := float64(both) / n; math.Abs(share-rate*rate) > 4*math.Sqrt(rate*rate/n) {
			t.Errorf("%g are dropped by one %s and another, want %g", share, what, rate*rate)
		}
	}
	p := pass(1, 2, crops)
	p.Training = false
	if slices.Contains(dropped(t, "a", rate, p, torch.Float32), 0) || slices.Contains(dropped(t, "a", 0, pass(1, 2, crops), torch.Float32), 0) {
		t.Error("something is dropped outside of training, or at a rate of 0")
	}
}
