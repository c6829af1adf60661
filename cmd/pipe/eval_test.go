package main

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"facepipe/eval"
	"facepipe/eval/protocol"
	"facepipe/internal/imgcodec"
	"facepipe/internal/pickle/pickletest"
	"facepipe/internal/synthface"
)

// binFile writes a verification set of aligned faces, the pairs of pairsFile.
func binFile(t *testing.T, name string, people, shots int) string {
	t.Helper()
	draw := synthface.New(1)
	face := func(person, shot int) []byte {
		img, _ := draw.Aligned(person, shot, synthface.DefaultHard)
		return imgcodec.EncodePNG(img)
	}
	var images [][]byte
	var same []bool
	for i := range people {
		for j := 1; j < shots; j++ {
			images = append(images, face(i, 0), face(i, j), face(i, 0), face((i+1)%people, j))
			same = append(same, true, false)
		}
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pickletest.Dialects()[0].Dump(images, same), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// models are those of a report, by name and test.
func modelsOf(t *testing.T, report map[string]any) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, m := range report["models"].([]any) {
		m := m.(map[string]any)
		test, _ := m["test"].(string)
		all[strings.TrimSpace(filepath.Base(m["model"].(string))+" "+test)] = m
	}
	return all
}

// sameFigures compares what a report says of two subjects.
func sameFigures(t *testing.T, what string, a, b map[string]any, tolerance float64) {
	t.Helper()
	for _, key := range []string{"pairs", "accuracy", "auc", "eer", "threshold"} {
		if x, y := number(t, a, key), number(t, b, key); math.Abs(x-y) > tolerance {
			t.Errorf("%s: %s is %v and %v", what, key, x, y)
		}
	}
}

// A .bin file gives the figures that the dataset of its faces and the list of its pairs give, and
// with others the report tells them apart. What is no set stops nothing.
func TestEvalOfBins(t *testing.T) {
	dataset, model, lfw, more := ingestAligned(t, 4, 4), tinyTeacher(t), binFile(t, "lfw.bin", 4, 4), binFile(t, "cfp_fp.bin", 5, 3)
	listed := expect(t, exitDone, "eval", "--model", model, "--dataset", dataset, "--pairs", pairsFile(t, 4, 4), "--json").object(t)
	want := listed["models"].([]any)[0].(map[string]any)
	alone := expect(t, exitDone, "eval", "--model", model, "--bin", lfw, "--json").object(t)
	sameFigures(t, "alone", modelsOf(t, alone)["tiny.onnx"], want, 0)
	if d := alone["dataset"].(map[string]any); d["kind"] != "bin" || len(d["digest"].(string)) != 64 || number(t, d, "rows") != 16 || alone["tests"] != nil {
		t.Errorf("dataset %v", d)
	}

	page := filepath.Join(t.TempDir(), "agedb.bin")
	writeFile(t, page, "<!DOCTYPE html><title>Sign in</title>")
	out := filepath.Join(t.TempDir(), "report")
	o := expect(t, exitFailed, "eval", "--model", model, "--dataset", dataset, "--pairs", pairsFile(t, 4, 4), "--bin", lfw, "--bin", more, "--bin", page, "--out", out, "--json")
	if !strings.Contains(o.stderr, "agedb.bin: is a web page") {
		t.Errorf("stderr %s", o.stderr)
	}
	report := o.object(t)
	models := modelsOf(t, report)
	sameFigures(t, "with others", models["tiny.onnx lfw"], want, 0)
	sameFigures(t, "the list", models["tiny.onnx pairs"], want, 0)
	var names []string
	for _, test := range report["tests"].([]any) {
		names = append(names, test.(map[string]any)["name"].(string))
	}
	if !slices.Equal(names, []string{"pairs", "lfw", "cfp_fp"}) || number(t, models["tiny.onnx cfp_fp"], "pairs") != 20 {
		t.Errorf("tests %v, models %v", names, models)
	}
	if failed := report["failed"].([]any)[0].(map[string]any); failed["model"] != page || failed["test"] != "agedb" {
		t.Errorf("failed %v", failed)
	}
	text, err := os.ReadFile(filepath.Join(out, "report.md"))
	if err != nil || !strings.Contains(string(text), "tiny.onnx on cfp_fp") {
		t.Errorf("report.md (%v): %s", err, text)
	}
}

// Of several lists each is a test.
func TestEvalOfLists(t *testing.T) {
	dataset, model := ingestAligned(t, 4, 4), tinyTeacher(t)
	r := expect(t, exitDone, "eval", "--model", model, "--dataset", dataset, "--pairs", pairsFile(t, 4, 4), "--pairs", pairsFile(t, 4, 3), "--json").object(t)
	models := modelsOf(t, r)
	if number(t, models["tiny.onnx pairs"], "pairs") != 24 || number(t, models["tiny.onnx pairs-2"], "pairs") != 16 {
		t.Errorf("models %v", models)
	}
}

// Drawn pairs are written, and the file gives the same figures.
func TestEvalAuto(t *testing.T) {
	dataset := ingestAligned(t, 12, 3)
	model := precompute(t, dataset)
	out := filepath.Join(t.TempDir(), "report")
	args := []string{"eval", "--model", model, "--dataset", dataset, "--json"}
	for _, hard := range [][]string{nil, {"--hard", "tiny", "--auto-pairs", "60"}} {
		out += "x"
		drawn := expect(t, exitDone, append(append(args, "--pairs", "auto", "--out", out), hard...)...).object(t)
		list := filepath.Join(out, "pairs.txt")
		read := expect(t, exitDone, append(args, "--pairs", list)...).object(t)
		sameFigures(t, "drawn and read", modelsOf(t, drawn)["tiny.onnx"], modelsOf(t, read)["tiny.onnx"], 0)
		d := drawn["pairs"].(map[string]any)
		if d["path"] != list || d["format"] != "auto" || d["digest"] != read["pairs"].(map[string]any)["digest"] || drawn["fold_rule"] != "declared" || drawn["fold_rule"] != read["fold_rule"] {
			t.Errorf("%v, read %v", d, read["pairs"])
		}
	}
	o := expect(t, exitFailed, "eval", "--model", model, "--dataset", ingestAligned(t, 2, 4), "--pairs", "auto")
	if !strings.Contains(o.stderr, "8 images of 2 identities, 2 of which have two or more") {
		t.Errorf("two people: %s", o.stderr)
	}
}

// What a model says, its cache says, and files of its embeddings say.
func TestEvalOfSubjects(t *testing.T) {
	dataset := ingestAligned(t, 4, 4)
	model := precompute(t, dataset)
	pairs, dir := pairsFile(t, 4, 4), t.TempDir()
	args := []string{"eval", "--model", model, "--teacher", "tiny", "--dataset", dataset, "--pairs", pairs}
	var files []string
	for _, ending := range []string{".npy", ".csv", ".arrow"} {
		file := filepath.Join(dir, "e"+ending)
		s := expect(t, exitDone, "embed", "--model", model, "--dataset", dataset, "--flip", "--out", file, "--json").object(t)
		if number(t, s, "rows") != 16 || number(t, s, "dim") != 192 || len(s["unusable"].([]any)) != 0 {
			t.Errorf("embedded %v", s)
		}
		files = append(files, file)
		args = append(args, "--embeddings", file)
	}
	out, scores := filepath.Join(dir, "report"), filepath.Join(dir, "scores.csv")
	report := expect(t, exitDone, append(args, "--out", out, "--scores", scores, "--json")...).object(t)
	models := modelsOf(t, report)
	want := models["tiny.onnx"]
	sameFigures(t, "the cache", models["tiny"], want, 1e-3)
	if notes, _ := json.Marshal(models["tiny"]["notes"]); models["tiny"]["kind"] != "teacher" || !strings.Contains(string(notes), "half precision") {
		t.Errorf("the cache: %s", notes)
	}
	for _, name := range []string{"e.npy", "e.csv", "e.arrow"} {
		sameFigures(t, name, models[name], want, 0)
	}
	checkScores(t, scores, 24, []string{model, "tiny", files[0], files[1], files[2]})
	checkWorst(t, out, want, 5)

	alone := expect(t, exitDone, "eval", "--embeddings", files[2], "--embeddings", files[1], "--pairs", pairs, "--json").object(t)
	sameFigures(t, "without a dataset", modelsOf(t, alone)["e.csv"], want, 0)
	drawn := expect(t, exitDone, "eval", "--embeddings", files[1], "--pairs", "auto", "--json").object(t)
	if drawn["pairs"].(map[string]any)["format"] != "auto" {
		t.Errorf("drawn from a file's identities: %v", drawn["pairs"])
	}

	text, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	short := filepath.Join(dir, "short.csv")
	writeFile(t, short, strings.Join(lines[:len(lines)-2], ""))
	o := expect(t, exitFailed, "eval", "--embeddings", short, "--model", model, "--dataset", dataset, "--pairs", pairs, "--json")
	if !strings.Contains(o.stderr, "it lacks the embeddings of 1 of 16 faces: person_03/03.png") || len(o.object(t)["models"].([]any)) != 1 {
		t.Errorf("a row is missing: %s", o.stderr)
	}
	nan := filepath.Join(dir, "nan.csv")
	row := strings.Split(lines[1], ",")
	row[5] = "nan"
	lines[1] = strings.Join(row, ",")
	writeFile(t, nan, strings.Join(lines, ""))
	if o := expect(t, exitFailed, "eval", "--embeddings", nan, "--dataset", dataset, "--pairs", pairs); !strings.Contains(o.stderr, "1 of 16 embeddings are zero or not finite") || !strings.Contains(o.stderr, "person_00/00.png") {
		t.Errorf("NaN: %s", o.stderr)
	}
}

// checkScores wants a line for each comparison, with a cosine of each subject.
func checkScores(t *testing.T, path string, pairs int, subjects []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 1+pairs || !slices.Equal(lines[0], append([]string{"test", "first", "second", "same", "fold"}, subjects...)) {
		t.Fatalf("%d lines, the first %v (%v)", len(lines), lines[0], err)
	}
	for i, line := range lines[1:] {
		first, err := strconv.ParseFloat(line[5], 64)
		last, errLast := strconv.ParseFloat(line[len(line)-1], 64)
		if err != nil || errLast != nil || math.Abs(first) > 1 || math.Abs(first-last) > 1e-6 || line[3] != strconv.Itoa(1-i%2) || line[4] == "" {
			t.Errorf("line %d: %v", i+1, line)
		}
	}
}

// checkWorst wants errors with what each subject says and with their crops.
func checkWorst(t *testing.T, out string, m map[string]any, subjects int) {
	t.Helper()
	worst := m["worst"].(map[string]any)
	n := 0
	for _, kind := range []string{"false_accepts", "false_rejects"} {
		limit := number(t, worst, "threshold_cosine")
		for _, e := range worst[kind].([]any) {
			e := e.(map[string]any)
			cosines := e["cosines"].([]any)
			if own := cosines[0].(float64); len(cosines) != subjects || own > limit != (kind == "false_accepts") {
				t.Errorf("%s at %v: %v", kind, limit, e)
			}
			for _, side := range []string{"first_face", "second_face"} {
				data, err := os.ReadFile(filepath.Join(out, e[side].(string)))
				if err != nil || imgcodec.Sniff(data) != imgcodec.JPEG {
					t.Errorf("%s %v: %v", side, e[side], err)
				}
			}
			n++
		}
	}
	if n == 0 {
		t.Error("no error is shown")
	}
}

// A protocol that needs whole sets takes embeddings out of a cache, which another run fills.
func TestEvalOfWholeSets(t *testing.T) {
	dataset, model := ingestAligned(t, 4, 4), tinyTeacher(t)
	o := evalOptions{}
	o.Dataset, o.Models, o.Preprocess, o.Flip = dataset, []string{model}, "auto", true
	o.Runtime.Library = os.Getenv("PIPE_ONNXRUNTIME")
	kind := protocol.Pairs
	kind.WholeSet = true
	o.Tests = append(o.Tests, eval.Test{Protocol: kind, List: pairsFile(t, 4, 4)})
	var progress strings.Builder
	o.Progress = &progress
	if err := o.fillCaches(t.Context()); err != nil {
		t.Fatal(err)
	}
	name := o.Cached[model]
	if !strings.HasPrefix(name, "eval-") {
		t.Fatalf("cached as %v", o.Cached)
	}
	r, err := eval.Run(t.Context(), o.Options)
	if err != nil || r.Models[0].Model != model || r.Models[0].Kind != "teacher" || len(r.Models[0].Notes) != 0 {
		t.Errorf("%+v (%v)", r.Models, err)
	}
	want := expect(t, exitDone, "eval", "--model", model, "--dataset", dataset, "--pairs", o.Tests[0].List, "--json").object(t)
	if got := r.Models[0].AUC; got != number(t, modelsOf(t, want)["tiny.onnx"], "auc") {
		t.Errorf("AUC %v out of the cache", got)
	}
	shard := filepath.Join(dataset, "teachers", name, "000000.arrow")
	before, err := os.Stat(shard)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.fillCaches(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(shard); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("embedded again (%v)", err)
	}
	bin := o
	bin.Tests = append(slices.Clone(o.Tests), eval.Test{Bin: binFile(t, "lfw.bin", 4, 4)})
	if r, err := eval.Run(t.Context(), bin.Options); err != nil || len(r.Models) != 2 || r.Models[1].Kind != "" || r.Models[1].AUC != r.Models[0].AUC {
		t.Errorf("with a set that has no cache: %+v (%v)", r.Models, err)
	}
	o.Flip = false
	if err := o.fillCaches(t.Context()); err != nil || o.Cached[model] == name {
		t.Errorf("without mirror images: %v (%v)", o.Cached, err)
	}
}

func TestEmbed(t *testing.T) {
	model, folder, dir := tinyTeacher(t), alignedFaces(t, 3, 3), t.TempDir()
	crops := expect(t, exitDone, "embed", "--model", model, "--folder", folder, "--out", filepath.Join(dir, "folder.csv"), "--json").object(t)
	bin := expect(t, exitDone, "embed", "--model", model, "--bin", binFile(t, "lfw.bin", 3, 3), "--out", filepath.Join(dir, "bin.npy"), "--json").object(t)
	if number(t, crops, "rows") != 9 || number(t, bin, "rows") != 9 || bin["keys"] != filepath.Join(dir, "bin.npy.keys.txt") {
		t.Errorf("%v and %v", crops, bin)
	}
	text, err := os.ReadFile(filepath.Join(dir, "folder.csv"))
	if err != nil || !strings.Contains(string(text), "\nperson_01/02.png,person_01,") {
		t.Errorf("%s (%v)", text, err)
	}
	savePNG(t, filepath.Join(folder, "person_01", "wide.png"), imgcodec.NewImage(120, 112))
	o := expect(t, exitFailed, "embed", "--model", model, "--folder", folder, "--out", filepath.Join(dir, "more.npy"))
	if !strings.Contains(o.stderr, "wide.png: is 120 x 112 pixels, and aligned crops are square and of one size") {
		t.Errorf("another size: %s", o.stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*more*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestEvalUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"--megaface or --bin is missing":           {"eval", "--model", "m.onnx"},
		"no model is named":                        {"eval", "--bin", "a.bin"},
		"--dataset is missing":                     {"eval", "--model", "m.onnx", "--pairs", "p.txt"},
		"--dataset has no say":                     {"eval", "--model", "m.onnx", "--dataset", "d", "--bin", "a.bin"},
		"--hard needs --pairs auto":                {"eval", "--model", "m.onnx", "--dataset", "d", "--pairs", "p.txt", "--hard", "t"},
		"a.bin is named twice":                     {"eval", "--model", "m.onnx", "--bin", "a.bin", "--bin", "a.bin"},
		"not of a .bin file: ingest that first":    {"eval", "--teacher", "t", "--bin", "a.bin"},
		"known by numbers, which may be another's": {"eval", "--embeddings", "e.npy", "--bin", "a.bin", "--bin", "b.bin"},
		"by one of --dataset, --bin and --folder":  {"embed", "--model", "m.onnx", "--out", "e.npy"},
		"--out e.pkl ends in none of .npy":         {"embed", "--model", "m.onnx", "--out", "e.pkl", "--bin", "a.bin"},
		"--detector needs --folder":                {"embed", "--model", "m.onnx", "--out", "e.npy", "--bin", "a.bin", "--detector", "scrfd=x"},
	} {
		if o := expect(t, exitUsage, args...); !strings.Contains(o.stderr, want) {
			t.Errorf("%v: %s, want %q", args, o.stderr, want)
		}
	}
}
