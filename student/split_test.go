package student

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/storetest"
	"facepipe/student/checkpoint"
)

// splitWaves is a dataset of waves of 8 identities: the first is the split val, those after
// the second the split train.
func splitWaves(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "split.ds")
	contract := store.Contract{CropSize: 112, Template: "arcface-112", Warp: "none", Decoder: "none"}
	var crops []store.Crop
	for i := range fixtureCrops {
		id := i % 8
		c := storetest.Raw(contract, wave(i), fmt.Sprintf("%d/%d", id, i), fmt.Sprintf("id%d", id))
		c.Split = map[int]string{0: "val", 1: "other"}[id] + map[bool]string{true: "train"}[id > 1]
		crops = append(crops, c)
	}
	storetest.Write(t, dir, contract, 16, store.SourceInfo{Kind: "folder", Path: "waves", Detector: "none"}, crops)
	return dir
}

// centres are those of a run, by the shape in its newest checkpoint.
func centres(t *testing.T, o Options) []int {
	t.Helper()
	files, err := checkpoint.List(o.Out)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	tensors, _, err := checkpoint.Read(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return tensors[checkpoint.ParamPrefix+"centres.weight"].Shape
}

// A margin softmax has a centre for each identity of the split, and a run of before, which had
// one for each of the dataset, goes on with those.
func TestCentresOfTheSplit(t *testing.T) {
	o := options(t, splitWaves(t))
	o.Teacher, o.Loss.Name, o.Split, o.Epochs, o.Size.Dim = "", "arcface", "train", 1, 16
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := centres(t, o); !slices.Equal(got, []int{6, 16}) {
		t.Errorf("centres have shape %v", got)
	}

	old := o
	old.Out, old.Resume = filepath.Join(t.TempDir(), "run"), true
	var m map[string]any
	err := json.Unmarshal([]byte(read(t, o, "run.json")), &m)
	m["version"] = 2
	delete(m, "seal")
	text, err2 := json.Marshal(m)
	if err := errors.Join(err, err2, os.MkdirAll(old.Out, 0o755), os.WriteFile(checkpoint.RunFile(old.Out), text, 0o644)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Distill(t.Context(), old); err != nil {
			t.Fatal(err)
		}
	}
	if got := centres(t, old); !slices.Equal(got, []int{8, 16}) {
		t.Errorf("an older run's centres have shape %v", got)
	}

	o.Out, o.Split, o.Batch = filepath.Join(t.TempDir(), "run"), "val", 4
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "needs at least 2 identities, the split val has 1") {
		t.Errorf("a split of one identity: %v", err)
	}
}
