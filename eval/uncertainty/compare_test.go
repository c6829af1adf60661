package uncertainty

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/verification"
)

// moved are the trials of s with other distances.
func moved(s *verification.Scores, move func(same bool, d float64) float64) *verification.Scores {
	other := verification.NewScores(s.Same(), s.Different(), s.Folds())
	for _, kind := range []bool{false, true} {
		c := s.Column(kind)
		for i, d := range c.Distances {
			trial := verification.Trial{Distance: move(kind, d), Same: kind, First: c.First[i], Second: c.Second[i]}
			if c.Fold != nil {
				trial.Fold = c.Fold[i]
			}
			other.Add(trial)
		}
	}
	return other
}

func TestMcNemar(t *testing.T) {
	for _, c := range []struct {
		b, c int
		want float64
	}{
		{0, 0, 1}, {1, 0, 1}, {0, 5, 0.0625}, {5, 0, 0.0625}, {1, 9, 22. / 1024}, {4, 4, 1},
		{10, 25, 0.01667384780012071}, // by whole numbers
		{900, 1000, 0.02310884510890107},
	} {
		got := McNemar(c.b, c.c)
		if !(math.Abs(got-c.want) <= 1e-12) {
			t.Errorf("%d and %d: %v, want %v", c.b, c.c, got, c.want)
		}
	}
	if got := McNemar(1_000_000, 1_000_000); got != 1 {
		t.Errorf("an even split of millions: %v", got)
	}
	if got := McNemar(1_000_000, 1_100_000); !(got >= 0 && got < 1e-100) {
		t.Errorf("an uneven split of millions: %v", got)
	}
}

func TestHolm(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005})
	want := []float64{0.03, 0.06, 0.06, 0.02}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-15 {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	if got := Holm([]float64{0.6, 0.9}); !slices.Equal(got, []float64{1, 1}) {
		t.Errorf("%v, want no more than 1", got)
	}
	if len(Holm(nil)) != 0 {
		t.Error("values of nothing")
	}
}

// A model that is better everywhere is found better by every figure, and the other way round worse.
func TestCompare(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 8))
	a := draw(rng, 200, 3, 1500, 10, 0)
	b := moved(a, func(same bool, d float64) float64 {
		if same {
			return max(0, d-0.15)
		}
		return d
	})
	o := Options{Targets: []float64{0.01, 0.1, 1e-6}, Replicates: 300}
	c, err := Compare(a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Compare(b, a, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.FNMR) != 2 || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "needs 1000000") {
		t.Errorf("%d targets, notes %v", len(c.FNMR), c.Notes)
	}
	x, y := append(c.FNMR, c.Accuracy, c.AUC, c.EER), append(back.FNMR, back.Accuracy, back.AUC, back.EER)
	for i := range x {
		d, r := x[i], y[i]
		if better, interval := d.Better(); better <= 0 || interval.Low <= 0 || !d.Distinguishable() || *d.P > 0.05 {
			t.Errorf("figure %d: %v, p %v", i, d, *d.P)
		}
		if d.Delta != -r.Delta || d.A != r.B || math.Abs(d.Interval.Low+r.Interval.High) > 1e-12 || *d.P != *r.P {
			t.Errorf("figure %d: %v, and back %v", i, d, r)
		}
		if !strings.Contains(d.String(), " points better (") || strings.Replace(d.String(), "better", "worse", 1) != r.String() {
			t.Errorf("%q, and back %q", d, r)
		}
	}
	sa, _ := Summarize(a, o)
	sb, _ := Summarize(b, o)
	if c.Accuracy.A != sa.Accuracy.Value || c.Accuracy.B != sb.Accuracy.Value || c.FNMR[0].A != sa.OperatingPoints[0].FNMR.Value || c.AUC.B != sb.AUC.Value {
		t.Error("a comparison has other figures than summaries")
	}
	// Errors of A at the targets that B does not make are more than the other way round.
	d := c.FNMR[0].Decisions
	wrong := func(s *verification.Scores, t float64) (n int) {
		r := s.Sorted(true)
		at, _ := slices.BinarySearch(r, t)
		diff := s.Sorted(false)
		f, _ := slices.BinarySearch(diff, t)
		return len(r) - at + f
	}
	if d.OnlyB-d.OnlyA != wrong(a, d.ThresholdA)-wrong(b, d.ThresholdB) || d.McNemar > 1e-4 || d.ThresholdA != sa.OperatingPoints[0].Threshold.Value {
		t.Errorf("%+v, wrong are %d and %d", d, wrong(a, d.ThresholdA), wrong(b, d.ThresholdB))
	}
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
}

// The differences of a comparison are those of its models' replicates, one by one: the same people are
// kept. So the interval is much narrower than those of the models.
func TestComparisonsArePaired(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 9))
	a := draw(rng, 200, 4, 2000, 0, 0)
	b := moved(a, func(same bool, d float64) float64 { return d + 0.02*rng.NormFloat64() })
	c, err := Compare(a, b, Options{Replicates: 300})
	if err != nil {
		t.Fatal(err)
	}
	sum, _ := Summarize(a, Options{Replicates: 300})
	if paired, single := c.AUC.Interval.High-c.AUC.Interval.Low, sum.AUC.Interval.High-sum.AUC.Interval.Low; paired > single/3 {
		t.Errorf("the interval of the difference is %v wide, a model's %v", paired, single)
	}
}

func TestOtherTrialsAreNotCompared(t *testing.T) {
	a := draw(rand.New(rand.NewPCG(5, 9)), 20, 2, 100, 2, 0)
	for name, b := range map[string]*verification.Scores{
		"fewer":          kept(a, func(id int32) bool { return id != 3 }),
		"other people":   draw(rand.New(rand.NewPCG(5, 10)), 20, 2, 100, 2, 0),
		"without folds":  draw(rand.New(rand.NewPCG(5, 9)), 20, 2, 100, 0, 0),
		"no same person": verification.NewScores(0, 0, 2),
	} {
		if _, err := Compare(a, b, Options{}); !errors.Is(err, ErrOtherTrials) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := CompareSeeds([]*verification.Scores{a, a}, []*verification.Scores{a, b}, Options{}); !errors.Is(err, ErrOtherTrials) {
			t.Errorf("%s, over seeds: %v", name, err)
		}
	}
}

func TestDifferenceInWords(t *testing.T) {
	for _, c := range []struct {
		d    Difference
		want string
	}{
		{Difference{Delta: 0.0018, Interval: &Interval{Low: 0.0002, High: 0.0034}}, "0.18 points better (0.02 to 0.34)"},
		{Difference{Delta: -0.0018, Interval: &Interval{Low: -0.0034, High: -0.0002}}, "0.18 points worse (0.02 to 0.34)"},
		{Difference{Delta: -0.0018, Interval: &Interval{Low: -0.0034, High: -0.0002}, LessIsBetter: true}, "0.18 points better (0.02 to 0.34)"},
		{Difference{Delta: 0.0008, Interval: &Interval{Low: -0.0004, High: 0.002}}, "not distinguishable: 0.08 points better (-0.04 to 0.20)"},
		{Difference{Delta: 0, Interval: &Interval{Low: 0, High: 0}}, "not distinguishable: 0.00 points better (0.00 to 0.00)"},
		{Difference{Delta: 0, Interval: &Interval{Low: -0.01, High: 0.01}, LessIsBetter: true}, "not distinguishable: 0.00 points better (-1.00 to 1.00)"},
		{Difference{Delta: 0.01}, "1.00 points better (interval not measurable)"},
	} {
		if got := c.d.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := (Comparison{Accuracy: Difference{Delta: 0.01}}).String(); got != "1.00 points better (interval not measurable)" {
		t.Error(got)
	}
}

func TestAdjust(t *testing.T) {
	p := func(v float64) *float64 { return &v }
	all := []Comparison{
		{Accuracy: Difference{P: p(0.01)}, FNMR: []Difference{{Target: 0.1, P: p(0.5)}, {Target: 0.01}}},
		{Accuracy: Difference{P: p(0.04)}, FNMR: []Difference{{Target: 0.1, P: p(0.02)}}},
		{Accuracy: Difference{}},
	}
	Adjust(all)
	if *all[0].Accuracy.Adjusted != 0.02 || *all[1].Accuracy.Adjusted != 0.04 || all[2].Accuracy.Adjusted != nil {
		t.Error("accuracies are not adjusted for one another")
	}
	if *all[0].FNMR[0].Adjusted != 0.5 || *all[1].FNMR[0].Adjusted != 0.04 || all[0].FNMR[1].Adjusted != nil {
		t.Error("FNMR at a target are not adjusted for one another")
	}
}

// The best threshold is that of trying all.
func TestBestThreshold(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 2))
	for range 100 {
		s := draw(rng, 2+rng.IntN(20), 1, 1+rng.IntN(30), 0, []float64{0, 0.5}[rng.IntN(2)])
		right := func(threshold float64) (n int) {
			for _, kind := range []bool{false, true} {
				for _, d := range s.Column(kind).Distances {
					if (d < threshold) == kind {
						n++
					}
				}
			}
			return n
		}
		most, all := 0, slices.Concat(s.Sorted(false), s.Sorted(true), []float64{5})
		for _, d := range all {
			most = max(most, right(d))
		}
		got, n := bestThreshold(s)
		if right(got) != most || n != most {
			t.Errorf("%v decides %d rightly, the best %d", got, right(got), most)
		}
		for _, d := range all {
			if d < got && right(d) == most {
				t.Errorf("%v is as good as %v", d, got)
			}
		}
	}
}
