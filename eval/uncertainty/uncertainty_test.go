package uncertainty

import (
	"math"
	"math/rand/v2"
	"testing"

	"facepipe/eval/verification"
)

// draw are trials between people with random effects of their own: of everybody's pictures so many
// same-person trials, and different-person trials of random people.
func draw(rng *rand.Rand, people, sames, differents, folds int, grain float64) *verification.Scores {
	s := verification.NewScores(people*sames, differents, folds)
	effect := make([]float64, people)
	for i := range effect {
		effect[i] = rng.NormFloat64()
	}
	distance := func(centre float64) float64 {
		d := min(max(centre+0.25*rng.NormFloat64(), 0), verification.MaxDistance)
		if grain > 0 {
			d = math.Round(d/grain) * grain
		}
		return d
	}
	fold := func() int32 {
		if folds == 0 {
			return 0
		}
		return rng.Int32N(int32(folds))
	}
	for i := range people {
		for range sames {
			s.Add(verification.Trial{Distance: distance(1 + 0.25*effect[i]), Same: true, First: int32(i), Second: int32(i), Fold: fold()})
		}
	}
	for range differents {
		i, j := rng.IntN(people), rng.IntN(people-1)
		if j >= i {
			j++
		}
		s.Add(verification.Trial{Distance: distance(2 - 0.15*(effect[i]+effect[j])), First: int32(i), Second: int32(j), Fold: fold()})
	}
	return s
}

func TestSummaryHasTheFiguresOfVerification(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	targets := []float64{1e-1, 1e-2, 1e-3, 1e-5}
	for round := range 12 {
		s := draw(rng, 30+rng.IntN(100), 1+rng.IntN(5), 500+rng.IntN(2000), []int{0, 10}[round%2], []float64{0, 0.01, 0.5}[round%3])
		want, err := verification.Plain.Evaluate(s, targets)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Summarize(s, Options{Targets: targets, Replicates: 100})
		if err != nil {
			t.Fatal(err)
		}
		if got.AUC.Value != want.AUC || got.EER.Value != want.EER || want.CrossValidation != nil && got.Accuracy.Value != want.Accuracy {
			t.Errorf("accuracy %v, AUC %v, EER %v, want %+v", got.Accuracy, got.AUC, got.EER, want)
		}
		if len(got.OperatingPoints) != len(want.OperatingPoints) {
			t.Fatalf("%d operating points, want %d", len(got.OperatingPoints), len(want.OperatingPoints))
		}
		for i, p := range want.OperatingPoints {
			q := got.OperatingPoints[i]
			if q.Threshold.Value != p.Threshold || q.FNMR.Value != q.Fixed.FNMR.Value || q.Fixed.FMR.Value != p.FAR || math.Abs(q.FNMR.Value-(1-p.TAR)) > 1e-15 {
				t.Errorf("%+v, want %+v", q, p)
			}
		}
	}
}
