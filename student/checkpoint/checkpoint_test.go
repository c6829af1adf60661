package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/safetensors"
)

// sample are the tensors of a checkpoint; step makes them differ.
func sample(step int) map[string]safetensors.Tensor {
	return map[string]safetensors.Tensor{
		ParamPrefix + "w":   {Shape: []int{2}, Float32: []float32{float32(step), -1}},
		AveragePrefix + "w": {Shape: []int{2}, Float32: []float32{float32(step) / 2, -1}},
		GuardName:           {Shape: []int{1}, Float64: []float64{0.1}},
	}
}

func saved(t *testing.T, best *Best, keep int, steps ...int) (run string) {
	t.Helper()
	run = t.TempDir()
	for _, step := range steps {
		if err := Save(run, safetensors.Sources(sample(step)), Position{Step: step, Best: best}, keep); err != nil {
			t.Fatal(err)
		}
	}
	return run
}

func TestRoundTrip(t *testing.T) {
	run := saved(t, nil, 9, 7, 123456789)
	path, err := Newest(run)
	if err != nil || filepath.Base(path) != "step-123456789.safetensors" {
		t.Fatal(path, err)
	}
	tensors, at, err := Read(path)
	if err != nil || at.Step != 123456789 || at.Version != Version || !reflect.DeepEqual(tensors, sample(123456789)) {
		t.Errorf("%+v, %v", at, err)
	}
	for last, want := range map[bool]float32{false: 123456789.0 / 2, true: 123456789} {
		if w, averaged := Weights(tensors, last); averaged == last || w["w"].Data[0] != want || len(w) != 1 {
			t.Errorf("last %v: %+v, averaged %v", last, w, averaged)
		}
	}
}

// The newest stay, and the best.
func TestPrune(t *testing.T) {
	run := saved(t, &Best{Step: 1, Figure: "auc", Value: 0.5}, 2, 1, 2, 3, 4)
	files, err := List(run)
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	if want := []string{Name(4), Name(3), Name(1)}; !slices.Equal(files, want) {
		t.Errorf("%v stay, want %v", files, want)
	}
	if path, err := BestOf(run); err != nil || filepath.Base(path) != Name(1) {
		t.Errorf("the best is %s, %v", path, err)
	}
	if err := NoteBest(run, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := BestOf(run); !errors.Is(err, ErrUnusable) {
		t.Errorf("without a best: %v", err)
	}
}

// A damaged file is told with what can be done; whoever only reads it is not told to delete.
func TestDamage(t *testing.T) {
	run := saved(t, nil, 9, 1, 2)
	files, err := List(run)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"go on from the one before, " + Name(1), "begin anew"} {
		data, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-1] ^= 1
		_, _, err = Parse(files[i], data)
		if !errors.Is(err, ErrUnusable) || strings.Contains(err.Error(), "delete") {
			t.Errorf("%v", err)
		}
		if err = WithRemedy(err, files[i]); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
