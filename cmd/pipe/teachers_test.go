package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"facepipe/internal/npy"
)

// listed are the names of a dataset's teachers.
func listed(t *testing.T, dataset string) string {
	t.Helper()
	var names []string
	for _, state := range expect(t, exitDone, "teachers", dataset, "--json").object(t)["teachers"].([]any) {
		names = append(names, state.(map[string]any)["name"].(string))
	}
	return strings.Join(names, " ")
}

func TestTeachers(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	if o := expect(t, exitDone, "teachers", dataset); !strings.Contains(o.stdout, "no teacher caches") {
		t.Errorf("none: %s", o.stdout)
	}
	model := precompute(t, dataset)
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model, "--name", "raw", "--preprocess", "raw", "--dtype", "fp32")
	expect(t, exitDone, "ingest", "--source", "folder="+alignedFaces(t, 4, 2), "--key-prefix", "more/", "--out", dataset)

	o := expect(t, exitDone, "teachers", dataset, "--json").object(t)
	states := o["teachers"].([]any)
	if len(states) != 2 {
		t.Fatalf("teachers are %v", o)
	}
	state := states[1].(map[string]any)
	if state["name"] != "tiny" || state["model_file"] != "tiny.onnx" || number(t, state, "rows") != 12 || number(t, state, "missing") != 2 ||
		number(t, state, "dim") != 192 || state["dtype"] != "fp16" || state["flip"] != true || number(t, state, "invalid") != 0 || number(t, state, "bytes") == 0 {
		t.Errorf("tiny is %v", state)
	}
	text := expect(t, exitDone, "teachers", dataset).stdout
	for _, want := range []string{"NAME", "tiny.onnx", "(x - [127.5 127.5 127.5]) / [127.5 127.5 127.5]", "(x - [0 0 0]) / [1 1 1]", "fp32", "RUNS", "DEVICE TIME"} {
		if !strings.Contains(text, want) {
			t.Errorf("the list lacks %q:\n%s", want, text)
		}
	}
}

func TestCompareTeachers(t *testing.T) {
	dataset := ingestAligned(t, 4, 5)
	model := precompute(t, dataset)
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model, "--name", "full", "--dtype", "fp32")
	args := []string{"teachers", "compare", dataset, "tiny", "full", "--pairs", "500"}
	o := expect(t, exitDone, append(args, "--json")...).object(t)
	if number(t, o, "pairs") != 500 || number(t, o, "same") != 250 || number(t, o, "different") != 250 || number(t, o, "spearman") < 0.999 {
		t.Errorf("fp16 and fp32 of one model: %v", o)
	}
	if full := o["teachers"].([]any)[1].(map[string]any); full["teacher"] != "full" || number(t, full, "auc") < 0.5 || number(t, full, "auc") > 1 {
		t.Errorf("full is %v", full)
	}
	if text := expect(t, exitDone, args...).stdout; !strings.Contains(text, "rank correlation") || !strings.Contains(text, "AUC") {
		t.Errorf("text is %s", text)
	}
	if o := expect(t, exitFailed, "teachers", "compare", dataset, "tiny", "none"); !strings.Contains(o.stderr, "none") {
		t.Errorf("a teacher that is not there: %s", o.stderr)
	}
}

func TestTeacherCentres(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	precompute(t, dataset)
	args := []string{"teachers", "centres", dataset, "tiny"}
	o := expect(t, exitDone, append(args, "--json")...).object(t)
	if number(t, o, "identities") != 3 || number(t, o, "rows") != 12 || number(t, o, "without_centre") != 0 || o["reused"] != false || number(t, o, "bytes") == 0 {
		t.Errorf("summary is %v", o)
	}
	if spread := number(t, o, "mean_spread"); spread <= 0 || spread >= 1 {
		t.Errorf("mean spread %v", spread)
	}
	if text := expect(t, exitDone, args...).stdout; !strings.Contains(text, "there already") {
		t.Errorf("again: %s", text)
	}
	expect(t, exitDone, append(args, "--rebuild")...)
	expect(t, exitDone, "check", dataset, "--read-data")
	expect(t, exitFailed, "teachers", "centres", dataset, "none")
	expect(t, exitDone, "ingest", "--source", "folder="+alignedFaces(t, 4, 2), "--key-prefix", "more/", "--out", dataset)
	if o := expect(t, exitFailed, args...); !strings.Contains(o.stderr, "precompute-teacher") {
		t.Errorf("of half a cache: %s", o.stderr)
	}
}

func TestKilledCentres(t *testing.T) {
	whole := ingestAligned(t, 6, 8)
	precompute(t, whole)
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		if err := os.CopyFS(dataset, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		return job{dataset, []string{"teachers", "centres", dataset, "tiny"}}
	}, sameDataset)
}

func TestTeacherNeighbours(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	precompute(t, dataset)
	args := []string{"teachers", "neighbours", dataset, "tiny"}
	o := expect(t, exitDone, append(args, "--k", "5", "--json")...).object(t)
	if number(t, o, "k") != 5 || number(t, o, "rows") != 12 || o["exact"] != true || number(t, o, "recall") != 1 || o["reused"] != false || number(t, o, "bytes") == 0 {
		t.Errorf("summary is %v", o)
	}
	if text := expect(t, exitDone, append(args, "--k", "4")...).stdout; !strings.Contains(text, "there already") || !strings.Contains(text, "each crop with all") {
		t.Errorf("again: %s", text)
	}
	for _, list := range [][]string{{"info", dataset}, {"teachers", dataset}} {
		if text := expect(t, exitDone, list...).stdout; !strings.Contains(text, "current") {
			t.Errorf("%s: %s", list, text)
		}
	}
	expect(t, exitDone, append(args, "--rebuild")...)
	expect(t, exitDone, "check", dataset, "--read-data")
	expect(t, exitFailed, "teachers", "neighbours", dataset, "none")
	expect(t, exitDone, "teachers", "drop", dataset, "tiny")
}

func TestKilledNeighbours(t *testing.T) {
	whole := ingestAligned(t, 6, 8)
	precompute(t, whole)
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		if err := os.CopyFS(dataset, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		return job{dataset, []string{"teachers", "neighbours", dataset, "tiny", "--k", "6"}}
	}, sameDataset)
}

// classifierFiles writes a matrix of the people person_00, person_01 ... as .npy.
func classifierFiles(t *testing.T, people, dim int) (matrix, names string) {
	t.Helper()
	data, list := npy.AppendHeader(nil, npy.Float16, people, dim), []byte(nil)
	for i := range people {
		for range dim {
			data = binary.LittleEndian.AppendUint16(data, 0x3c00+uint16(i%1024))
		}
		list = append(list, fmt.Sprintf("person_%02d\n", i)...)
	}
	matrix, names = filepath.Join(t.TempDir(), "weight.npy"), filepath.Join(t.TempDir(), "people.txt")
	writeFile(t, matrix, string(data))
	writeFile(t, names, string(list))
	return matrix, names
}

func TestTeacherClassifier(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	precompute(t, dataset)
	matrix, names := classifierFiles(t, 5, 192)
	args := []string{"teachers", "classifier", dataset, "tiny", "--from", matrix, "--identities", names}
	o := expect(t, exitDone, append(args, "--json")...).object(t)
	if number(t, o, "rows") != 5 || number(t, o, "dim") != 192 || number(t, o, "identities") != 3 || number(t, o, "matched") != 3 || o["dtype"] != "float16" || o["reused"] != false {
		t.Errorf("summary is %v", o)
	}
	if text := expect(t, exitDone, args...).stdout; !strings.Contains(text, "there already") || !strings.Contains(text, "3 of the dataset's 3") {
		t.Errorf("again: %s", text)
	}
	if text := expect(t, exitDone, "teachers", dataset).stdout; !strings.Contains(text, "5 classes of weight.npy") {
		t.Errorf("list: %s", text)
	}
	narrow, _ := classifierFiles(t, 5, 64)
	if o := expect(t, exitFailed, "teachers", "classifier", dataset, "tiny", "--from", narrow, "--identities", names); !strings.Contains(o.stderr, "5 x 64, the teacher has 192") {
		t.Errorf("another dimension: %s", o.stderr)
	}
	expect(t, exitDone, "check", dataset, "--read-data")
}

func TestKilledClassifier(t *testing.T) {
	whole := ingestAligned(t, 3, 4)
	precompute(t, whole)
	matrix, names := classifierFiles(t, 20000, 192)
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		if err := os.CopyFS(dataset, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		return job{dataset, []string{"teachers", "classifier", dataset, "tiny", "--from", matrix, "--identities", names}}
	}, sameDataset)
}

func TestDropTeacher(t *testing.T) {
	dataset := ingestAligned(t, 2, 4)
	model := precompute(t, dataset)
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model, "--name", "spare")
	if o := expect(t, exitDone, "teachers", "drop", dataset, "tiny", "--dry-run"); !strings.Contains(o.stdout, "would be removed") {
		t.Errorf("dry run says %s", o.stdout)
	}
	if names := listed(t, dataset); names != "spare tiny" {
		t.Errorf("after a dry run: %s", names)
	}
	dropped := expect(t, exitDone, "teachers", "drop", dataset, "tiny", "--json").object(t)
	if dropped["teacher"] != "tiny" || number(t, dropped, "files") == 0 || listed(t, dataset) != "spare" {
		t.Errorf("dropped %v, left %s", dropped, listed(t, dataset))
	}
	if o := expect(t, exitFailed, "teachers", "drop", dataset, "tiny"); !strings.Contains(o.stderr, "not found") {
		t.Errorf("dropped again: %s", o.stderr)
	}
	expect(t, exitDone, "check", dataset, "--read-data")
}

// TestKilledDrop: after a kill the cache is there or gone, and the same command removes
// what is left of it.
func TestKilledDrop(t *testing.T) {
	whole := ingestAligned(t, 6, 8)
	precompute(t, whole)
	dropped := filepath.Join(t.TempDir(), "dropped.ds")
	if err := os.CopyFS(dropped, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	duration := timed(t, "teachers", "drop", dropped, "tiny")
	for range kills(t) {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		if err := os.CopyFS(dataset, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(program, "teachers", "drop", dataset, "tiny")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(duration))
		_ = c.Process.Kill() // fails if it has just ended
		_ = c.Wait()
		left := listed(t, dataset)
		expect(t, exitDone, "check", dataset, "--read-data")
		switch o := pipe(t, "teachers", "drop", dataset, "tiny"); {
		case o.code == exitDone:
		case o.code == exitFailed && left == "" && strings.Contains(o.stderr, "not found"):
		default:
			t.Errorf("%v, left %q: then %d, %s", c.ProcessState, left, o.code, o.stderr)
		}
		sameFiles(t, dropped, dataset)
	}
}
