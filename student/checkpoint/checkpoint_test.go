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
	"facepipe/internal/seal"
	"facepipe/student/net"
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
	// best.json is for people.
	if err := os.WriteFile(BestFile(run), []byte(`{"file": "`+Name(3)+`", "step": 3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if path, err := BestOf(run); err != nil || filepath.Base(path) != Name(1) {
		t.Errorf("the best is %s, %v", path, err)
	}
	if _, err := BestOf(saved(t, nil, 2, 1, 2)); !errors.Is(err, ErrUnusable) {
		t.Errorf("without a best: %v", err)
	}
}

// Files of users' own names are no checkpoints of the run.
func TestOtherNamesAreNotListed(t *testing.T) {
	run := saved(t, nil, 9, 1)
	for _, name := range []string{"step-000000001-copy.safetensors", "step-9.safetensors", "step-+00000002.safetensors", "step-000000002.safetensors.bak"} {
		if err := os.WriteFile(filepath.Join(Folder(run), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := List(run); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
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
		if !errors.Is(err, ErrUnusable) || !errors.Is(err, seal.ErrDamaged) || strings.Contains(err.Error(), "delete") {
			t.Errorf("%v", err)
		}
		if told := WithAlternative(err, files[i]); strings.Contains(told.Error(), "the one before is ") != (i == 0) || strings.Contains(told.Error(), "delete") {
			t.Errorf("%v", told)
		}
		if err = WithRemedy(err, files[i]); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// ofRun is a run with a run.json, and a checkpoint that knows it.
func ofRun(t *testing.T, runFile string, at Position) (run, file string) {
	t.Helper()
	run = t.TempDir()
	text := []byte(runFile)
	if err := os.WriteFile(RunFile(run), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if at.Run == "its own" {
		at.Run = RunID(text)
	}
	if err := Save(run, safetensors.Sources(sample(at.Step)), at, 9); err != nil {
		t.Fatal(err)
	}
	return run, filepath.Join(Folder(run), Name(at.Step))
}

// No bit of a checkpoint can be another without being found, or changes nothing.
func TestEveryBitOfACheckpoint(t *testing.T) {
	_, file := ofRun(t, "{}", Position{Step: 7, Loss: 0.5, Network: "mbf", Run: "its own", Lines: 7})
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, at, err := Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			got, now, err := Parse(file, data)
			if err == nil && (!reflect.DeepEqual(got, want) || !reflect.DeepEqual(now, at)) {
				t.Fatalf("bit %d of byte %d is another, and nobody said so: %+v", bit, i, now)
			}
			if err != nil && !errors.Is(err, seal.ErrDamaged) || err != nil && !strings.Contains(err.Error(), file) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			data[i] ^= 1 << bit
		}
	}
}

// A checkpoint that was copied over another passes for neither.
func TestCheckpointsAtOthersPlaces(t *testing.T) {
	at := Position{Step: 7, Network: "mbf", Run: "its own"}
	run, file := ofRun(t, `{"options": {"seed": 1}}`, at)
	other, others := ofRun(t, `{"options": {"seed": 2}}`, at)
	copied := func(to string) string {
		data, err := os.ReadFile(file)
		if err := errors.Join(err, os.WriteFile(to, data, 0o600)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	for path, want := range map[string]string{
		copied(filepath.Join(Folder(run), Name(9))): "it is of step 7",
		copied(filepath.Join(t.TempDir(), Name(8))): "it is of step 7",
		copied(others): "it is of another run than " + RunFile(other),
		copied(filepath.Join(Folder(other), "my.state")): "it is of another run than " + RunFile(other),
		copied(filepath.Join(t.TempDir(), "best")):       "",
		copied(filepath.Join(t.TempDir(), Name(7))):      "",
		file: "",
	} {
		_, _, err := Read(path)
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrUnusable) || !errors.Is(err, seal.ErrDamaged) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if err := os.Remove(RunFile(run)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(file); err != nil {
		t.Errorf("a folder without run.json: %v", err)
	}
}

// A checkpoint of an older version does not know its run, but what it trained on what.
func TestOlderCheckpointsAreComparedByWhatTheySay(t *testing.T) {
	const runFile = `{"options": {"student": "mbf", "size": {"dim": 512, "width": 1}},
		"dataset_digest": "d", "crops_digest": "c", "teacher_fingerprint": "f"}`
	of := Position{Network: "mbf", Size: net.Config{Dim: 512, Width: 1}, Dataset: "grown by rejects", CropsDigest: "c", Fingerprint: "f"}
	for name, c := range map[string]struct {
		change func(*Position)
		want   string
	}{
		"of the run":         {func(*Position) {}, ""},
		"says nothing":       {func(at *Position) { *at = Position{} }, ""},
		"no digest of crops": {func(at *Position) { at.Dataset, at.CropsDigest = "d", "" }, ""},
		"network":            {func(at *Position) { at.Network = "r50" }, "its network is r50, that of the run mbf"},
		"length":             {func(at *Position) { at.Size.Dim = 128 }, "its embedding's length is 128"},
		"width":              {func(at *Position) { at.Size.Width = 0.5 }, "its width is 0.5, that of the run 1"},
		"crops":              {func(at *Position) { at.CropsDigest = "x" }, "its dataset is x, that of the run c"},
		"dataset":            {func(at *Position) { at.CropsDigest = "" }, "its dataset is grown by rejects, that of the run d"},
		"teacher":            {func(at *Position) { at.Fingerprint = "x" }, "its teacher is x, that of the run f"},
	} {
		at := of
		c.change(&at)
		_, file := ofRun(t, runFile, at)
		if _, _, err := Read(file); c.want == "" && err != nil || c.want != "" && (!errors.Is(err, seal.ErrDamaged) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// What run.json says is believed if its digest fits, or if it is of before it had one.
func TestRunFiles(t *testing.T) {
	whole, err := seal.Encode(struct {
		Crops int `json:"crops"`
	}{40})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text         string
		sealed, fine bool
	}{
		"sealed":        {string(whole), true, true},
		"older":         {"{\"crops\": 40}\n", false, true},
		"another value": {strings.Replace(string(whole), "40", "41", 1), false, false},
		"cut":           {string(whole[:len(whole)-2]), false, false},
		"empty":         {"", false, false},
	} {
		path := RunFile(t.TempDir())
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, sealed, err := ReadRunFile(path)
		if c.fine && (err != nil || sealed != c.sealed) {
			t.Errorf("%s: %v, %v", name, sealed, err)
		}
		if !c.fine && (!errors.Is(err, seal.ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "from a copy")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
