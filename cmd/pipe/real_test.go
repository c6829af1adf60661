package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// All of LFW, from photographs to the figures that an independent implementation found
// with the same detector and models (accuracy in percent, TAR at FAR 1e-3): a fault in
// decoding, detection, alignment, preprocessing or the protocol moves at least one.
func TestRealLFW(t *testing.T) {
	data := os.Getenv("PIPE_REAL_DATA")
	if data == "" {
		t.Skip("PIPE_REAL_DATA names no folder of real photographs")
	}
	data, err := filepath.Abs(data)
	if err != nil {
		t.Fatal(err)
	}
	model := func(name string) string { return filepath.Join(data, "models", name+".onnx") }
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
