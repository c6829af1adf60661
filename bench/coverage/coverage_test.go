package main

import (
	"math"
	"testing"
)

// In a few simulations intervals cover about what they should, and those that ignore identities less.
// The program itself draws more.
func TestIntervalsCover(t *testing.T) {
	const simulations = 120
	d := design{"few people", 60, 8, 0, 0.05, 0.1, 0.05}
	found, err := cover(d, simulations, 200)
	if err != nil {
		t.Fatal(err)
	}
	// Three standard errors around 95 %.
	slack := 3 * math.Sqrt(0.95*0.05/simulations)
	for k, figure := range figures {
		with, without := found[0][k], found[1][k]
		if with.share() < 0.95-slack-0.01 {
			t.Errorf("%s: the truth is in %.1f %% of the intervals", figure, 100*with.share())
		}
		if without.share() > 0.9 || without.share() > with.share()-0.05 || without.width >= with.width {
			t.Errorf("%s: intervals that ignore identities hold the truth in %.1f %%, the others in %.1f %%", figure, 100*without.share(), 100*with.share())
		}
	}
}

// Two models that are equally good are rarely told apart.
func TestEqualModelsAreRarelyToldApart(t *testing.T) {
	const simulations = 60
	counts, err := alarms(design{"few people", 60, 3, 0, 0.05, 0.1, 0.05}, simulations, 200)
	if err != nil {
		t.Fatal(err)
	}
	for k, n := range counts[:3] { // McNemar's test takes comparisons for independent
		if n > 8 { // 3 are expected; more than 8 have a chance of 0.2 %
			t.Errorf("%s: %d of %d", compared[k], n, simulations)
		}
	}
}

// The truth is what a large set says.
func TestTruth(t *testing.T) {
	for _, d := range designs {
		d.people, d.sames, d.differents = 300_000, 1, 600_000
		s := d.draw(1, 0, false)
		roc := s.ROC()
		at, _ := roc.AtFAR(d.target)
		share := func(sorted []float64) (n float64) {
			for _, distance := range sorted {
				if distance < 0 {
					n++
				}
			}
			return n / float64(len(sorted))
		}
		got := []float64{share(s.Sorted(false)), 1 - share(s.Sorted(true)), roc.AUC(), 1 - at.TAR, at.Threshold}
		for k, want := range d.truth() {
			if math.Abs(got[k]-want) > 0.01 {
				t.Errorf("%s: %s is %v, of many people %v", d.name, figures[k], want, got[k])
			}
		}
	}
}
