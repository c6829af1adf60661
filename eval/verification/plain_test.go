package verification

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainResult computes all figures from one sorted list of trials and one list of points,
// with integer targets, 1 in oneIn.
func plainResult(trials []Trial, folds Folds, oneIn []int) Result {
	points, same, different := plainROC(trials)
	far := func(p ROCPoint) float64 { return float64(p.FalseAccepts) / float64(different) }
	tar := func(p ROCPoint) float64 { return float64(p.TrueAccepts) / float64(same) }
	r := Result{Pairs: len(trials), Same: same, Different: different, TARAtFAR: map[string]float64{}, OperatingPoints: []OperatingPoint{}}
	twice := 0.0
	for i, p := range points[1:] {
		twice += float64(p.FalseAccepts-points[i].FalseAccepts) * float64(p.TrueAccepts+points[i].TrueAccepts)
	}
	r.AUC = twice / 2 / float64(same) / float64(different)
	excess := func(p ROCPoint) float64 { return far(p) - (1 - tar(p)) }
	crossing := slices.IndexFunc(points, func(p ROCPoint) bool { return excess(p) >= 0 })
	before, after := points[crossing-1], points[crossing]
	share := -excess(before) / (excess(after) - excess(before))
	r.EER = far(before) + float64(share*(far(after)-far(before)))
	for _, n := range oneIn {
		if different < n {
			continue
		}
		next := slices.IndexFunc(points, func(p ROCPoint) bool { return p.FalseAccepts > different/n })
		at, limit := points[next-1], points[next].Distance
		rejects := same - at.TrueAccepts
		p := OperatingPoint{Target: 1 / float64(n), FAR: far(at), TAR: tar(at), FNMR: float64(rejects) / float64(same), Threshold: limit, Cosine: Cosine(limit),
			FalseAccepts: at.FalseAccepts, Different: different, FalseRejects: rejects, Same: same}
		r.TARAtFAR[p.Name()] = p.TAR
		r.OperatingPoints = append(r.OperatingPoints, p)
	}
	for _, p := range points {
		r.Curve = append(r.Curve, CurvePoint{p.Distance, far(p), tar(p)})
	}
	accuracies, chosen := plainAccuracy(trials, folds)
	c := CrossValidation{Rule: "plain"}
	c.Accuracy, c.AccuracyStd = meanStd(accuracies)
	sum := 0.0
	for f, a := range accuracies {
		sum += (a - c.Accuracy) * (a - c.Accuracy)
		for i, t := range trials {
			if folds.Of[i] == f && (t.Distance < chosen[f]) != t.Same {
				c.AccuracyErrors++
			}
		}
	}
	c.AccuracyStdError = math.Sqrt(sum / float64(len(accuracies)-1) / float64(len(accuracies)))
	c.Threshold, _ = meanStd(chosen)
	c.ThresholdCosine = Cosine(c.Threshold)
	r.CrossValidation = &c
	return r
}

// plainROC are the points of trials, and how many there are of each kind.
func plainROC(trials []Trial) (points []ROCPoint, same, different int) {
	sorted := slices.Clone(trials)
	slices.SortFunc(sorted, func(a, b Trial) int { return cmp.Compare(a.Distance, b.Distance) })
	points = []ROCPoint{{}}
	for i, t := range sorted {
		if t.Same {
			same++
		} else {
			different++
		}
		if i+1 == len(sorted) || sorted[i+1].Distance != t.Distance {
			points = append(points, ROCPoint{t.Distance, different, same})
		}
	}
	return points, same, different
}

// Columns and streams give the bits of a plain list.
func TestFiguresAreThoseOfAPlainList(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	for round := range 60 {
		grain := []float64{0, 0, 0.01, 0.5}[round%4]
		trials := randomTrials(rng, 10+rng.IntN(300), 10+rng.IntN(2500), grain)
		folds := ChooseFolds(kinds(trials), nil)
		want := plainResult(trials, folds, []int{10, 100, 1000, 10_000})
		got, err := Plain.Evaluate(scores(trials, folds), targets)
		if err != nil {
			t.Fatal(err)
		}
		if !near(got.AccuracyStdError, want.AccuracyStdError) {
			t.Errorf("round %d: standard error %v, want %v", round, got.AccuracyStdError, want.AccuracyStdError)
		}
		want.AccuracyStdError = got.AccuracyStdError
		if *got.CrossValidation != *want.CrossValidation || got.AUC != want.AUC || got.EER != want.EER {
			t.Errorf("round %d: %+v, AUC %v, EER %v, want %+v, %v, %v", round, *got.CrossValidation, got.AUC, got.EER,
				*want.CrossValidation, want.AUC, want.EER)
		}
		if !slices.Equal(got.OperatingPoints, want.OperatingPoints) {
			t.Errorf("round %d: operating points %+v, want %+v", round, got.OperatingPoints, want.OperatingPoints)
		}
		if !slices.Equal(got.Curve, want.Curve) {
			t.Errorf("round %d: a curve of %d points differs from one of %d", round, len(got.Curve), len(want.Curve))
		}
	}
}

// A target of 1 in n allows exactly one false accept in n, however fractions are rounded.
func TestAllowedFalseAccepts(t *testing.T) {
	distances := make([]float64, 1_000_000)
	for _, oneIn := range []int{2, 3, 7, 10, 49, 100, 1000, 10_000} {
		for n := range 25_000 {
			if got := (ROC{different: distances[:n]}).allowed(1 / float64(oneIn)); got != n/oneIn {
				t.Fatalf("1 in %d of %d: %d false accepts", oneIn, n, got)
			}
		}
	}
	for _, n := range []int{0, 1, 10, 1_000_000} {
		r := ROC{different: distances[:n]}
		if got := r.allowed(math.Nextafter(1, 0)); n > 0 && got != n-1 {
			t.Errorf("a target just below 1 allows %d of %d", got, n)
		}
		if got := r.allowed(math.SmallestNonzeroFloat64); got != 0 {
			t.Errorf("the least target allows %d of %d", got, n)
		}
	}
}

func TestDistanceThatIsNoNumber(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was added")
		}
	}()
	NewScores(1, 1, 0).Add(Trial{Distance: math.NaN()})
}

// A curve of many trials is short, ascends, and is nowhere far from the exact one.
func TestCurveIsCloseToTheROC(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	roc := rocOf(randomTrials(rng, 60_000, 400_000, 0))
	curve := roc.Curve()
	if len(curve) > 40_000 {
		t.Errorf("%d points", len(curve))
	}
	if first, last := curve[0], curve[len(curve)-1]; first != (CurvePoint{}) || last.FAR != 1 || last.TAR != 1 {
		t.Errorf("from %+v to %+v", first, last)
	}
	i := 0
	for p := range roc.Points() {
		if p == (ROCPoint{}) { // trials at 0 come right after it
			continue
		}
		for i+1 < len(curve) && curve[i+1].Distance <= p.Distance {
			i++
		}
		far, tar := roc.FAR(p)-curve[i].FAR, roc.TAR(p)-curve[i].TAR
		if far < 0 || tar < 0 || far > roc.FAR(p)/resolution || tar > 1./resolution {
			t.Fatalf("at %v the curve is %v and %v off", p, far, tar)
		}
	}
}

// A figure says nothing of a result that lacks it.
func TestFigures(t *testing.T) {
	full := evaluate(t, randomTrials(rand.New(rand.NewPCG(9, 1)), 200, 200, 0))
	bare := full
	bare.CrossValidation = nil
	var names []string
	for _, f := range Figures([]float64{0.1, 0.001}) {
		names = append(names, f.Name)
		value, text := f.Of(full)
		measurable := f.Name != "tar_at_far 1e-3"
		if measurable != (text != "") || measurable == (value == 0) {
			t.Errorf("%s is %v, %q", f.Name, value, text)
		}
		if _, text := f.Of(bare); (text == "") != (!measurable || f.Name == "accuracy") {
			t.Errorf("%s is %q without folds", f.Name, text)
		}
	}
	want := []string{"accuracy", "tar_at_far 1e-1", "tar_at_far 1e-3", "auc", "eer"}
	if !slices.Equal(names, want) {
		t.Errorf("figures %v, want %v", names, want)
	}
}

func BenchmarkEvaluateMillions(b *testing.B) {
	trials := randomTrials(rand.New(rand.NewPCG(1, 1)), 20_000, 4_000_000, 0)
	b.ReportAllocs()
	for b.Loop() {
		s := NewScores(20_000, 4_000_000, 0)
		for _, t := range trials {
			s.Add(t)
		}
		if _, err := Plain.Evaluate(s, targets); err != nil {
			b.Fatal(err)
		}
	}
}
