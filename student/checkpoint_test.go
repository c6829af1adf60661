package student

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/student/checkpoint"
)

// scored gives a run a validation whose figures are these, epoch after epoch. It is
// stopped during the validations that cancel is called for.
func scored(t *testing.T, o *Options, figures []float64) *[]int {
	t.Helper()
	ds, err := store.Open(o.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	asked := new([]int)
	o.Validation = &Validation{Dataset: ds, Crops: []store.Location{ds.Locate(0)}, Better: map[string]int{"accuracy": 1, "eer": -1},
		Score: func([][]float32) (map[string]float64, error) {
			*asked = append(*asked, len(*asked))
			v := figures[len(*asked)-1]
			return map[string]float64{"accuracy": v, "eer": 1 - v}, nil
		}}
	return asked
}

func names(t *testing.T, o Options) []string {
	t.Helper()
	files, err := checkpoint.List(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}

// A figure that is no number does not end the run, and is not the best.
func TestFigureThatIsNoNumber(t *testing.T) {
	o := options(t, fixture(t))
	o.KeepBest = "accuracy"
	scored(t, &o, []float64{math.NaN(), 0.5, math.NaN()})
	s, err := Distill(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if s.BestStep != 10 || len(s.Validation) != 0 {
		t.Errorf("best step %d, last figures %v", s.BestStep, s.Validation)
	}
}

// The best checkpoint outlives newer ones, and of two equals the first is it.
func TestBestCheckpointIsKept(t *testing.T) {
	dataset := fixture(t)
	for _, figure := range []string{"accuracy", "eer"} {
		o := options(t, dataset)
		o.Epochs, o.KeepCheckpoints, o.KeepBest = 4, 1, figure
		scored(t, &o, []float64{0.5, 0.9, 0.9, 0.7})
		s, err := Distill(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(t, o); !slices.Equal(got, []string{checkpoint.Name(20), checkpoint.Name(10)}) || s.BestStep != 10 {
			t.Errorf("%s: best step %d, kept %v", figure, s.BestStep, got)
		}
		var b struct {
			File, Figure string
			Step         int
			Value        float64
		}
		if err := json.Unmarshal([]byte(read(t, o, "checkpoints/best.json")), &b); err != nil {
			t.Fatal(err)
		}
		if b.File != checkpoint.Name(10) || b.Step != 10 || b.Figure != figure {
			t.Errorf("best.json is %+v", b)
		}
	}
}

// A run that was stopped after an epoch's last step, before it was scored, scores it
// when it goes on; the metrics have every figure once.
func TestStoppedValidationIsMadeUpFor(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.KeepBest, o.Resume = 2, "accuracy", true
	asked := scored(t, &o, []float64{0.1, 0.2})
	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	stopAfter(&o, cancel, &steps, 5) // the validation finds the context cancelled
	if _, err := Distill(ctx, o); !errors.Is(err, context.Canceled) || len(*asked) != 0 {
		t.Fatalf("%v, scored %d times", err, len(*asked))
	}
	o.afterStep = nil
	s, err := Distill(t.Context(), o)
	if err != nil || s.ResumedAt != 5 || len(*asked) != 2 || s.BestStep != 10 {
		t.Fatalf("%+v, %v, scored %d times", s, err, len(*asked))
	}
	if n := strings.Count(read(t, o, "metrics.jsonl"), "val_accuracy"); n != 2 {
		t.Errorf("%d figures in the metrics", n)
	}
	// A finished run still knows its figures.
	if s, err = Distill(t.Context(), o); err != nil || s.Validation["accuracy"] != 0.2 || len(*asked) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestKeepBestIsRefused(t *testing.T) {
	o := options(t, fixture(t))
	o.KeepBest = "accuracy"
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "--val-pairs") {
		t.Errorf("without pairs: %v", err)
	}
	scored(t, &o, nil)
	o.KeepBest = "beauty"
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "[accuracy eer]") {
		t.Errorf("an unknown figure: %v", err)
	}
}
