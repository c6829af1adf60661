package verification

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestThresholds(t *testing.T) {
	trials := randomTrials(rand.New(rand.NewPCG(31, 1)), 500, 1000, 0)
	r := evaluate(t, trials)
	for i, p := range r.Thresholds {
		var accepted, rejected int
		for _, trial := range trials {
			match := Cosine(trial.Distance) > p.Cosine
			if match && !trial.Same {
				accepted++
			}
			if !match && trial.Same {
				rejected++
			}
		}
		if p.FMR != (Rate{Rate: float64(accepted) / 1000, Errors: accepted, Of: 1000}) || p.FNMR != (Rate{Rate: float64(rejected) / 500, Errors: rejected, Of: 500}) {
			t.Errorf("%+v: %d accepts, %d rejects", p, accepted, rejected)
		}
		if o := r.OperatingPoints[i]; o.FalseAccepts != accepted || o.FalseRejects != rejected || o.FNMR != p.FNMR.Rate || p.Target != o.Target || p.Name() != o.Name() {
			t.Errorf("%+v beside %+v", o, p)
		}
		if p.Distance != 2-2*p.Cosine {
			t.Errorf("cosine %v is no distance of %v", p.Cosine, p.Distance)
		}
	}
	if len(r.Thresholds) != 3 {
		t.Errorf("%d thresholds", len(r.Thresholds))
	}
}

func TestNotMeasurable(t *testing.T) {
	r := evaluate(t, randomTrials(rand.New(rand.NewPCG(32, 1)), 50, 99, 0))
	want := []NotMeasurable{{1e-2, 100, 99}, {1e-3, 1000, 99}, {1e-4, 10_000, 99}}
	if !slices.Equal(r.NotMeasurable, want) {
		t.Errorf("%+v, want %+v", r.NotMeasurable, want)
	}
	if got := want[1].String(); got != "TAR@FAR 1e-3 is not measurable: needs at least 1000 different-person pairs, there are 99" {
		t.Error(got)
	}
	if _, ok := r.TARAtFAR["1e-2"]; ok || len(r.Thresholds) != 1 {
		t.Errorf("TAR %v, thresholds %+v", r.TARAtFAR, r.Thresholds)
	}
}

// Just so many pairs measure a target, and one less does not.
func TestNeeded(t *testing.T) {
	distances := make([]float64, 2_000_001)
	for _, target := range []float64{0.999, 0.5, 0.3, 1. / 3, 0.1, 1. / 49, 1e-2, 3e-3, 1e-4, 1e-5, 1e-6, 5.0000001e-7} {
		n := needed(target)
		if n > 1 && (ROC{different: distances[:n-1]}).allowed(target) != 0 || (ROC{different: distances[:n]}).allowed(target) == 0 {
			t.Errorf("%v needs %d", target, n)
		}
	}
	for _, target := range []float64{1e-300, math.SmallestNonzeroFloat64} {
		if n := needed(target); n != math.MaxInt {
			t.Errorf("%v needs %d", target, n)
		}
	}
}

func TestFewErrors(t *testing.T) {
	var trials []Trial
	for i := range 1000 {
		trials = append(trials, Trial{Distance: 1 + float64(i)/1000, Same: true}, Trial{Distance: 1.9705 + float64(i)/1000})
	}
	r := evaluate(t, trials)
	got := map[string]bool{}
	for _, f := range r.FewErrors {
		got[f.String()] = true
		if f.Errors >= RuleOf30 || f.Of == 0 {
			t.Errorf("%+v", f)
		}
	}
	for _, want := range []string{"FMR at target 1e-2 (10)", "FMR at target 1e-3 (1)", "FNMR at FMR 1e-1 (0)", "FNMR at FMR 1e-2 (19)", "FNMR at FMR 1e-3 (28)"} {
		if !got[want] {
			t.Errorf("no %q in %v", want, got)
		}
	}
	if got["FMR at target 1e-1 (100)"] || len(got) != 5 {
		t.Errorf("%v", got)
	}
}

// The range holds the interpolated rate; without equal distances it is a point.
func TestEERRange(t *testing.T) {
	eachSample(t, func(t *testing.T, trials []Trial) {
		roc := rocOf(trials)
		e, eer := roc.EERRange(), roc.EER()
		if eer < e.Low-1e-12 || eer > e.High+1e-12 || !near(e.Middle, (e.Low+e.High)/2) {
			t.Errorf("%v is not in %+v", eer, e)
		}
		distinct := map[float64]bool{}
		for _, trial := range trials {
			distinct[trial.Distance] = true
		}
		if len(distinct) == len(trials) && e.High-e.Low > 1e-12 {
			t.Errorf("%+v although only one rate jumps at a time", e)
		}
	})
	trials := []Trial{{Distance: 1, Same: true}, {Distance: 2, Same: true}, {Distance: 2}, {Distance: 3}}
	if e := rocOf(trials).EERRange(); e != (EERRange{0, 0.5, 0.25}) {
		t.Errorf("both jump from one side to the other: %+v", e)
	}
}

// Points are exact, ascend, and are the ones of the curve for the spaced rates.
func TestDET(t *testing.T) {
	for _, n := range []struct{ same, different int }{{2, 2}, {2, 500}, {30, 30}, {3000, 3000}, {2000, 60_000}} {
		trials := randomTrials(rand.New(rand.NewPCG(33, uint64(n.same))), n.same, n.different, 0)
		roc := rocOf(trials)
		det := roc.DET()
		if len(det) > 200 || len(det) < 1 {
			t.Errorf("%v: %d points", n, len(det))
		}
		if det[0].FMR != 0 || det[len(det)-1].FNMR != 0 {
			t.Errorf("%v: from %+v to %+v", n, det[0], det[len(det)-1])
		}
		points := map[[2]float64]bool{}
		for p := range roc.Points() {
			points[[2]float64{roc.FAR(p), share(n.same-p.TrueAccepts, n.same)}] = true
		}
		for i, p := range det {
			if !points[[2]float64{p.FMR, p.FNMR}] {
				t.Errorf("%v: no threshold gives %+v", n, p)
			}
			if i > 0 && (p.FMR < det[i-1].FMR || p.FNMR > det[i-1].FNMR || p.FMR == det[i-1].FMR && p.FNMR == det[i-1].FNMR) {
				t.Errorf("%v: %+v after %+v", n, p, det[i-1])
			}
			if i > 0 && p.FMR/det[i-1].FMR > 1.2 && p.FMR-det[i-1].FMR > 1.5/float64(n.different) &&
				det[i-1].FNMR/p.FNMR > 1.2 && det[i-1].FNMR-p.FNMR > 1.5/float64(n.same) {
				t.Errorf("%v: a gap from %+v to %+v", n, det[i-1], p)
			}
		}
	}
}

func TestDETOfSeparatedTrials(t *testing.T) {
	trials := []Trial{{Distance: 1, Same: true}, {Distance: 0.5, Same: true}, {Distance: 2}, {Distance: 3}}
	if det := rocOf(trials).DET(); len(det) != 1 || det[0] != (DETPoint{Cosine: 0}) {
		t.Errorf("%+v", det)
	}
	trials[0].Distance = 2 // as the closest of the others
	if det := rocOf(trials).DET(); len(det) != 2 || det[0] != (DETPoint{FNMR: 0.5}) || det[1].FMR != 0.5 || det[1].FNMR != 0 {
		t.Errorf("%+v", det)
	}
}

func TestHistogram(t *testing.T) {
	s := NewScores(0, 0, 0)
	for _, d := range []float64{0, 0, 2, 4} {
		s.Add(Trial{Distance: d, Same: true})
	}
	for _, cosine := range []float64{-1, -0.97, -0.96875, 0.96875, 0.9687, math.Nextafter(1, 2)} {
		s.Add(Trial{Distance: 2 - 2*cosine})
	}
	h := s.ROC().Histogram()
	want := func(counts map[int]int) []int {
		bins := make([]int, Bins)
		for bin, n := range counts {
			bins[bin] = n
		}
		return bins
	}
	if !slices.Equal(h.Same, want(map[int]int{63: 2, 32: 1, 0: 1})) || !slices.Equal(h.Different, want(map[int]int{0: 2, 1: 1, 62: 1, 63: 2})) {
		t.Errorf("%+v", h)
	}
}

// The JSON of a result stays small, and says an interval only where there is one.
func TestResultIsSmall(t *testing.T) {
	r := evaluate(t, randomTrials(rand.New(rand.NewPCG(34, 1)), 30_000, 30_000, 0))
	text, err := json.Marshal(r)
	if err != nil || len(text) > 40_000 {
		t.Errorf("%d bytes (%v)", len(text), err)
	}
	if strings.Contains(string(text), "interval") {
		t.Error("it says an interval")
	}
	r.Thresholds[0].FNMR.Interval = &Interval{0.25, 0.5}
	if text, err = json.Marshal(r.Thresholds[0]); err != nil || !strings.Contains(string(text), `"interval":{"low":0.25,"high":0.5}`) {
		t.Errorf("%s (%v)", text, err)
	}
}
