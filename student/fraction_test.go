package student

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A run on a fraction has so many crops and steps, notes it, has class centres of these crops
// alone, and goes on with no other fraction.
func TestFraction(t *testing.T) {
	o := options(t, fixture(t))
	o.Fraction, o.Epochs, o.Loss.Name = 0.5, 1, "cosine"
	s, err := Distill(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal([]byte(read(t, o, "run.json")), &m); err != nil {
		t.Fatal(err)
	}
	if m.Crops != fixtureCrops/2 || m.Options.Fraction != 0.5 || m.Exclude != nil || s.Steps != fixtureCrops/2/o.Batch {
		t.Errorf("%d crops, fraction %g, excluded %v, %d steps", m.Crops, m.Options.Fraction, m.Exclude, s.Steps)
	}
	if !strings.Contains(read(t, o, "distill.yaml"), "fraction: 0.5") {
		t.Error("distill.yaml does not have the fraction")
	}
	o.Resume = true
	if _, err := Distill(t.Context(), o); err != nil {
		t.Error(err)
	}
	for _, other := range []float64{1, 0.3} {
		o.Fraction = other
		if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "fraction") {
			t.Errorf("going on with fraction %g: %v", other, err)
		}
	}
	for _, none := range []float64{0, -1, 1.5} {
		o.Fraction = none
		if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) {
			t.Errorf("fraction %g: %v", none, err)
		}
	}
}

// The whole is what it was before there was a choice, and all seeds have the same crops.
func TestFractionIsTheSameForAllSeeds(t *testing.T) {
	o := options(t, fixture(t))
	every := make([]int, fixtureCrops)
	for i := range every {
		every[i] = i
	}
	held := func(fraction float64, seed uint64, loss string) []bool {
		o := o
		o.Fraction, o.Seed, o.Loss.Name, o.Out = fraction, seed, loss, filepath.Join(t.TempDir(), "run")
		a, err := Foresee(t.Context(), o, every...)
		if err != nil {
			t.Fatal(err)
		}
		if has := strings.Contains(string(a.Manifest), `"fraction"`); has != (fraction < 1) {
			t.Errorf("fraction %g is recorded: %v", fraction, has)
		}
		return a.Held
	}
	if slices.Contains(held(1, 1, "cosine"), false) {
		t.Error("the whole lacks crops")
	}
	if !slices.Equal(held(0.4, 1, "cosine"), held(0.4, 7, "unified")) {
		t.Error("another seed has other crops")
	}
}
