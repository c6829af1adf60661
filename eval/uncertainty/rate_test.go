package uncertainty

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/eval/verification"
)

// share is how many identities two trials have in common; both is so if they have the same ones.
func share(p, q verification.Trial) (common, both bool) {
	of := func(t verification.Trial) []int32 {
		ids := []int32{t.First, t.Second}
		slices.Sort(ids)
		return slices.Compact(ids)
	}
	a, b := of(p), of(q)
	return slices.ContainsFunc(a, func(id int32) bool { return slices.Contains(b, id) }), slices.Equal(a, b)
}

// plainVariance sums up over all pairs of comparisons that have an identity in common.
func plainVariance(trials []verification.Trial, isError func(verification.Trial) bool) (errors int, variance float64) {
	deviation := make([]float64, len(trials))
	for _, t := range trials {
		if isError(t) {
			errors++
		}
	}
	for i, t := range trials {
		deviation[i] = -float64(errors) / float64(len(trials))
		if isError(t) {
			deviation[i]++
		}
	}
	alike, one := 0.0, 0.0
	for i, p := range trials {
		for j, q := range trials {
			common, both := share(p, q)
			if both {
				alike += deviation[i] * deviation[j]
			} else if common {
				one += deviation[i] * deviation[j]
			}
		}
	}
	n := float64(len(trials))
	return errors, (alike + max(0, one)) / n / n
}

func TestVarianceIsTheDoubleLoop(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for range 300 {
		people := 1 + rng.IntN(8)
		s := verification.NewScores(0, 0, 0)
		var ofKind [2][]verification.Trial
		for range 2 + rng.IntN(60) {
			trial := verification.Trial{Distance: 0.5 * float64(rng.IntN(8)), First: 7 * rng.Int32N(int32(people)), Second: 7 * rng.Int32N(int32(people))}
			if trial.First == trial.Second {
				trial.Same = rng.IntN(4) > 0 // else the list contradicts itself
			}
			kind := different
			if trial.Same {
				kind = same
			}
			s.Add(trial)
			ofKind[kind] = append(ofKind[kind], trial)
		}
		thresholds := []float64{2, 0.5, 5, 1.25, 2}
		for kind, rates := range [2][]Rate{FMR(s, thresholds, 0.95), FNMR(s, thresholds, 0.95)} {
			if len(ofKind[kind]) == 0 {
				if rates != nil {
					t.Errorf("rates %v of no trials", rates)
				}
				continue
			}
			for i, threshold := range thresholds {
				errors, variance := plainVariance(ofKind[kind], func(t verification.Trial) bool { return (t.Distance < threshold) != t.Same })
				p := meet(s)
				got := spread(p.of[kind], p.count, 1, func(i int) int {
					if s.Column(kind == same).Distances[i] < threshold {
						return 0
					}
					return 1
				})[0]
				if math.Abs(got.variance-variance) > 1e-12 || rates[i].Errors != errors || rates[i].Of != len(ofKind[kind]) {
					t.Fatalf("kind %d at %v: %+v, %+v, by the double loop %d, %v", kind, threshold, got, rates[i], errors, variance)
				}
				if n := float64(len(ofKind[kind])); variance > 1e-9 {
					e := float64(errors) / n
					if want := min(e*(1-e)/variance, n); math.Abs(rates[i].Effective-want) > 1e-9*want {
						t.Errorf("effective %v, want %v", rates[i].Effective, want)
					}
				}
			}
		}
	}
}

// Of independent trials the effective number is the number.
func TestIndependentTrialsAreAllEffective(t *testing.T) {
	s := verification.NewScores(0, 0, 0)
	for i := range int32(1000) {
		s.Add(verification.Trial{Distance: float64(i % 10), Same: true, First: 2 * i, Second: 2 * i})
		s.Add(verification.Trial{Distance: float64(i % 10), First: 10_000 + 2*i, Second: 10_001 + 2*i})
	}
	for _, r := range slices.Concat(FMR(s, []float64{1, 5}, 0.95), FNMR(s, []float64{1, 5}, 0.95)) {
		if math.Abs(r.Effective-1000) > 1e-6 {
			t.Errorf("%+v, want 1000 effective trials", r)
		}
	}
	// Ten pictures of everybody that always agree are one.
	s = verification.NewScores(0, 0, 0)
	for i := range int32(1000) {
		s.Add(verification.Trial{Distance: float64(i / 10 % 10), Same: true, First: i / 10, Second: i / 10})
	}
	if r := FNMR(s, []float64{5}, 0.95)[0]; math.Abs(r.Effective-100) > 1e-6 || r.Identities != 100 {
		t.Errorf("%+v, want 100 effective trials", r)
	}
}

func TestWilson(t *testing.T) {
	for _, c := range []struct {
		errors, of       int
		effective, level float64
		low, high        float64
	}{
		// Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
		{81, 263, 263, 0.95, 0.2553, 0.3662},
		{15, 148, 148, 0.95, 0.0624, 0.1605},
		{10, 100, 100, 0.95, 0.0552, 0.1744},
		{50, 100, 100, 0.95, 0.4038, 0.5962},
		{50, 100, 25, 0.95, 0.3175, 0.6825},
		// The rule of three, and Poisson's ends.
		{0, 20, 20, 0.95, 0, 0.1498},
		{0, 3000, 300, 0.95, 0, 0.0100},
		{20, 20, 20, 0.95, 0.8502, 1},
		{1, 29, 29, 0.95, 0.0018, 0.1718},
		{28, 29, 29, 0.95, 0.8282, 0.9982},
		{0, 1, 1, 0.95, 0, 1},
		{1, 1, 1, 0.95, 0, 1},
	} {
		got := Wilson(c.errors, c.of, c.effective, c.level)
		if math.Abs(got.Low-c.low) > 6e-5 || math.Abs(got.High-c.high) > 6e-5 {
			t.Errorf("%d of %d, effective %v: %.5f to %.5f, want %v to %v", c.errors, c.of, c.effective, got.Low, got.High, c.low, c.high)
		}
	}
}

// Images of one person that have no name are of one identity.
func TestUnnamedImagesOfOnePersonAreOneIdentity(t *testing.T) {
	for _, scale := range []int32{1, -3, 40_000_000, -50_000_000} { // also numbers that are far apart
		checkUnnamed(t, scale)
	}
}

func checkUnnamed(t *testing.T, scale int32) {
	t.Helper()
	s := verification.NewScores(0, 0, 0)
	for _, pair := range [][2]int32{{10, 11}, {11, 12}, {20, 21}, {30, 30}} {
		s.Add(verification.Trial{Same: true, First: scale * pair[0], Second: scale * pair[1]})
	}
	s.Add(verification.Trial{Distance: 1, First: scale * 10, Second: scale * 20})
	s.Add(verification.Trial{Distance: 1, First: scale * 21, Second: scale * 12})
	s.Add(verification.Trial{Distance: 1, First: scale * 40, Second: scale * 30})
	p := meet(s)
	if p.count != 4 || p.met != [2]int{4, 3} {
		t.Errorf("%d identities, %v of the kinds, want 4, 4 and 3", p.count, p.met)
	}
	if x, y := p.of[different].at(0), p.of[different].at(1); x.a != y.b || x.b != y.a || x.a == x.b {
		t.Errorf("pairs %v and %v", x, y)
	}
	for i := range p.of[same].count() {
		if trial := p.of[same].at(i); trial.a != trial.b {
			t.Errorf("the trial %v of one person is of two", trial)
		}
	}
}
