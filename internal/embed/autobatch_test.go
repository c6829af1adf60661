package embed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"facepipe/internal/onnx"
)

// expectSame embeds crops with two models that must give the same.
func expectSame(t *testing.T, m, other *Model) {
	t.Helper()
	const n = 5
	pixels, got, want := crops(n), make([]float32, n*4), make([]float32, n*4)
	if err := m.Embed(n, pixels, false, got); err != nil {
		t.Fatal(err)
	}
	if err := other.Embed(n, pixels, false, want); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("value %d is %g at batch %d and %g at %d", i, got[i], m.Batch(), want[i], other.Batch())
		}
	}
}

// Whatever is fastest here, the model runs at it, and gives what it gives at any other.
func TestRuns(t *testing.T) {
	m := open(t, tiny(t, nil), Options{Batch: 1})
	for _, c := range []struct {
		bound Bound
		want  int
	}{{Bound{}, 1}, {Bound{Least: 4}, 4}, {Bound{Most: 7, For: time.Hour}, 7}, {Bound{Least: 5, Most: 2, For: time.Hour}, 5}} {
		runs, err := m.Runs(3, c.bound)
		if err != nil || len(runs) != c.want || !slices.IsSorted(runs) || runs[0] <= 0 || m.Batch() != 3 {
			t.Errorf("%+v: %v, %v, batch %d", c.bound, runs, err, m.Batch())
		}
	}
	var hundred Runs
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	if p95, ok := hundred.P95(); p95 != 95 || !ok || hundred.Median() != 51 {
		t.Errorf("p95 %d, median %d", p95, hundred.Median())
	}
	if _, ok := hundred[:19].P95(); ok {
		t.Error("19 runs tell a p95")
	}
	if p95, ok := hundred[:20].P95(); p95 != 19 || !ok {
		t.Errorf("p95 of 20: %d", p95)
	}
}

func TestAutoBatch(t *testing.T) {
	m := open(t, tiny(t, nil), Options{Batch: AutoBatch})
	if b := m.Batch(); b < 1 || b > maxAutoBatch || b&(b-1) != 0 {
		t.Errorf("batch %d", b)
	}
	if notes := m.Notes(); len(notes) != 1 || !strings.HasPrefix(notes[0], fmt.Sprintf("a batch of %d is taken; crops/s measured: ", m.Batch())) {
		t.Errorf("notes %q", notes)
	}
	other := open(t, tiny(t, nil), Options{Batch: 3})
	if notes := other.Notes(); len(notes) > 0 {
		t.Errorf("notes of a given batch: %q", notes)
	}
	expectSame(t, m, other)
}

// For batches of n the model wants (n-1)(n-2)·2^50+1 numbers: more than there are addresses
// from 3 on, which the runtime says by an error.
func TestAutoBatchBeyondMemory(t *testing.T) {
	hungry := tiny(t, func(m *onnx.Model) {
		g := &m.Graph
		for name, v := range map[string]int64{"0": 0, "1": 1, "2": 2, "2^50": 1 << 50} {
			g.Initializers = append(g.Initializers, onnx.IntTensor(name, []int64{v}, 1))
		}
		g.Nodes[2].Outputs[0] = "means"
		for _, n := range [][]string{{"Shape", "dims", "input"}, {"Gather", "n", "dims", "0"}, {"Sub", "n-1", "n", "1"}, {"Sub", "n-2", "n", "2"},
			{"Mul", "product", "n-1", "n-2"}, {"Mul", "more", "product", "2^50"}, {"Add", "much", "more", "1"},
			{"ConstantOfShape", "zeros", "much"}, {"ReduceMax", "zero", "zeros"}, {"Add", "embedding", "means", "zero"}} {
			node := onnx.Node{Name: n[1], OpType: n[0], Inputs: n[2:], Outputs: n[1:2]}
			if n[0] == "ReduceMax" {
				node.Attributes = []onnx.Attribute{onnx.Ints("axes", 0)}
			}
			g.Nodes = append(g.Nodes, node)
		}
	})
	m := open(t, hungry, Options{Batch: 1})
	if rate, err := m.medianRate(4); err == nil {
		t.Errorf("%g crops/s at 4", rate)
	}
	m = open(t, hungry, Options{Batch: AutoBatch})
	if m.Batch() > 2 {
		t.Errorf("batch %d", m.Batch())
	}
	expectSame(t, m, open(t, tiny(t, nil), Options{Batch: 3}))
}

func TestChooseBatch(t *testing.T) {
	failed := errors.New("no memory")
	for name, c := range map[string]struct {
		rates []float64 // at 1, 2, 4 ...; 0 fails
		best  int
		tried int
	}{
		"ever faster":                     {[]float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}, 512, 10},
		"a peak":                          {[]float64{100, 150, 180, 170, 160}, 4, 5},
		"a peak, then much slower":        {[]float64{100, 150, 180, 140}, 4, 4},
		"all the same":                    {[]float64{100, 101, 99}, 1, 3},
		"hardly faster":                   {[]float64{100, 150, 154, 152}, 2, 4},
		"a little faster again and again": {[]float64{100, 102, 104, 106, 108, 109, 110}, 16, 7},
		"one that stumbles":               {[]float64{100, 150, 140, 190, 191, 192}, 8, 6},
		"memory ends":                     {[]float64{100, 150, 200, 0}, 4, 4},
		"nothing runs":                    {[]float64{0}, 0, 1},
	} {
		tried := 0
		best, report, err := chooseBatch(func(size int) (float64, error) {
			if tried == len(c.rates) || size != 1<<tried {
				t.Fatalf("%s: size %d is tried", name, size)
			}
			tried++
			if c.rates[tried-1] == 0 {
				return 0, failed
			}
			return c.rates[tried-1], nil
		})
		if best != c.best || tried != c.tried || (err != nil) != (best == 0) {
			t.Errorf("%s: %d after %d sizes, %v", name, best, tried, err)
		}
		if fails := c.rates[len(c.rates)-1] == 0; best > 0 && strings.Contains(report, "fails") != fails {
			t.Errorf("%s: %s", name, report)
		}
	}
}
