package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/pickle/pickletest"
)

// realData is the folder of real photographs, and the paths of the models in it.
func realData(t *testing.T) (data string, model func(name string) string) {
	t.Helper()
	data = os.Getenv("PIPE_REAL_DATA")
	if data == "" {
		t.Skip("PIPE_REAL_DATA names no folder of real photographs")
	}
	data, err := filepath.Abs(data)
	if err != nil {
		t.Fatal(err)
	}
	return data, func(name string) string { return filepath.Join(data, "models", name+".onnx") }
}

// All of LFW, from photographs to the figures that an independent implementation found
// with the same detector and models (accuracy in percent, TAR at FAR 1e-3): a fault in
// decoding, detection, alignment, preprocessing or the protocol moves at least one.
func TestRealLFW(t *testing.T) {
	data, model := realData(t)
	dataset := filepath.Join(t.TempDir(), "lfw.ds")
	summary := expect(t, exitDone, "ingest", "--json", "--source", "folder="+filepath.Join(data, "lfw", "images"),
		"--detector", "scrfd="+model("scrfd_2.5g_bnkps"), "--out", dataset).object(t)
	if written, rejected := number(t, summary, "written"), number(t, summary, "rejected"); written != 7701 || rejected != 0 {
		t.Errorf("%g written, %g rejected", written, rejected)
	}
	report := expect(t, exitDone, "eval", "--json", "--dataset", dataset, "--no-flip",
		"--pairs", filepath.Join(data, "lfw", "pairs.txt"), "--model", model("w600k_mbf"), "--model", model("mbf_y1")).object(t)
	near := func(m map[string]any, figure string, got, want, tolerance float64) {
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s: %s is %.5f, want %g ± %g", m["model"], figure, got, want, tolerance)
		}
	}
	models := report["models"].([]any)
	w600k, y1 := models[0].(map[string]any), models[1].(map[string]any)
	near(w600k, "accuracy in percent", 100*number(t, w600k, "accuracy"), 99.52, 0.15)
	near(w600k, "TAR at FAR 1e-3", number(t, w600k["tar_at_far"].(map[string]any), "1e-3"), 0.992, 0.003)
	near(y1, "accuracy in percent", 100*number(t, y1, "accuracy"), 99.37, 0.15)
}

// Pairs drawn from aligned faces of 24 people and the .bin of the same pairs give one figure, which
// is that of a good model.
func TestRealAutoAndBin(t *testing.T) {
	data, model := realData(t)
	dataset, out := filepath.Join(t.TempDir(), "glint.ds"), filepath.Join(t.TempDir(), "report")
	photos := filepath.Join(data, "glint24")
	expect(t, exitDone, "ingest", "--source", "folder="+photos, "--out", dataset, "--max-reject-rate", "1")
	drawn := expect(t, exitDone, "eval", "--json", "--dataset", dataset, "--pairs", "auto", "--auto-pairs", "120", "--out", out, "--model", model("w600k_mbf"))
	want := drawn.object(t)["models"].([]any)[0].(map[string]any)
	if accuracy := number(t, want, "accuracy"); accuracy < 0.95 {
		t.Errorf("accuracy %g", accuracy)
	}
	text, err := os.ReadFile(filepath.Join(out, "pairs.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var images [][]byte
	var same []bool
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		columns := strings.Split(line, "\t")
		for _, key := range columns[:2] {
			image, err := os.ReadFile(filepath.Join(photos, key))
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, image)
		}
		same = append(same, columns[2] == "1")
	}
	bin := filepath.Join(t.TempDir(), "glint.bin")
	if err := os.WriteFile(bin, pickletest.Dialects()[0].Dump(images, same), 0o644); err != nil {
		t.Fatal(err)
	}
	got := expect(t, exitDone, "eval", "--json", "--bin", bin, "--model", model("w600k_mbf")).object(t)["models"].([]any)[0].(map[string]any)
	for _, key := range []string{"pairs", "auc", "eer"} {
		if number(t, got, key) != number(t, want, key) {
			t.Errorf("%s is %v of the .bin, %v of the dataset", key, got[key], want[key])
		}
	}
}

// What a teacher said of real faces is what it says again: to the last digits in fp32,
// whatever the batch and the threads, and but for rounding in fp16. Another model is told.
func TestRealReplay(t *testing.T) {
	data, model := realData(t)
	everyone, photos := filepath.Join(data, "lfw", "images"), filepath.Join(t.TempDir(), "photos")
	people, err := os.ReadDir(everyone)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(people); i += 33 {
		name := people[i].Name()
		if err := os.CopyFS(filepath.Join(photos, name), os.DirFS(filepath.Join(everyone, name))); err != nil {
			t.Fatal(err)
		}
	}
	dataset := filepath.Join(t.TempDir(), "lfw.ds")
	if rows := number(t, expect(t, exitDone, "ingest", "--json", "--source", "folder="+photos,
		"--detector", "scrfd="+model("scrfd_2.5g_bnkps"), "--out", dataset).object(t), "rows"); rows < 200 {
		t.Fatalf("%g crops", rows)
	}
	precompute := func(name string, more ...string) map[string]any {
		t.Helper()
		return expect(t, exitDone, append([]string{"precompute-teacher", dataset, "--teacher", model("w600k_mbf"), "--name", name, "--json"}, more...)...).object(t)
	}
	replay := func(name string) map[string]any {
		t.Helper()
		o := expect(t, exitDone, "check", dataset, "--replay", "200", "--teacher", name, "--model", model("w600k_mbf"), "--batch", "3", "--threads", "1", "--json")
		r := o.object(t)["replay"].(map[string]any)
		if r["ok"] != true || number(t, r, "compared") != 200 || number(t, r, "changed") != 0 {
			t.Errorf("%s: %v", name, r)
		}
		return r
	}
	test := precompute("full", "--dtype", "fp32")["self_test"].(map[string]any)
	if chosen := test["contracts"].([]any)[0].(map[string]any); number(t, test, "best") != 0 || chosen["name"] != "RGB /127.5" {
		t.Errorf("self-test: %v", test)
	}
	if r := replay("full"); number(t, r, "min_cosine") < 0.9999 || r["fp16_drift"] != nil {
		t.Errorf("fp32: %v", r)
	}
	computed := precompute("half", "--no-self-test")["fp16_drift"].(map[string]any)
	r := replay("half")
	drift := r["fp16_drift"].(map[string]any)
	for _, d := range []map[string]any{computed, drift} {
		if low := number(t, d, "min_cosine"); low < 0.999999 || low >= 1 {
			t.Errorf("half precision turns embeddings by %v", d)
		}
	}
	if off := math.Abs(number(t, r, "min_cosine") - number(t, drift, "min_cosine")); off > 1e-6 {
		t.Errorf("fp16 is %g off more than by rounding: %v", off, r)
	}
	for _, name := range []string{"full", "half"} {
		o := expect(t, exitFailed, "check", dataset, "--replay", "200", "--teacher", name, "--model", model("mbf_y1"))
		if want := fmt.Sprintf("teacher %s was made with w600k_mbf.onnx", name); !strings.Contains(o.stderr, want) || !strings.Contains(o.stderr, "mbf_y1.onnx is another model") {
			t.Errorf("another model: %s", o.stderr)
		}
	}
}
