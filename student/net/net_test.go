package net

import (
	"math"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

func TestParameterCounts(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   int
	}{
		{Config{}, 1200512},                    // the paper's 1.2 M (its 0.99 M with a 128-d embedding and no 512-d layer)
		{Config{Dim: 128}, 1003136},            // 384·(512 weights + 2 of the norm) fewer
		{Config{Dim: 128, Width: 0.25}, 91232}, // what small tests train
	} {
		n, err := New("mobilefacenet", c.config)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Parameters(); got != c.want {
			t.Errorf("%+v: %d parameters, want %d", c.config, got, c.want)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	n, err := New("mobilefacenet", Config{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range n.Params() {
		if seen[p.Name] {
			t.Errorf("two parameters are called %s", p.Name)
		}
		seen[p.Name] = true
	}
	if !seen["stage2.block6.project.norm.running_var"] {
		t.Error("the names are not what checkpoints of version 1 hold")
	}
}

func TestRefusesUnknownAndAbsurd(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
	}{{"resnet9000", Config{}}, {"mobilefacenet", Config{Dim: 4}}, {"mobilefacenet", Config{Width: 100}}, {"mobilefacenet", Config{Width: math.NaN()}}} {
		if _, err := New(c.name, c.config); err == nil {
			t.Errorf("%s %+v: no error", c.name, c.config)
		}
	}
}

// The same seed gives the same embeddings; a row's embedding in inference does not
// depend on its batch.
func TestForward(t *testing.T) {
	e := torchtest.Open(t)
	embed := func(seed uint64, rows int) []float32 {
		s := torchtest.Scope(t, e)
		n, err := New("mobilefacenet", Config{Dim: 32, Width: 0.125})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Materialise(e, "cpu", seed); err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		pixels := make([]float32, rows*3*112*112)
		for i := range pixels {
			pixels[i] = float32(math.Sin(float64(i % (3 * 112 * 112))))
		}
		y := n.Forward(s, torch.FromData(s, "cpu", pixels, rows, 3, 112, 112), torch.Float32, false)
		return s.Floats(y)
	}
	one, again, other, two := embed(1, 1), embed(1, 1), embed(2, 1), embed(1, 2)
	if len(one) != 32 || len(two) != 64 {
		t.Fatalf("%d and %d values for 1 and 2 rows of 32", len(one), len(two))
	}
	same := true
	for i := range one {
		if one[i] != again[i] {
			t.Fatalf("value %d differs between two networks of one seed", i)
		}
		same = same && one[i] == other[i]
		slack := 1e-5 * max(1, math.Abs(float64(one[i])))
		if math.Abs(float64(two[i]-two[32+i])) > slack || math.Abs(float64(two[i]-one[i])) > slack {
			t.Fatalf("value %d depends on the batch: %g, %g, %g", i, one[i], two[i], two[32+i])
		}
	}
	if same {
		t.Error("two seeds gave one network")
	}
}
