package verification

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/internal/vec"
)

// near says whether two figures agree up to rounding.
func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// randomTrials are same trials around one distance and different ones around another,
// shuffled. With grain > 0 distances are multiples of it, so that many are equal.
func randomTrials(rng *rand.Rand, same, different int, grain float64) []Trial {
	var trials []Trial
	draw := func(n int, centre float64, kind bool) {
		for range n {
			d := min(max(centre+0.5*rng.NormFloat64(), 0), MaxDistance)
			if grain > 0 {
				d = math.Round(d/grain) * grain
			}
			trials = append(trials, Trial{Distance: d, Same: kind})
		}
	}
	draw(same, 1.2, true)
	draw(different, 1.9, false)
	rng.Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
	return trials
}

func kinds(trials []Trial) []bool {
	same := make([]bool, len(trials))
	for i, t := range trials {
		same[i] = t.Same
	}
	return same
}

// scores are trials with folds; folds may be empty.
func scores(trials []Trial, folds Folds) *Scores {
	s := NewScores(0, len(trials)/2, folds.Count)
	for i, t := range trials {
		if folds.Count > 0 {
			t.Fold = int32(folds.Of[i])
		}
		s.Add(t)
	}
	return s
}

func rocOf(trials []Trial) ROC { return scores(trials, Folds{}).ROC() }

var targets = []float64{1e-1, 1e-2, 1e-3, 1e-4}

func evaluate(t *testing.T, trials []Trial) Result {
	t.Helper()
	r, err := Plain.Evaluate(scores(trials, ChooseFolds(kinds(trials), nil)), targets)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// eachSample runs a test on lists of many sizes, with and without equal distances.
func eachSample(t *testing.T, test func(t *testing.T, trials []Trial)) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 40 {
		grain := []float64{0, 0.05, 0.5}[rng.IntN(3)]
		test(t, randomTrials(rng, 10+rng.IntN(120), 10+rng.IntN(120), grain))
	}
}

func TestAUCIsThePairStatistic(t *testing.T) {
	eachSample(t, func(t *testing.T, trials []Trial) {
		wins, n := 0.0, 0.0
		for _, a := range trials {
			for _, b := range trials {
				if a.Same && !b.Same {
					n++
					switch {
					case a.Distance < b.Distance:
						wins++
					case a.Distance == b.Distance:
						wins += 0.5
					}
				}
			}
		}
		if got := rocOf(trials).AUC(); !near(got, wins/n) {
			t.Errorf("AUC %v, by counting %v", got, wins/n)
		}
	})
}

// plainAccuracy is the protocol written down without any cleverness.
func plainAccuracy(trials []Trial, folds Folds) (accuracies, chosen []float64) {
	right := func(threshold float64, of func(fold int) bool) float64 {
		n, all := 0.0, 0.0
		for i, t := range trials {
			if of(folds.Of[i]) {
				all++
				if (t.Distance < threshold) == t.Same {
					n++
				}
			}
		}
		return n / all
	}
	for fold := range folds.Count {
		best, bestAccuracy := 0.0, -1.0
		for k := range 400 {
			threshold := float64(k) * 0.01
			if a := right(threshold, func(f int) bool { return f != fold }); a > bestAccuracy {
				best, bestAccuracy = threshold, a
			}
		}
		accuracies = append(accuracies, right(best, func(f int) bool { return f == fold }))
		chosen = append(chosen, best)
	}
	return accuracies, chosen
}

func TestAccuracyFollowsTheProtocol(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 15 {
		trials := randomTrials(rng, 10+rng.IntN(40), 10+rng.IntN(40), []float64{0, 0.01, 0.3}[rng.IntN(3)])
		folds := ChooseFolds(kinds(trials), nil)
		got, err := Plain.Evaluate(scores(trials, folds), targets)
		if err != nil {
			t.Fatal(err)
		}
		accuracies, chosen := plainAccuracy(trials, folds)
		for f, r := range got.Folds {
			if r.Accuracy != accuracies[f] || r.Threshold != chosen[f] {
				t.Errorf("fold %d: accuracy %v at %v, want %v at %v", f, r.Accuracy, r.Threshold, accuracies[f], chosen[f])
			}
		}
		mean, variance := 0.0, 0.0
		for _, a := range accuracies {
			mean += a / float64(len(accuracies))
		}
		for _, a := range accuracies {
			variance += (a - mean) * (a - mean) / float64(len(accuracies))
		}
		if !near(got.Accuracy, mean) || !near(got.AccuracyStd, math.Sqrt(variance)) {
			t.Errorf("accuracy %v ± %v, want %v ± %v", got.Accuracy, got.AccuracyStd, mean, math.Sqrt(variance))
		}
	}
}

func TestOperatingPointsAreTheBestAllowed(t *testing.T) {
	eachSample(t, func(t *testing.T, trials []Trial) {
		roc := rocOf(trials)
		rates := func(threshold float64) (far, tar float64) {
			for _, t := range trials {
				if t.Distance < threshold {
					if t.Same {
						tar += 1 / float64(len(roc.same))
					} else {
						far += 1 / float64(len(roc.different))
					}
				}
			}
			return far, tar
		}
		for _, oneIn := range []int{2, 10, 100} {
			p, ok := roc.AtFAR(1 / float64(oneIn))
			if ok != (len(roc.different) >= oneIn) {
				t.Errorf("1 in %d with %d different trials: ok is %v", oneIn, len(roc.different), ok)
			}
			if !ok {
				continue
			}
			if far, tar := rates(p.Threshold); !near(far, p.FAR) || !near(tar, p.TAR) || far > p.Target+1e-9 {
				t.Errorf("at %v: FAR %v, TAR %v, reported %+v", p.Threshold, far, tar, p)
			}
			if far, _ := rates(math.Nextafter(p.Threshold, 5)); far <= p.Target+1e-9 {
				t.Errorf("a threshold above %v keeps FAR at %v, within %v", p.Threshold, far, p.Target)
			}
			if !near(p.Cosine, 1-p.Threshold/2) {
				t.Errorf("cosine %v of distance %v", p.Cosine, p.Threshold)
			}
		}
	})
}

// The error rates cross between two neighbouring thresholds, or meet at one.
func TestEERIsWhereTheRatesCross(t *testing.T) {
	eachSample(t, func(t *testing.T, trials []Trial) {
		roc := rocOf(trials)
		eer := roc.EER()
		points := slices.Collect(roc.Points())
		for i, after := range points[1:] {
			before := points[i]
			if roc.FAR(before) <= eer+1e-9 && eer <= roc.FAR(after)+1e-9 && 1-roc.TAR(after) <= eer+1e-9 && eer <= 1-roc.TAR(before)+1e-9 {
				return
			}
		}
		t.Errorf("EER %v is between no two neighbouring thresholds", eer)
	})
}

func TestRanksDecide(t *testing.T) {
	maps := map[string]func(float64) float64{
		"square root": func(d float64) float64 { return 2 * math.Sqrt(d) },
		"square":      func(d float64) float64 { return d * d / 4 },
		"squeezed":    func(d float64) float64 { return 1 + d/1000 },
	}
	eachSample(t, func(t *testing.T, trials []Trial) {
		want := rocOf(trials)
		for name, f := range maps {
			mapped := slices.Clone(trials)
			for i := range mapped {
				mapped[i].Distance = f(mapped[i].Distance)
			}
			got := rocOf(mapped)
			if got.AUC() != want.AUC() || got.EER() != want.EER() {
				t.Errorf("%s: AUC %v, EER %v, want %v, %v", name, got.AUC(), got.EER(), want.AUC(), want.EER())
			}
			a, _ := got.AtFAR(0.1)
			b, _ := want.AtFAR(0.1)
			if a.TAR != b.TAR || a.FAR != b.FAR {
				t.Errorf("%s: %+v at 1e-1, want %+v", name, a, b)
			}
		}
	})
}

func TestComplementarySymmetry(t *testing.T) {
	eachSample(t, func(t *testing.T, trials []Trial) {
		r := rocOf(trials)
		relabelled, mirrored := slices.Clone(trials), slices.Clone(trials)
		for i := range trials {
			relabelled[i].Same = !trials[i].Same
			mirrored[i] = Trial{Distance: MaxDistance - trials[i].Distance, Same: !trials[i].Same}
		}
		if got := rocOf(relabelled); !near(got.AUC(), 1-r.AUC()) || !near(got.EER(), 1-r.EER()) {
			t.Errorf("kinds exchanged: AUC %v, EER %v; before %v, %v", got.AUC(), got.EER(), r.AUC(), r.EER())
		}
		if got := rocOf(mirrored); !near(got.AUC(), r.AUC()) || !near(got.EER(), r.EER()) {
			t.Errorf("kinds exchanged and order reversed: AUC %v, EER %v; before %v, %v", got.AUC(), got.EER(), r.AUC(), r.EER())
		}
	})
}

func TestOrderOfTrialsDoesNotMoveTheROC(t *testing.T) {
	eachSample(t, func(t *testing.T, trials []Trial) {
		shuffled := slices.Clone(trials)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if !slices.Equal(slices.Collect(rocOf(shuffled).Points()), slices.Collect(rocOf(trials).Points())) {
			t.Error("another order of trials, another ROC")
		}
	})
}

func TestPerfectSeparation(t *testing.T) {
	var trials []Trial
	for i := range 2000 {
		spread := float64(i*7%2000) / 10000 // the same in every fold
		trials = append(trials, Trial{Distance: 0.5 + spread, Same: true}, Trial{Distance: 1.5 + spread})
	}
	r := evaluate(t, trials)
	if r.Accuracy != 1 || r.AccuracyStd != 0 || r.AUC != 1 || r.EER != 0 {
		t.Errorf("accuracy %v ± %v, AUC %v, EER %v", r.Accuracy, r.AccuracyStd, r.AUC, r.EER)
	}
	// 0.70 is the first threshold of the protocol above all same distances (0.6999).
	if !near(r.Threshold, 0.7) || !near(r.ThresholdCosine, 0.65) {
		t.Errorf("threshold %v, cosine %v", r.Threshold, r.ThresholdCosine)
	}
	want := map[string]float64{"1e-1": 1, "1e-2": 1, "1e-3": 1} // 2,000 are too few for 1e-4
	if len(r.TARAtFAR) != len(want) || len(r.OperatingPoints) != len(want) {
		t.Errorf("TAR at FAR %v, want %v", r.TARAtFAR, want)
	}
	for name, tar := range want {
		if r.TARAtFAR[name] != tar {
			t.Errorf("TAR at %s is %v", name, r.TARAtFAR[name])
		}
	}
}

func TestGuessing(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	var trials []Trial
	for i := range 6000 {
		trials = append(trials, Trial{Distance: 4 * rng.Float64(), Same: i%2 == 0})
	}
	r := evaluate(t, trials)
	for name, v := range map[string]float64{"accuracy": r.Accuracy, "AUC": r.AUC, "EER": r.EER} {
		if math.Abs(v-0.5) > 0.03 {
			t.Errorf("%s of guessing is %v", name, v)
		}
	}
}

// A model that says the same of everybody tells nothing, and does not look good.
func TestOneDistanceForAll(t *testing.T) {
	var trials []Trial
	for i := range 200 {
		trials = append(trials, Trial{Same: i%2 == 0})
	}
	r := evaluate(t, trials)
	if r.Accuracy != 0.5 || r.AUC != 0.5 || r.EER != 0.5 || r.TARAtFAR["1e-1"] != 0 {
		t.Errorf("accuracy %v, AUC %v, EER %v, TAR %v", r.Accuracy, r.AUC, r.EER, r.TARAtFAR)
	}
}

func TestTooFew(t *testing.T) {
	of := func(same, different int) []Trial {
		return append(slices.Repeat([]Trial{{Distance: 0.1, Same: true}}, same), slices.Repeat([]Trial{{Distance: 3}}, different)...)
	}
	for _, c := range []struct {
		same, different int
		enough          bool
	}{{0, 0, false}, {4, 5, false}, {20, 0, false}, {0, 20, false}, {20, 1, false}, {1, 20, false}, {5, 5, true}, {2, 8, true}, {20, 2, true}} {
		trials := of(c.same, c.different)
		err := CheckKinds(c.same, c.different)
		if errors.Is(err, ErrTooFew) == c.enough {
			t.Errorf("%d same, %d different: error %v", c.same, c.different, err)
		}
		if !c.enough {
			if _, err := Plain.Evaluate(scores(trials, Folds{}), targets); !errors.Is(err, ErrTooFew) {
				t.Errorf("%d same, %d different: Evaluate's error %v", c.same, c.different, err)
			}
		} else if r := evaluate(t, trials); r.Accuracy != 1 || r.AUC != 1 {
			t.Errorf("%d same, %d different: accuracy %v, AUC %v of perfect trials", c.same, c.different, r.Accuracy, r.AUC)
		}
	}
}

func TestDistance(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 100 {
		a, b := make([]float32, 16), make([]float32, 16)
		for i := range a {
			a[i], b[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
		}
		dot := 0.0
		for i := range a {
			dot += float64(a[i]) * float64(b[i])
		}
		cosine := dot / vec.Norm(a) / vec.Norm(b)
		d := Distance(a, b, vec.Norm(a), vec.Norm(b))
		if !near(Cosine(d), cosine) || d != Distance(b, a, vec.Norm(b), vec.Norm(a)) {
			t.Errorf("distance %v for cosine %v", d, cosine)
		}
		opposite := make([]float32, len(a))
		for i := range a {
			opposite[i] = -a[i]
		}
		if Distance(a, a, vec.Norm(a), vec.Norm(a)) != 0 || !near(Distance(a, opposite, vec.Norm(a), vec.Norm(a)), 4) {
			t.Error("an embedding is not at 0 from itself and at 4 from its opposite")
		}
	}
}

func TestUsable(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		e    []float32
		want bool
	}{
		{[]float32{3, 4}, true}, {[]float32{1e-5, 0}, true}, {[]float32{math.MaxFloat32, math.MaxFloat32}, true},
		{[]float32{0, 0}, false}, {[]float32{1e-7, 0}, false}, {[]float32{1, nan}, false}, {[]float32{-inf, 1}, false}, {[]float32{inf, nan}, false},
	} {
		if got := vec.HasDirection(vec.Norm(c.e)); got != c.want {
			t.Errorf("%v usable: %v", c.e, got)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	trials := randomTrials(rand.New(rand.NewPCG(1, 1)), 3000, 3000, 0)
	folds := ChooseFolds(kinds(trials), nil)
	for b.Loop() {
		if _, err := Plain.Evaluate(scores(trials, folds), targets); err != nil {
			b.Fatal(err)
		}
	}
}
