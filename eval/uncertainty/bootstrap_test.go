package uncertainty

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/verification"
)

// Counting 64 replicates by the bits of words is counting.
func TestCount(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 50 {
		people, cells := 1+rng.IntN(20), 1+rng.IntN(6)
		of, places := pairs{numbering: &numbering{}}, []int{}
		for i := range people {
			of.dense = append(of.dense, int32(i))
		}
		for range rng.IntN(3000) {
			of.first, of.second = append(of.first, rng.Int32N(int32(people))), append(of.second, rng.Int32N(int32(people)))
			places = append(places, rng.IntN(cells))
		}
		keep := make([]uint64, people)
		for i := range keep {
			keep[i] = rng.Uint64() | rng.Uint64()
		}
		want := newCellCounts(cells)
		for i, place := range places {
			trial := of.at(i)
			for lane := range lanes {
				want[lane][place] += uint32(keep[trial.a] & keep[trial.b] >> lane & 1)
			}
		}
		got := newCellCounts(cells)
		got[3][0] = 77 // of the block before
		newCelled(of, cells, func(i int) int { return places[i] }).count(keep, got)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%d trials in %d cells: counts differ", len(places), cells)
		}
	}
}

// kept are the trials of those whose identities a replicate keeps.
func kept(s *verification.Scores, keeps func(id int32) bool) *verification.Scores {
	some := verification.NewScores(0, 0, s.Folds())
	for _, kind := range []bool{false, true} {
		c := s.Column(kind)
		for i, d := range c.Distances {
			trial := verification.Trial{Distance: d, Same: kind, First: c.First[i], Second: c.Second[i]}
			if c.Fold != nil {
				trial.Fold = c.Fold[i]
			}
			if keeps(trial.First) && keeps(trial.Second) {
				some.Add(trial)
			}
		}
	}
	return some
}

// A replicate's figures are those of its trials alone: exactly where every distance is a cell, and to
// the resolution where there are more.
func TestReplicatesAreFiguresOfHalves(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	targets := []float64{0.2, 0.01, 0.05}
	for _, c := range []struct {
		sames, differents int
		grain, tolerance  float64
	}{{2, 700, 0, 0}, {3, 900, 0.01, 0}, {20, 40_000, 0, 2. / resolution}} {
		const people, seed = 60, 5
		s := draw(rng, people, c.sames, c.differents, 0, c.grain)
		p := meet(s)
		m := newModel(s, p, targets, nil)
		if m.exact() != (c.tolerance == 0) {
			t.Fatalf("%d trials: exact is %t", c.differents, m.exact())
		}
		r := bootstrap([]model{m}, p.count, 200, seed)
		if r.unused > 0 {
			t.Fatalf("%d unused", r.unused)
		}
		number := map[int32]int32{}
		for i, first := range s.Column(true).First {
			number[first] = p.of[same].at(i).a
		}
		for replicate := range 200 {
			source := rand.NewPCG(seed, uint64(replicate/lanes))
			words := make([]uint64, p.count)
			for i := range words {
				words[i] = source.Uint64()
			}
			half := kept(s, func(id int32) bool { return words[number[id]]>>(replicate%lanes)&1 == 1 })
			roc := half.ROC()
			value := func(k int) float64 { return r.values[0][k][replicate] }
			check := func(name string, got, want float64) {
				if !(math.Abs(got-want) <= c.tolerance+1e-12) {
					t.Errorf("%d trials, replicate %d: %s %v, want %v", c.differents, replicate, name, got, want)
				}
			}
			check("AUC", value(auc), roc.AUC())
			check("EER", value(eer), roc.EER())
			for k, target := range targets {
				at, ok := roc.AtFAR(target)
				if !ok {
					continue
				}
				check("FNMR", value(fnmrAt(k)), 1-at.TAR)
				check("threshold", value(thresholdAt(k)), at.Threshold)
			}
		}
	}
}

// Cells of many trials move figures by no more than is said, and those at the targets not at all.
func TestCellsOfManyTrials(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	targets := []float64{0.1, 1e-2, 1e-3, 1e-4, 3e-5}
	for _, grain := range []float64{0, 1e-5, 1e-3, 0.01} { // from no ties to few distances
		s := draw(rng, 500, 40, 300_000, 0, grain)
		m := newModel(s, meet(s), targets, []float64{1.2345})
		b := m.binning()
		if b == nil && grain < 0.01 || b != nil && (b.Cells > 20_000 || b.AUCError > 1e-4) {
			t.Fatalf("binning %+v", b)
		}
		if b == nil {
			b = &Binning{}
		}
		if !slices.Contains(m.least, 1.2345) {
			t.Error("a threshold that was asked for begins no cell")
		}
		got, want := make([]float64, m.figures()), m.whole()
		m.measure(m.everybody(), got)
		for k := range got {
			tolerance := 1e-12
			switch k {
			case auc:
				tolerance += b.AUCError
			case accuracy, eer:
				tolerance += b.RateError
			}
			if !(math.Abs(got[k]-want[k]) <= tolerance) {
				t.Errorf("figure %d: %v, want %v", k, got[k], want[k])
			}
		}
		// No cell of several distances has more than a 1024th of what is closer or farther.
		differents, sames := m.byCell[different].sizes(), m.byCell[same].sizes()
		closer, farther := 0, s.Same()
		for i := range m.least {
			farther -= int(sames[i])
			if m.most[i] > m.least[i] && (int(differents[i]) > max(1, closer/resolution) || int(sames[i]) > max(1, farther/resolution)) {
				t.Fatalf("cell %d has %d different and %d same trials, %d are closer, %d farther", i, differents[i], sames[i], closer, farther)
			}
			closer += int(differents[i])
		}
	}
}

// The cross-validated accuracy of a replicate that keeps everybody is the protocol's; of one that keeps
// half of each kind in every fold, that of the half.
func TestReplicatesAreCrossValidated(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 4))
	const people, seed = 40, 3
	s := draw(rng, people, 4, 160, 4, 0.05)
	p := meet(s)
	m := newModel(s, p, nil, nil)
	r := bootstrap([]model{m}, p.count, 64, seed)
	source := rand.NewPCG(seed, 0)
	words := make([]uint64, p.count)
	for i := range words {
		words[i] = source.Uint64()
	}
	for replicate := range 64 {
		half := kept(s, func(id int32) bool { return words[p.of[same].of(id)]>>replicate&1 == 1 })
		// The half, with trials repeated until both kinds count as they did.
		repeated := verification.NewScores(0, 0, 4)
		times := [2]int{half.Same(), half.Different()} // least common multiple of both, either way
		for kind, n := range times {
			c := half.Column(kind == same)
			for i, d := range c.Distances {
				for range n {
					repeated.Add(verification.Trial{Distance: d, Same: kind == same, First: c.First[i], Second: c.Second[i], Fold: c.Fold[i]})
				}
			}
		}
		want, err := verification.Plain.Evaluate(repeated, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.Same() != s.Different() {
			t.Fatal("the kinds are not of one size")
		}
		if got := r.values[0][accuracy][replicate]; math.Abs(got-want.Accuracy) > 1e-9 {
			t.Errorf("replicate %d: accuracy %v, want %v", replicate, got, want.Accuracy)
		}
	}
}

// The same seed gives the same bits, however many processors there are; another one does not.
func TestSummaryIsDeterministic(t *testing.T) {
	s := draw(rand.New(rand.NewPCG(6, 1)), 50, 3, 20_000, 5, 0)
	o := Options{Targets: []float64{0.1, 0.01}, Replicates: 300, Seed: 9, Thresholds: []float64{1.2}}
	text := func(processors int, o Options) string {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		sum, err := Summarize(s, o)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(sum)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	one := text(1, o)
	if many := text(7, o); many != one {
		t.Errorf("on one processor\n%s\non seven\n%s", one, many)
	}
	o.Seed = 10
	if text(2, o) == one {
		t.Error("another seed, the same intervals")
	}
}

// checkSummary reports what no summary may say.
func checkSummary(t *testing.T, sum Summary) {
	t.Helper()
	if _, err := json.Marshal(sum); err != nil { // fails for NaN and infinities
		t.Fatalf("%v: %+v", err, sum)
	}
	figure := func(name string, f Figure, low, high float64) {
		t.Helper()
		if !(f.Value >= low && f.Value <= high) {
			t.Errorf("%s is %v", name, f.Value)
		}
		if i := f.Interval; i != nil && !(low <= i.Low && i.Low <= f.Value && f.Value <= i.High && i.High <= high) {
			t.Errorf("%s %v has the interval %v", name, f.Value, *i)
		}
	}
	rate := func(name string, r Rate) {
		t.Helper()
		figure(name, Figure{r.Value, r.Interval}, 0, 1)
		if r.Errors > r.Of || r.Of == 0 || r.Effective <= 0 || r.Effective > float64(r.Of) || r.Identities == 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	figure("accuracy", sum.Accuracy, 0, 1)
	figure("AUC", sum.AUC, 0, 1)
	figure("EER", sum.EER, 0, 1)
	for _, p := range sum.OperatingPoints {
		figure("threshold", p.Threshold, 0, verification.MaxDistance)
		figure("cosine", p.ThresholdCosine, -1, 1)
		figure("FNMR at FMR", p.FNMR, 0, 1)
		rate("FMR", p.Fixed.FMR)
		rate("FNMR", p.Fixed.FNMR)
		if p.Fixed.FMR.Value > p.Target {
			t.Errorf("FMR %v for %v", p.Fixed.FMR.Value, p.Target)
		}
	}
	for _, f := range sum.Fixed {
		rate("FMR", f.FMR)
		rate("FNMR", f.FNMR)
	}
}

// tiny are scores of a few trials of anybody, as bytes say.
func tiny(data []byte) *verification.Scores {
	s := verification.NewScores(0, 0, int(len(data)%3))
	for ; len(data) >= 3; data = data[3:] {
		trial := verification.Trial{
			Distance: float64(data[0]%9) / 2, Same: data[0]&16 > 0, First: int32(data[1]%24) - 4, Second: int32(data[2] % 24),
		}
		if folds := s.Folds(); folds > 0 {
			trial.Fold = int32(data[0]) / 32 % int32(folds)
		}
		s.Add(trial)
	}
	return s
}

func FuzzSummarize(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 7))
	for n := range 60 {
		data := make([]byte, rng.IntN(8*(n+1)))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		f.Add(data)
	}
	f.Add([]byte{})
	f.Add([]byte{16, 1, 1, 4, 1, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, other := tiny(data), tiny(data)
		o := Options{Targets: []float64{0.5, 0.1}, Thresholds: []float64{-1, 0, 2, 9}, Replicates: 40}
		sum, err := Summarize(s, o)
		if lacks := s.Same() == 0 || s.Different() == 0; lacks != errors.Is(err, ErrTooFew) {
			t.Fatalf("%d same, %d different: %v", s.Same(), s.Different(), err)
		}
		if err != nil {
			return
		}
		checkSummary(t, sum)
		if bootstrapped := sum.Replicates > 0; bootstrapped != (sum.Identities >= minIdentities) || sum.Accuracy.Interval != nil && !bootstrapped {
			t.Errorf("%d identities, %d replicates, accuracy %+v", sum.Identities, sum.Replicates, sum.Accuracy)
		}
		c, err := Compare(s, other, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(c); err != nil {
			t.Fatal(err)
		}
		for _, d := range append(c.FNMR, c.Accuracy, c.AUC, c.EER) {
			if d.Delta != 0 || d.Distinguishable() || d.P != nil && *d.P != 1 || d.Decisions != nil && d.Decisions.McNemar != 1 {
				t.Errorf("a model differs from itself: %+v", d)
			}
		}
	})
}

// The points of a curve have their intervals beside the operating points, and no notes.
func TestCurveOfASummary(t *testing.T) {
	s := draw(rand.New(rand.NewPCG(3, 3)), 40, 3, 1000, 10, 0)
	sum, err := Summarize(s, Options{Targets: []float64{0.1, 0.01}, Curve: []float64{0.1, 0.02, 1e-4}, Replicates: 100})
	if err != nil {
		t.Fatal(err)
	}
	if len(sum.OperatingPoints) != 2 || len(sum.Curve) != 2 || *sum.Curve[0].FNMR.Interval != *sum.OperatingPoints[0].FNMR.Interval {
		t.Errorf("%+v, curve %+v", sum.OperatingPoints, sum.Curve)
	}
	if c := sum.Curve[1]; c.Target != 0.02 || c.FNMR.Interval == nil {
		t.Errorf("curve %+v", c)
	}
	if len(sum.Notes) != 0 {
		t.Errorf("notes %q", sum.Notes)
	}
}

// A list that has everybody in a few comparisons is said to have wide intervals.
func TestSparseListsAreCautious(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for differents, want := range map[int]bool{100: true, 300: true, 5000: false} {
		sum, err := Summarize(draw(rng, 100, 1, differents, 0, 0), Options{Replicates: 20})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(sum.Notes, "\n"), "up to 1.7 times as wide as they need be"); got != want {
			t.Errorf("%d different-person comparisons of 100 people: %q", differents, sum.Notes)
		}
	}
}

func TestDegenerate(t *testing.T) {
	few := verification.NewScores(0, 0, 0)
	for i := range int32(9) {
		few.Add(verification.Trial{Distance: 1, Same: true, First: i, Second: i})
		few.Add(verification.Trial{Distance: 2, First: i, Second: (i + 1) % 9})
	}
	sum, err := Summarize(few, Options{Targets: []float64{0.5, 0.01}})
	if err != nil {
		t.Fatal(err)
	}
	checkSummary(t, sum)
	notes := strings.Join(sum.Notes, "\n")
	if !strings.Contains(notes, "need 10 identities, there are 9") {
		t.Errorf("notes %q", notes)
	}
	if sum.AUC.Interval != nil || sum.AUC.Value != 1 || len(sum.OperatingPoints) != 1 {
		t.Errorf("%+v", sum)
	}
	if r := sum.OperatingPoints[0].Fixed.FMR; r.Interval == nil || r.Interval.Low != 0 || math.Abs(r.Interval.High-math.Log(20)/9) > 1e-12 {
		t.Errorf("no error in 9 trials: %+v", r.Interval)
	}

	// One different-person trial: three quarters of the replicates lack it.
	rare := verification.NewScores(0, 0, 0)
	for i := range int32(30) {
		rare.Add(verification.Trial{Distance: 1, Same: true, First: i, Second: i})
	}
	rare.Add(verification.Trial{Distance: 2, First: 1, Second: 2})
	if sum, err = Summarize(rare, Options{}); err != nil {
		t.Fatal(err)
	}
	checkSummary(t, sum)
	if sum.Unused < 650 || sum.Unused > 850 || sum.AUC.Interval != nil || !strings.Contains(strings.Join(sum.Notes, ""), "are not measurable") {
		t.Errorf("%d of %d unused, %+v, %v", sum.Unused, sum.Replicates, sum.AUC, sum.Notes)
	}

	alone := verification.NewScores(0, 0, 0)
	alone.Add(verification.Trial{Distance: 1, Same: true, First: 5, Second: 5})
	alone.Add(verification.Trial{Distance: 2, First: 5, Second: 5})
	if sum, err = Summarize(alone, Options{Thresholds: []float64{1.5}}); err != nil {
		t.Fatal(err)
	}
	checkSummary(t, sum)
	if sum.Fixed[0].FMR.Interval != nil || sum.Fixed[0].FMR.Identities != 1 {
		t.Errorf("of one person: %+v", sum.Fixed[0].FMR)
	}

	equal := verification.NewScores(0, 0, 10)
	for i := range int32(100) {
		equal.Add(verification.Trial{Distance: 1, Same: true, First: i, Second: i, Fold: i % 10})
		equal.Add(verification.Trial{Distance: 1, First: i, Second: (i + 1) % 100, Fold: i % 10})
	}
	if sum, err = Summarize(equal, Options{Targets: []float64{0.1}}); err != nil {
		t.Fatal(err)
	}
	checkSummary(t, sum)
	if sum.AUC != (Figure{0.5, sum.AUC.Interval}) || *sum.AUC.Interval != (Interval{Low: 0.5, High: 0.5}) || sum.OperatingPoints[0].FNMR.Value != 1 {
		t.Errorf("all equal: %+v", sum)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	s := draw(rand.New(rand.NewPCG(1, 1)), 20, 1, 20, 0, 0)
	for name, o := range map[string]Options{
		"level":      {Level: 1},
		"level NaN":  {Level: math.NaN()},
		"target":     {Targets: []float64{0}},
		"target NaN": {Targets: []float64{math.NaN()}},
		"replicates": {Replicates: -1},
		"threshold":  {Thresholds: []float64{math.NaN()}},
	} {
		if _, err := Summarize(s, o); err == nil {
			t.Errorf("%s: %+v is taken", name, o)
		}
		if _, err := Compare(s, s, o); err == nil {
			t.Errorf("%s: %+v is taken to compare", name, o)
		}
	}
}

// On the scale of the logit the AUC is in the middle of its interval, whose width the replicates give.
func TestAreaIsInTheMiddleOfItsLogits(t *testing.T) {
	logit := func(p float64) float64 { return math.Log(p / (1 - p)) }
	r := replicates{asked: 4, values: [][][]float64{{nil, {0.98, 0.99, 0.99, 1}, nil}}} // of standard deviation √0.5 %
	f := r.area(0.99, 0.95)
	low, high := logit(f.Value)-logit(f.Interval.Low), logit(f.Interval.High)-logit(f.Value)
	want := 1.959964 * math.Sqrt(0.5) * 0.01 / (0.99 * 0.01)
	if math.Abs(low-want) > 1e-6 || math.Abs(high-want) > 1e-6 {
		t.Errorf("%v: logits reach %v and %v from the value, want %v", *f.Interval, low, high, want)
	}
	for _, value := range []float64{0, 1} {
		r.values[0][auc] = []float64{value, 0.5, value, value}
		if f := r.area(value, 0.5); f.Interval == nil || !f.Interval.Holds(value) || f.Interval.Low == f.Interval.High {
			t.Errorf("%v has the interval %v", value, f.Interval)
		}
	}
}

// A threshold's interval says how far other people would move it.
func TestCosineOfThreshold(t *testing.T) {
	got := cosine(Figure{1, &Interval{Low: 0.8, High: 1.4}})
	if got.Value != 0.5 || math.Abs(got.Interval.Low-0.3) > 1e-15 || math.Abs(got.Interval.High-0.6) > 1e-15 {
		t.Errorf("%v, %v", got.Value, got.Interval)
	}
}
