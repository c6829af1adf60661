package student

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"facepipe/internal/safetensors"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/storetest"
	"facepipe/student/checkpoint"
	"facepipe/student/torch/torchtest"
)

// A run goes on with the settings that it wrote down itself, and with those it was given.
func TestResumeWithItsOwnConfig(t *testing.T) {
	given := options(t, fixture(t))
	given.Epochs, given.WarmupEpochs, given.LR = 1, -1, 0
	if _, err := Distill(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	given.Resume = true
	written := DefaultOptions()
	written.Dataset, written.Out, written.Resume = given.Dataset, given.Out, true
	if err := written.ReadFile(filepath.Join(given.Out, "distill.yaml"), nil); err != nil {
		t.Fatal(err)
	}
	if written.Flip != "on" || written.LR != 0.15 {
		t.Fatalf("the file has flip %s and rate %g", written.Flip, written.LR)
	}
	old := unsettled(t, given, read(t, given, "run.json"))
	for _, runFile := range []string{read(t, given, "run.json"), old} {
		beforeSeals(t, given, []byte(runFile))
		for name, o := range map[string]Options{"given": given, "written": written} {
			if s, err := Distill(t.Context(), o); err != nil || s.ResumedAt != 5 {
				t.Errorf("%s: %+v, %v, run.json is\n%s", name, s, err, runFile)
			}
		}
		other := written
		other.Flip = "off"
		if _, err := Distill(t.Context(), other); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "another options.flip") {
			t.Errorf("with another setting: %v", err)
		}
	}
	if !strings.Contains(old, `"flip": "auto"`) || strings.Contains(old, "crops_digest") {
		t.Errorf("what older versions wrote is\n%s", old)
	}
	unknown := strings.Replace(old, `"options": {`, `"options": {"magic": 1,`, 1)
	if err := os.WriteFile(checkpoint.RunFile(given.Out), []byte(unknown), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Distill(t.Context(), given); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("a setting of a newer version: %v", err)
	}
}

// oldLosses are the sections of a loss in run.json before it had a version: with the
// settings as they were given, 0 for the default, and as they were settled. Both have -1
// for nothing.
var oldLosses = map[string]string{
	"given": `{"name": "unified",
		"iled": {"mode": "", "weight": 0, "rho": 0, "kappa": 0, "lambda": 0, "cap": 0, "temperature": 0, "min_ratio": 0, "warmup": -1, "trim": 0},
		"rpsd": {"weight": 0, "ramp": -1, "relation": "", "bank": 24, "positives": 0, "negatives": 8, "beta": 0, "delta": -1, "max_age": 0, "ignore_above": 0},
		"margin": {"scale": 0, "margin": 0, "gradient": ""}, "classifier": ""}`,
	"settled": `{"name": "unified",
		"iled": {"mode": "threshold", "weight": 1, "rho": 0.01, "kappa": 0, "lambda": 1, "cap": 3, "temperature": 0.1, "min_ratio": 0.5, "warmup": -1, "trim": 0},
		"rpsd": {"weight": 25, "ramp": -1, "relation": "cross", "bank": 24, "positives": 4, "negatives": 8, "beta": 0.1, "delta": -1, "max_age": 0, "ignore_above": 0},
		"margin": {"scale": 64, "margin": 0.5, "gradient": "straight-through"}, "classifier": "none"}`,
}

// A run of an older version goes on by the command that began it, and by no other.
func TestOldRunGoesOn(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs = 1
	tune(&o.Loss, "{iled: {warmup: -1}, rpsd: {ramp: -1, delta: -1}}")
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	for name, section := range oldLosses {
		var m map[string]json.RawMessage
		var settings map[string]json.RawMessage
		err := json.Unmarshal([]byte(read(t, o, "run.json")), &m)
		err = errors.Join(err, json.Unmarshal(m["options"], &settings))
		settings["loss"] = json.RawMessage(section)
		m["options"], _ = json.Marshal(settings)
		delete(m, "version")
		delete(m, "seal")
		text, err2 := json.Marshal(m)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		beforeSeals(t, o, text)
		if s, err := Distill(t.Context(), o); err != nil || s.ResumedAt != 5 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		for setting, key := range map[string]string{"iled: {lambda: 0}": "iled.lambda", "iled: {warmup: 1000}": "iled.warmup", "rpsd: {delta: 0.02}": "rpsd.delta"} {
			other := o
			tune(&other.Loss, setting)
			if _, err := Distill(t.Context(), other); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "another options.loss."+key) {
				t.Errorf("%s, with %s: %v", name, setting, err)
			}
		}
	}
	newer := strings.Replace(string(unsealed(t, []byte(read(t, o, "run.json")))), "{", `{"version": 9,`, 1)
	if err := os.WriteFile(checkpoint.RunFile(o.Out), []byte(newer), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Distill(t.Context(), o); err == nil || !strings.Contains(err.Error(), "of a newer pipe") {
		t.Errorf("a newer version: %v", err)
	}
}

// unsettled is a run.json as older versions wrote it: with the options as they were given.
func unsettled(t *testing.T, o Options, text string) string {
	t.Helper()
	var m manifest
	err := json.Unmarshal([]byte(text), &m)
	m.Version, m.Options, m.CropsDigest = 0, o.recorded(), ""
	m.Options.ShuffleWindow = 0 // as then
	old, err2 := json.MarshalIndent(m, "", "  ")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return string(old)
}

// A start that is refused, by whatever, leaves the folder to the next one.
func TestRefusedStartClaimsNothing(t *testing.T) {
	dataset := fixture(t)
	garbage := filepath.Join(t.TempDir(), "garbage.onnx")
	foreign := filepath.Join(t.TempDir(), "foreign.safetensors")
	data := tensorFile(t, map[string]safetensors.Tensor{"fc": {Shape: []int{1}, Float32: []float32{1}}})
	if err := errors.Join(os.WriteFile(garbage, []byte("Dear Sir or Madam"), 0o644), os.WriteFile(foreign, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Options){
		"no engine":       func(o *Options) { o.Engine = "/no/such.so" },
		"no device":       func(o *Options) { o.Device = "cuda:99" },
		"no teacher":      func(o *Options) { o.Teacher = "" },
		"no weights":      func(o *Options) { o.Init = garbage },
		"foreign weights": func(o *Options) { o.Init = foreign },
		"no other rank": func(o *Options) {
			o.World = worker.Rank{Worker: worker.Worker{Index: 0, Count: 2}, Host: "127.0.0.1", Port: torchtest.FreePort(t)}
			o.RendezvousTimeout = time.Second
		},
	} {
		o := options(t, dataset)
		o.Epochs = 1
		bad := o
		spoil(&bad)
		if _, err := Distill(t.Context(), bad); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Stat(o.Out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the folder is left: %v", name, err)
		}
		if _, err := Distill(t.Context(), o); err != nil {
			t.Errorf("%s: the start after it: %v", name, err)
		}
	}
}

// Networks take crops of one size: those of another are refused, to train on and to score.
func TestCropsOfAnotherSize(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.ds")
	contract := store.Contract{CropSize: 160, Template: "arcface-112", Warp: "none", Decoder: "none"}
	storetest.Write(t, large, contract, 16, store.SourceInfo{Kind: "folder", Path: "p", Detector: "none"},
		[]store.Crop{storetest.Raw(contract, make([]byte, 3*160*160), "a", "A")})
	train := options(t, large)
	score := options(t, fixture(t))
	score.Validation = &Validation{Dataset: storetest.Open(t, large)}
	for name, o := range map[string]Options{"train": train, "score": score} {
		_, err := Distill(t.Context(), o)
		if !errors.Is(err, store.ErrContract) || !strings.Contains(err.Error(), "are 160x160, students take 112x112") || !strings.Contains(err.Error(), large) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Precision fp16 is tried out before the folder is claimed, where it cannot be had.
func TestRefusedPrecisionClaimsNothing(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.Precision = 1, "fp16"
	if _, err := Distill(t.Context(), o); err == nil {
		t.Skip("this libtorch has convolutions in half precision")
	} else if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "--precision bf16") {
		t.Fatal(err)
	}
	o.Precision = "bf16"
	if _, err := Distill(t.Context(), o); err != nil {
		t.Errorf("following the advice: %v", err)
	}
}

// A folder that its claim was killed in is no run's; one with a checkpoint is.
func TestHalfClaimedFolder(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs = 1
	if err := errors.Join(os.MkdirAll(o.Out, 0o755), os.WriteFile(filepath.Join(o.Out, "distill.yaml"), []byte("epochs: 9\n"), 0o644),
		os.WriteFile(filepath.Join(o.Out, ".tmp-1"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if text := read(t, o, "distill.yaml"); !strings.Contains(text, "epochs: 1\n") {
		t.Errorf("the settings are\n%s", text)
	}
	if err := os.Remove(checkpoint.RunFile(o.Out)); err != nil {
		t.Fatal(err)
	}
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "holds a run already") {
		t.Errorf("a folder with checkpoints: %v", err)
	}
}

func TestOutIsNoDataset(t *testing.T) {
	o := options(t, fixture(t))
	o.Out = o.Dataset
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "is a dataset") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.Dataset, "run.json")); err == nil {
		t.Error("a run was begun in it")
	}
}

// A run does not go on with a dataset that has grown, and says so before it says what the
// larger one lacks. What is only rejected is no growth.
func TestGrownDataset(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs = 1
	digest := func() string {
		ds, err := store.Open(o.Dataset)
		if err != nil {
			t.Fatal(err)
		}
		defer ds.Close()
		return ds.Digest()
	}
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	before := digest()
	addWaves(t, o.Dataset, 0, 0, "broken/1.jpg", "broken/2.jpg")
	rejecting := digest()
	if rejecting == before {
		t.Fatal("rejects do not change the digest")
	}
	if _, err := Distill(t.Context(), o); err != nil {
		t.Errorf("after rejects: %v", err)
	}
	var was map[string]any
	if err := json.Unmarshal([]byte(read(t, o, "run.json")), &was); err != nil {
		t.Fatal(err)
	}
	delete(was, "crops_digest")
	delete(was, "seal")
	old, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	beforeSeals(t, o, old)
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "or only what it rejected") {
		t.Errorf("after rejects, a run of an older version: %v", err)
	}

	o.Out, o.Resume = filepath.Join(t.TempDir(), "run"), false
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	addWaves(t, o.Dataset, fixtureCrops, fixtureCrops+3)
	for _, step := range []string{"without the new embeddings", "with them"} {
		_, err := Distill(t.Context(), o)
		if !errors.Is(err, ErrUsage) {
			t.Fatalf("%s: %v", step, err)
		}
		want := fmt.Sprintf("the dataset grew since: it was %s with 40 crops to train on, now it is %s with 43", rejecting, digest())
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", step, err, want)
		}
		cacheTeacher(t, o.Dataset, "t", target)
	}
}

// Where each rank normalises its own crops, their number is part of the result: it is
// written down, and a run that goes on as another number warns.
func TestRanksAreWrittenDown(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs = 1
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if text := read(t, o, "distill.yaml"); !strings.Contains(text, "\n# Trained on cpu, libtorch ") || !strings.Contains(text, ", by 1 rank.\n") {
		t.Errorf("the settings are\n%s", text)
	}
	r := run{o: o, engine: torchtest.Open(t), world: world{rank: worker.Rank{Worker: worker.Worker{Count: 2}}}}
	if text := r.circumstances(); !strings.Contains(text, "by 2 ranks: without sync_batch_norm another number gives another result") {
		t.Errorf("of two ranks: %s", text)
	}
	newestOne := newestOf(t, o)
	good, err := os.ReadFile(newestOne)
	if err != nil {
		t.Fatal(err)
	}
	byTwo := reseal(t, good, func(_ map[string]safetensors.Tensor, at *checkpoint.Position) {
		if at.Ranks != 1 {
			t.Errorf("the checkpoint is of %d ranks", at.Ranks)
		}
		at.Ranks = 2
	})
	if err := errors.Join(os.Remove(newestOne), os.WriteFile(newestOne, byTwo, 0o644)); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	o.Resume, o.Progress = true, &text
	if _, err := Distill(t.Context(), o); err != nil || !strings.Contains(text.String(), "warning: the run was on 2 ranks, and goes on by 1") {
		t.Errorf("%v:\n%s", err, text.String())
	}
}

// A run that is stopped says where in its own words.
func TestStoppedSaysWhere(t *testing.T) {
	o := options(t, fixture(t))
	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	stopAfter(&o, cancel, &steps, 3)
	if _, err := Distill(ctx, o); !errors.Is(err, context.Canceled) || err.Error() != "stopped after step 3 of 15" {
		t.Errorf("got %v", err)
	}
	o.Out = filepath.Join(t.TempDir(), "run")
	o.World = worker.Rank{Worker: worker.Worker{Index: 0, Count: 2}, Host: "127.0.0.1", Port: torchtest.FreePort(t)}
	if _, err := Distill(ctx, o); !errors.Is(err, context.Canceled) || err.Error() != "stopped before the first step" {
		t.Errorf("got %v", err)
	}
}

// The time that steps wait for their crops is in the journal and in the summary.
func TestWaitIsLogged(t *testing.T) {
	o, s := finished(t, nil)
	var last float64
	for line := range strings.Lines(read(t, o, "metrics.jsonl")) {
		var l struct {
			Seconds float64
			Wait    float64 `json:"wait_seconds"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if !(l.Wait >= last && l.Wait > 0 && l.Wait <= l.Seconds) {
			t.Fatalf("after %g s in all: %s", last, line)
		}
		last = l.Wait
	}
	if s.WaitSeconds < last || s.WaitSeconds > s.Seconds {
		t.Errorf("%g s in the journal, %g of %g s in the summary", last, s.WaitSeconds, s.Seconds)
	}
}

// Two settings are compared digit by digit: a seed of 64 bits has more of them than a float64.
func TestResumeWithAnotherLongSeed(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.Seed = 1, 1<<62
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	if _, err := Distill(t.Context(), o); err != nil {
		t.Errorf("with the same seed: %v", err)
	}
	o.Seed++
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "another options.seed") {
		t.Errorf("with another seed: %v", err)
	}
}
