package verification

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// byRule are the figures of trials in the order of their list.
func byRule(t *testing.T, rule Rule, trials []Trial, targets []float64) (Result, Folds) {
	t.Helper()
	folds, err := rule.Folds(kinds(trials), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rule.Evaluate(scores(trials, folds), targets)
	if err != nil {
		t.Fatal(err)
	}
	return r, folds
}

func TestRuleNamed(t *testing.T) {
	for _, r := range Rules() {
		if got, err := RuleNamed(r.Name); err != nil || got.Name != r.Name || got.Spread == "" || got.Chooses == "" {
			t.Errorf("%s: %+v, %v", r.Name, got, err)
		}
	}
	if _, err := RuleNamed("Plain"); err == nil || !strings.Contains(err.Error(), "plain, insightface, facexzoo") {
		t.Errorf("an unknown name: %v", err)
	}
	for _, p := range Picks() {
		if got, err := PickNamed(string(p)); err != nil || got != p {
			t.Errorf("%s: %s, %v", p, got, err)
		}
	}
	if _, err := PickNamed(""); err == nil || !strings.Contains(err.Error(), "le, nearest, interp") {
		t.Errorf("no name: %v", err)
	}
}

// InsightFace's accuracy is the plain one on contiguous folds, whatever the list announces.
func TestInsightFaceAccuracyIsThePlainOne(t *testing.T) {
	trials := randomTrials(rand.New(rand.NewPCG(21, 1)), 300, 300, 0)
	got, folds := byRule(t, InsightFace, trials, targets)
	declared, err := InsightFace.Folds(kinds(trials), blocks(600, 200))
	if err != nil || declared.Rule != Contiguous || !slices.Equal(declared.Of, folds.Of) {
		t.Errorf("declared folds: %s (%v)", declared.Rule, err)
	}
	accuracies, chosen := plainAccuracy(trials, folds)
	for f, r := range got.Folds {
		if r.Accuracy != accuracies[f] || r.Threshold != chosen[f] {
			t.Errorf("fold %d: %+v, want %v at %v", f, r, accuracies[f], chosen[f])
		}
	}
	if got.PlusMinus() != got.AccuracyStd || got.Rule != "insightface" {
		t.Errorf("%s ± %v, want %v", got.Rule, got.PlusMinus(), got.AccuracyStd)
	}
}

// plainVAL is the rule for one fold, written down without any cleverness.
func plainVAL(trials []Trial, folds []int, fold int, target float64) (limit float64) {
	last := 0.0
	for k := range 4000 {
		accepted, all := 0.0, 0.0
		for i, t := range trials {
			if folds[i] != fold && !t.Same {
				all++
				if t.Distance < float64(k)*0.001 {
					accepted++
				}
			}
		}
		far := accepted / all
		if far > target {
			return (float64(k) - (far-target)/(far-last)) * 0.001
		}
		last = far
	}
	if last == target {
		return 3.999
	}
	return 0
}

func TestVALFollowsTheRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 1))
	for round := range 6 {
		trials := randomTrials(rng, 30+rng.IntN(40), 30+rng.IntN(40), []float64{0, 0.01, 0.3}[round%3])
		got, folds := byRule(t, InsightFace, trials, []float64{0.5, 0.1})
		for _, p := range got.VAL {
			var vals, fars []float64
			wrong := 0
			for fold := range folds.Count {
				limit := plainVAL(trials, folds.Of, fold, p.Target)
				var accepted, all [2]float64
				for i, trial := range trials {
					if folds.Of[i] == fold {
						all[kind(trial.Same)]++
						if trial.Distance < limit {
							accepted[kind(trial.Same)]++
						}
					}
				}
				vals, fars = append(vals, accepted[1]/all[1]), append(fars, accepted[0]/all[0])
				wrong += int(all[1] - accepted[1])
			}
			val, std := meanStd(vals)
			far, _ := meanStd(fars)
			if !near(p.VAL, val) || !near(p.Std, std) || !near(p.FAR, far) || p.FalseRejects != wrong || p.Folds != 10 || p.Unreached != 0 {
				t.Errorf("round %d: %+v, want %v ± %v, FAR %v, %d rejects", round, p, val, std, far, wrong)
			}
		}
		if len(got.VAL) != 2 {
			t.Fatalf("%d points", len(got.VAL))
		}
	}
}

// Where the rates of several thresholds are just the target the last of them counts.
func TestWherePassed(t *testing.T) {
	rates := make([]float64, valThresholds.n)
	for k := range rates {
		rates[k] = []float64{0, 0.25, 0.75}[k*3/len(rates)]
	}
	first := 0.0
	for k := range rates {
		if rates[k] == 0.25 {
			first = valThresholds.at(k)
			break
		}
	}
	for target, want := range map[float64]float64{0.125: first - 0.0005, 0.25: 2.666, 0.5: 2.6665, 0.75: 3.999, 0.751: 0} {
		if got := wherePassed(rates, target); !near(got, want) {
			t.Errorf("%v: %v, want %v", target, got, want)
		}
	}
}

// A target that no threshold reaches gives the threshold 0, which accepts nobody; a fold
// without a kind has no rate of it.
func TestVALOfDegenerateFolds(t *testing.T) {
	var trials []Trial
	for i := range 40 {
		trials = append(trials, Trial{Distance: 4, Same: i < 3}) // no threshold accepts 4
	}
	got, folds := byRule(t, InsightFace, trials, []float64{0.1})
	p := got.VAL[0]
	if folds.Rule != Interleaved || p.VAL != 0 || p.FAR != 0 || p.Folds != 3 || p.Unreached != 10 || p.FalseRejects != 3 || p.Same != 3 {
		t.Errorf("%s folds: %+v", folds.Rule, p)
	}
	for i := range trials {
		trials[i].Distance = 0.5
		if !trials[i].Same {
			trials[i].Distance = 2 + float64(i)/100
		}
	}
	if got, _ = byRule(t, InsightFace, trials, []float64{0.1}); got.VAL[0].VAL != 1 || got.VAL[0].Folds != 3 || math.IsNaN(got.VAL[0].Std) {
		t.Errorf("separated: %+v", got.VAL[0])
	}
}

// plainFaceXZoo is the rule written down without any cleverness.
func plainFaceXZoo(trials []Trial, folds Folds) (accuracies []float64) {
	for fold := range folds.Count {
		low, high := 2.0, -2.0
		for i, t := range trials {
			if folds.Of[i] != fold {
				low, high = min(low, Cosine(t.Distance)), max(high, Cosine(t.Distance))
			}
		}
		best, most := 0.0, -2.0
		for k := 1; k <= 1000; k++ {
			limit := low + (high-low)/1000*float64(k)
			var above, all [2]float64
			for i, t := range trials {
				if folds.Of[i] == fold {
					continue
				}
				all[kind(t.Same)]++
				if Cosine(t.Distance) > limit {
					above[kind(t.Same)]++
				}
			}
			if apart := above[1]/all[1] - above[0]/all[0]; apart > most {
				best, most = limit, apart
			}
		}
		right, all := 0.0, 0.0
		for i, t := range trials {
			if folds.Of[i] == fold {
				all++
				if (Cosine(t.Distance) > best) == t.Same {
					right++
				}
			}
		}
		accuracies = append(accuracies, right/all)
	}
	return accuracies
}

func TestFaceXZooFollowsTheRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 1))
	for round, grain := range []float64{0, 0.05} {
		trials := randomTrials(rng, 800+100*round, 900, grain)
		got, folds := byRule(t, FaceXZoo, trials, targets)
		want := plainFaceXZoo(trials, folds)
		sum, squares := 0.0, 0.0
		for f, r := range got.Folds {
			if !near(r.Accuracy, want[f]) {
				t.Errorf("fold %d: %v, want %v", f, r.Accuracy, want[f])
			}
			sum += want[f]
		}
		n := float64(len(want))
		for _, a := range want {
			squares += (a - sum/n) * (a - sum/n)
		}
		if !near(got.Accuracy, sum/n) || !near(got.PlusMinus(), math.Sqrt(squares/(n-1)/n)) || got.VAL != nil {
			t.Errorf("%v ± %v, want %v ± %v", got.Accuracy, got.PlusMinus(), sum/n, math.Sqrt(squares/(n-1)/n))
		}
	}
}

func TestBlocksOf600(t *testing.T) {
	for _, c := range []struct {
		name  string
		same  []bool
		rule  FoldRule
		count int
		last  int // trials of the last one
	}{
		{"lfw", repeated(3000, 300), Blocks, 10, 600},
		{"cfp", repeated(3500, 350), Blocks, 11, 1000},
		{"sorted by kind", repeated(3000, 3000), InterleavedBlocks, 10, 600},
		{"two", repeated(600, 1), Blocks, 2, 600},
	} {
		f, err := FaceXZoo.Folds(c.same, blocks(len(c.same), 1))
		if err != nil || f.Rule != c.rule || f.Count != c.count {
			t.Errorf("%s: %s, %d folds (%v)", c.name, f.Rule, f.Count, err)
			continue
		}
		size := make([]int, f.Count)
		for _, fold := range f.Of {
			size[fold]++
		}
		if size[0] != 600 || size[f.Count-1] != c.last {
			t.Errorf("%s: sizes %v", c.name, size)
		}
	}
	if _, err := FaceXZoo.Folds(repeated(599, 1), nil); !errors.Is(err, ErrTooFew) || !strings.Contains(err.Error(), "plain rule") {
		t.Errorf("1198 pairs: %v", err)
	}
	if FaceXZoo.Flip || !Plain.Flip || !InsightFace.Flip {
		t.Error("only facexzoo does without mirrored crops")
	}
}

// A model that says the same of everybody tells nothing, by every rule.
func TestOneDistanceForAllByEveryRule(t *testing.T) {
	var trials []Trial
	for i := range 1200 {
		trials = append(trials, Trial{Distance: 1, Same: i%2 == 0})
	}
	for _, rule := range Rules() {
		r, _ := byRule(t, rule, trials, []float64{0.1})
		if r.Accuracy != 0.5 || r.AccuracyErrors != 600 {
			t.Errorf("%s: accuracy %v, %d errors", rule.Name, r.Accuracy, r.AccuracyErrors)
		}
		if r.EERRange != (EERRange{0, 1, 0.5}) {
			t.Errorf("%s: errors cross in %+v", rule.Name, r.EERRange)
		}
	}
}

// Every pick is what its description says of the list of all points.
func TestPicks(t *testing.T) {
	eachSample(t, func(t *testing.T, trials []Trial) {
		roc := rocOf(trials)
		points := slices.Collect(roc.Points())
		for _, target := range []float64{0.5, 0.3, 0.1, 1. / 30, 0.97} {
			if _, ok := roc.At(target, Le); !ok {
				for _, pick := range Picks() {
					if _, ok := roc.At(target, pick); ok {
						t.Errorf("%s measures %v with %d trials", pick, target, len(roc.different))
					}
				}
				continue
			}
			nearest, far := 0.0, math.Inf(1)
			var before, after ROCPoint
			for i, p := range points {
				if off := math.Abs(roc.FAR(p) - target); off <= far {
					nearest, far = roc.TAR(p), off
				}
				if roc.FAR(p) <= target {
					before = p
					if i+1 < len(points) {
						after = points[i+1]
					}
				}
			}
			if p, _ := roc.At(target, Nearest); p.TAR != nearest || math.Abs(p.FAR-target) != far {
				t.Errorf("nearest to %v: %+v, want TAR %v", target, p, nearest)
			}
			part := (target - roc.FAR(before)) / (roc.FAR(after) - roc.FAR(before))
			tar := roc.TAR(before) + part*(roc.TAR(after)-roc.TAR(before))
			if p, _ := roc.At(target, Interp); !near(p.TAR, tar) || p.FAR != target || p.FalseAccepts != before.FalseAccepts || !near(p.FNMR, 1-tar) {
				t.Errorf("interpolated at %v: %+v, want TAR %v", target, p, tar)
			}
			for _, pick := range Picks() {
				p, _ := roc.At(target, pick)
				if accepted := below(roc.different, p.Threshold); accepted != p.FalseAccepts {
					t.Errorf("%s: %v accepts %d, %+v", pick, p.Threshold, accepted, p)
				}
				if rejected := len(roc.same) - below(roc.same, p.Threshold); rejected != p.FalseRejects {
					t.Errorf("%s: %v rejects %d, %+v", pick, p.Threshold, rejected, p)
				}
			}
		}
	})
}

// A result says how TAR was read by its rule's pick, and thresholds do not depend on it.
func TestPickOfARule(t *testing.T) {
	trials := randomTrials(rand.New(rand.NewPCG(24, 1)), 100, 97, 0)
	plain, _ := byRule(t, Plain, trials, []float64{0.1})
	rule := Plain
	rule.Pick = Interp
	interp, _ := byRule(t, rule, trials, []float64{0.1})
	if interp.OperatingPoints[0].FAR != 0.1 || plain.OperatingPoints[0].FAR == 0.1 || interp.TARAtFAR["1e-1"] != interp.OperatingPoints[0].TAR {
		t.Errorf("interpolated %+v, plain %+v", interp.OperatingPoints, plain.OperatingPoints)
	}
	if zero, _ := byRule(t, Rule{}, trials, []float64{0.1}); zero.Rule != "plain" || !slices.Equal(zero.OperatingPoints, plain.OperatingPoints) {
		t.Errorf("the zero rule is %s: %+v", zero.Rule, zero.OperatingPoints)
	}
	if !slices.Equal(interp.Thresholds, plain.Thresholds) {
		t.Errorf("thresholds %+v, want %+v", interp.Thresholds, plain.Thresholds)
	}
}

// Folds that leave only one kind to choose a threshold from give figures, if no good ones.
func TestFoldsOfOneKind(t *testing.T) {
	s := NewScores(0, 0, 2)
	for i := range 20 {
		s.Add(Trial{Distance: 1 + float64(i)/100, Same: i < 10, Fold: int32(i / 10)})
	}
	for _, rule := range Rules() {
		r, err := rule.Evaluate(s, []float64{0.1})
		if err != nil || math.IsNaN(r.Accuracy) || r.Accuracy < 0 || r.Accuracy > 1 || len(r.Folds) != 2 || r.AccuracyErrors+int(math.Round(r.Accuracy*20)) != 20 {
			t.Errorf("%s: %+v (%v)", rule.Name, r.CrossValidation, err)
		}
		for _, p := range r.VAL {
			if p.Folds != 1 || math.IsNaN(p.VAL) || math.IsNaN(p.FAR) {
				t.Errorf("%s: %+v", rule.Name, p)
			}
		}
	}
}

// Without folds there is no accuracy, by any rule, and the rest is there.
func TestRulesWithoutFolds(t *testing.T) {
	trials := randomTrials(rand.New(rand.NewPCG(25, 1)), 50, 50, 0)
	for _, rule := range Rules() {
		r, err := rule.Evaluate(scores(trials, Folds{}), []float64{0.1})
		if err != nil || r.CrossValidation != nil || r.VAL != nil || len(r.Thresholds) != 1 || len(r.DET) == 0 {
			t.Errorf("%s: %+v (%v)", rule.Name, r, err)
		}
	}
}
