package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/ort"
	"facepipe/internal/synthface"
	"facepipe/store"
)

// ingestAligned makes a dataset of aligned crops.
func ingestAligned(t *testing.T, people, shots int) (dataset string) {
	t.Helper()
	dataset = filepath.Join(t.TempDir(), "faces.ds")
	expect(t, exitDone, "ingest", "--source", "folder="+alignedFaces(t, people, shots), "--out", dataset, "--shard-rows", "8")
	return dataset
}

// precompute caches the tiny teacher's embeddings under the name tiny.
func precompute(t *testing.T, dataset string) (model string) {
	t.Helper()
	model = tinyTeacher(t)
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model, "--flip")
	return model
}

func TestIngest(t *testing.T) {
	root, landmarks := photos(t, 3, 4)
	dataset := filepath.Join(t.TempDir(), "faces.ds")
	args := []string{"ingest", "--source", "folder=" + root, "--landmarks", landmarks, "--out", dataset, "--json"}

	first := expect(t, exitDone, args...).object(t)
	for key, want := range map[string]float64{"seen": 12, "written": 12, "duplicates": 0, "rejected": 0, "rows": 12, "identities": 3} {
		if got := number(t, first, key); got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	number(t, first, "seconds")
	number(t, first, "images_per_second")

	again := expect(t, exitDone, args...).object(t)
	if number(t, again, "written") != 0 || number(t, again, "skipped") != 12 || again["digest"] != first["digest"] {
		t.Errorf("the same command again gave %v after %v", again, first)
	}

	more := expect(t, exitDone, "ingest", "--source", "folder="+alignedFaces(t, 2, 2), "--key-prefix", "more/", "--out", dataset, "--json").object(t)
	if number(t, more, "rows") != 16 || number(t, more, "identities") != 5 {
		t.Errorf("appending 4 crops of 2 people gave %v", more)
	}
	expect(t, exitDone, "check", dataset, "--read-data")
}

func TestIngestRefuses(t *testing.T) {
	root := alignedFaces(t, 2, 2)
	writeFile(t, filepath.Join(root, "person_00", "empty.jpg"), "")
	writeFile(t, filepath.Join(root, "person_00", "letter.png"), "Dear Sir or Madam")
	dataset := filepath.Join(t.TempDir(), "faces.ds")

	o := expect(t, exitRejects, "ingest", "--source", "folder="+root, "--out", dataset, "--json")
	summary := o.object(t)
	if number(t, summary, "written") != 4 || number(t, summary, "rejected") != 2 {
		t.Errorf("4 crops and 2 other files gave %v", summary)
	}
	rejects, err := os.ReadFile(filepath.Join(dataset, "rejects.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"person_00/empty.jpg", "person_00/letter.png"} {
		if !strings.Contains(string(rejects), name) {
			t.Errorf("rejects.jsonl does not name %s:\n%s", name, rejects)
		}
	}
	tolerant := filepath.Join(t.TempDir(), "faces.ds")
	expect(t, exitDone, "ingest", "--source", "folder="+root, "--out", tolerant, "--max-reject-rate", "0.5")
}

func TestIngestOfNothing(t *testing.T) {
	dataset := filepath.Join(t.TempDir(), "faces.ds")
	for _, source := range []string{t.TempDir(), "/does/not/exist"} {
		o := expect(t, exitFailed, "ingest", "--source", "folder="+source, "--out", dataset)
		if !strings.Contains(o.stderr, source) {
			t.Errorf("the message does not name the source: %s", o.stderr)
		}
		if _, err := os.Stat(dataset); !os.IsNotExist(err) {
			t.Errorf("a dataset was begun although there was nothing for it: %v", err)
		}
	}
}

func TestPrecompute(t *testing.T) {
	dataset, model := ingestAligned(t, 3, 4), tinyTeacher(t)
	args := []string{"precompute-teacher", dataset, "--teacher", model, "--flip", "--json"}

	first := expect(t, exitDone, args...).object(t)
	if first["teacher"] != "tiny" || number(t, first, "rows") != 12 || number(t, first, "computed") != 12 || number(t, first, "reused") != 0 || number(t, first, "dim") != 192 {
		t.Errorf("summary is %v", first)
	}
	again := expect(t, exitDone, args...).object(t)
	if number(t, again, "computed") != 0 || number(t, again, "reused") != 12 || again["digest"] != first["digest"] {
		t.Errorf("the same command again gave %v after %v", again, first)
	}
	o := expect(t, exitFailed, "precompute-teacher", dataset, "--teacher", model, "--name", "tiny", "--dtype", "fp32")
	if !strings.Contains(o.stderr, "fingerprint") {
		t.Errorf("another contract under the same name is refused without saying why: %s", o.stderr)
	}
	replay := expect(t, exitDone, "check", dataset, "--replay", "5", "--teacher", "tiny", "--model", model, "--json").object(t)
	if replay["ok"] != true || number(t, replay["replay"].(map[string]any), "rows") != 5 {
		t.Errorf("replay gave %v", replay)
	}
	// The only cache need not be named; of two, one must be.
	o = expect(t, exitDone, "check", dataset, "--replay", "5", "--model", model, "--batch", "3", "--threads", "1", "--provider", "cpu", "--allow-fallback")
	if !strings.Contains(o.stdout, "replayed 5 crops with tiny: cosine at least") || !strings.Contains(o.stdout, "of that fp16 alone: at least") {
		t.Errorf("a replay says %s", o.stdout)
	}
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model, "--name", "other", "--dtype", "fp32")
	if o := expect(t, exitUsage, "check", dataset, "--replay", "5", "--model", model); !strings.Contains(o.stderr, "name other or tiny with --teacher") {
		t.Errorf("a replay of one of two says %s", o.stderr)
	}
}

// What a run was made with and what it took stays with the cache, and is summed up.
func TestRunRecords(t *testing.T) {
	dataset, model := ingestAligned(t, 3, 4), tinyTeacher(t)
	o := expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model, "--metrics", "0")
	for _, want := range []string{"stages         open ", " s, self-test ", "; then read ", "cost           ", " s of devices"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("the summary lacks %q:\n%s", want, o.stdout)
		}
	}
	for _, want := range []string{"metrics on http://127.0.0.1:", "self-test: comparing 4 preprocessings on 3 faces and their mirror images", "crops/s"} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, o.stderr)
		}
	}
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model) // nothing to do
	records, err := filepath.Glob(filepath.Join(dataset, "teachers", "tiny", "runs", "*.json"))
	if err != nil || len(records) != 1 {
		t.Fatalf("records are %q, %v", records, err)
	}
	text, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	record := outcome{stdout: string(text)}.object(t)
	if record["pipe"] != version || record["ended"] != "done" || number(t, record, "computed") != 12 || number(t, record, "device_seconds") <= 0 {
		t.Errorf("recorded %v", record)
	}
	state := expect(t, exitDone, "teachers", dataset, "--json").object(t)["teachers"].([]any)[0].(map[string]any)
	runs := state["runs"].(map[string]any)
	if number(t, runs, "runs") != 1 || number(t, runs, "device_seconds") != number(t, record, "device_seconds") {
		t.Errorf("in all %v", runs)
	}
	if o := expect(t, exitDone, "info", dataset); !strings.Contains(o.stdout, "runs        1 are recorded, 12 crops computed: ") {
		t.Errorf("info says %s", o.stdout)
	}
	expect(t, exitDone, "check", dataset, "--read-data")
	writeFile(t, filepath.Join(filepath.Dir(records[0]), "0123456789abcdef.json"), string(text))
	if o := expect(t, exitDamaged, "check", dataset); !strings.Contains(o.stdout, "teachers/tiny/runs/0123456789abcdef.json") {
		t.Errorf("check says %s", o.stdout)
	}
}

// A teacher that misses its figure caches nothing.
func TestPrecomputeVerifies(t *testing.T) {
	dataset, model := ingestAligned(t, 4, 4), tinyTeacher(t)
	args := []string{"precompute-teacher", dataset, "--teacher", model, "--verify-pairs", pairsFile(t, 4, 4), "--batch", "auto", "--devices", "0", "--json"}
	o := expect(t, exitFailed, append(args, "--min-accuracy", "1")...)
	if !strings.Contains(o.stderr, "accuracy 0.") || !strings.Contains(o.stderr, model) {
		t.Errorf("the message does not tell the accuracy: %s", o.stderr)
	}
	if info := expect(t, exitDone, "info", dataset, "--json").object(t); len(info["teachers"].([]any)) != 0 {
		t.Errorf("a refused teacher left %v", info["teachers"])
	}
	// A plan for a provider that is not here is verified here.
	expect(t, exitDone, "plan", "precompute-teacher", dataset, "--teacher", model, "--verify-pairs", args[5], "--min-accuracy", "0.1",
		"--provider", "cuda", "--plan", filepath.Join(t.TempDir(), "job"))
	s := expect(t, exitDone, append(args, "--min-accuracy", "0.1")...).object(t)
	if number(t, s, "computed") != 16 || number(t, s, "batch") < 1 || number(t, s, "cpu_seconds") <= 0 || number(t, s, "device_seconds") <= 0 {
		t.Errorf("summary is %v", s)
	}
	drift := s["fp16_drift"].(map[string]any)
	if low := number(t, drift, "min_cosine"); low < 0.99999 || low > 1 {
		t.Errorf("fp16 drift is %v", drift)
	}
	if test := s["self_test"].(map[string]any); len(test["contracts"].([]any)) != 4 {
		t.Errorf("self-test is %v", test)
	}
}

func TestDoctor(t *testing.T) {
	s := expect(t, exitDone, "doctor", "--json").object(t)
	runtime := s["onnxruntime"].(map[string]any)
	if first := runtime["providers"].([]any)[0].(map[string]any); first["provider"] != "cpu" || first["usable"] != true {
		t.Errorf("providers are %v", runtime["providers"])
	}
	engine := s["engine"].(map[string]any)
	if engine["usable"] != true || s["jpeg"] == "" || engine["simd"] == "" || engine["torch"] == "" {
		t.Errorf("doctor says %v", s)
	}
	o := expect(t, exitDone, "doctor", "--onnxruntime", "/does/not/exist.so")
	for _, want := range []string{"/does/not/exist.so", "libtorch " + engine["torch"].(string), "for " + engine["simd"].(string), "gloo", "nccl"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("doctor does not say %q: %s", want, o.stdout)
		}
	}
}

func TestDoctorsPage(t *testing.T) {
	var page strings.Builder
	printHealth(&page, doctorSummary{
		ONNXRuntime: ort.State{Library: "/lib/libonnxruntime.so.1", Version: "1.24.3", Providers: []ort.ProviderState{
			{Provider: "cpu", Usable: true},
			{Provider: "cuda", Reason: "a CPU build", Remedy: "take another"},
			{Provider: "tensorrt", Reason: "a CPU build", Remedy: "take another"},
			{Provider: "coreml", Reason: "on macOS only"},
			{Provider: "migraphx", Reason: "a CPU build", Remedy: "take a third"}}},
		JPEG: "Go", Engine: engineState{Reason: "library not found; run `make engine`"}})
	const want = `ONNX Runtime     1.24.3, /lib/libonnxruntime.so.1
  cpu            usable
  cuda           no: a CPU build
  tensorrt       no, the same
  coreml         no: on macOS only
  migraphx       no: a CPU build
JPEG decoder     Go
training engine  none: library not found;
                 run ` + "`make engine`" + `

For cuda, tensorrt:
  take another.

For migraphx:
  take a third.
`
	if page.String() != want {
		t.Errorf("the page is\n%s", page.String())
	}
}

func TestReuse(t *testing.T) {
	donor, dataset, model := ingestAligned(t, 2, 4), ingestAligned(t, 3, 4), tinyTeacher(t)
	expect(t, exitDone, "precompute-teacher", donor, "--teacher", model)
	args := []string{"precompute-teacher", dataset, "--teacher", model, "--reuse", donor}
	o := expect(t, exitDone, append(args, "--json")...).object(t)
	if number(t, o, "computed") != 4 || number(t, o, "copied") != 8 || number(t, o, "reused") != 0 {
		t.Errorf("summary is %v", o)
	}
	computed := ingestAligned(t, 3, 4)
	if all := expect(t, exitDone, "precompute-teacher", computed, "--teacher", model, "--json").object(t); all["digest"] != o["digest"] {
		t.Errorf("digest %v, computing everything gives %v", o["digest"], all["digest"])
	}
	expect(t, exitDone, "check", dataset, "--read-data")
	for _, broken := range []struct {
		with string
		code int
	}{{"/does/not/exist.ds", exitFailed}, {"", exitUsage}} {
		expect(t, broken.code, "precompute-teacher", dataset, "--teacher", model, "--name", "other", "--reuse", broken.with)
	}
}

// TestReuseByANetwork: what a real network says of a crop does not depend on which others
// are in its batch, so that copying leaves the digest alone.
func TestReuseByANetwork(t *testing.T) {
	donor, dataset, computed := ingestAligned(t, 3, 3), ingestAligned(t, 5, 5), ingestAligned(t, 5, 5)
	args := func(dataset string, more ...string) []string {
		return append([]string{"precompute-teacher", dataset, "--teacher", filepath.Join("..", "..", "testdata", "teacher.onnx"), "--flip", "--dtype", "fp32", "--batch", "4", "--json"}, more...)
	}
	expect(t, exitDone, args(donor)...)
	copied, all := expect(t, exitDone, args(dataset, "--reuse", donor)...).object(t), expect(t, exitDone, args(computed)...).object(t)
	if number(t, copied, "copied") != 9 || number(t, copied, "computed") != 16 || copied["digest"] != all["digest"] {
		t.Errorf("with copies %v, computed %v", copied, all)
	}
}

func TestPrecomputeOfNoModel(t *testing.T) {
	dataset := ingestAligned(t, 1, 2)
	text := filepath.Join(t.TempDir(), "letter.onnx")
	writeFile(t, text, "Dear Sir or Madam")
	for _, model := range []string{text, "/does/not/exist.onnx"} {
		o := expect(t, exitFailed, "precompute-teacher", dataset, "--teacher", model)
		if !strings.Contains(o.stderr, model) {
			t.Errorf("the message does not name the model: %s", o.stderr)
		}
	}
	o := expect(t, exitFailed, "precompute-teacher", dataset, "--teacher", tinyTeacher(t), "--onnxruntime", "/does/not/exist.so")
	if !strings.Contains(o.stderr, "/does/not/exist.so") {
		t.Errorf("the message does not name the library: %s", o.stderr)
	}
}

// distillArgs is a run of a few seconds. One thread, since other packages' tests run
// at the same time and threads of OpenMP wait by spinning.
func distillArgs(dataset, out string, more ...string) []string {
	return append([]string{"distill", dataset, "--teacher", "tiny", "--loss", "cosine", "--width", "0.25", "--dim", "32",
		"--threads", "1", "--batch", "6", "--epochs", "2", "--warmup", "0", "--log-every", "1", "--out", out, "--resume"}, more...)
}

func TestDistill(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	precompute(t, dataset)
	out := filepath.Join(t.TempDir(), "run")
	summary := expect(t, exitDone, distillArgs(dataset, out, "--json")...).object(t)
	if number(t, summary, "steps") != 4 || number(t, summary, "epochs") != 2 {
		t.Errorf("2 epochs of 12 crops in batches of 6 gave %v", summary)
	}
	for _, key := range []string{"seconds", "wait_seconds", "images_per_second", "final_loss", "parameters"} {
		number(t, summary, key)
	}
	student, _ := summary["onnx"].(string)
	if _, err := os.Stat(student); err != nil {
		t.Fatalf("the summary's onnx: %v", err)
	}
	// What comes out is an embedder like any other.
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", student)

	into := []string{"distill", dataset, "--teacher", "tiny", "--out", dataset}
	if o := expect(t, exitUsage, into...); !strings.Contains(o.stderr, "is a dataset") {
		t.Errorf("a run in the dataset: %s", o.stderr)
	}
	o := expect(t, exitUsage, distillArgs(dataset, out, "--lr", "0.01")...)
	if !strings.Contains(o.stderr, "lr") {
		t.Errorf("resuming with another learning rate does not name it: %s", o.stderr)
	}
}

// A student leaves its run's checkpoint in other forms, and is where another run begins.
func TestExportAndInit(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	precompute(t, dataset)
	dir := t.TempDir()
	run, half, again := filepath.Join(dir, "run"), filepath.Join(dir, "half.onnx"), filepath.Join(dir, "again")
	expect(t, exitDone, distillArgs(dataset, run)...)
	summary := expect(t, exitDone, "export", "--checkpoint", run, "--out", half, "--dtype", "fp16", "--embedding-norm", "inside", "--input-norm", "inside", "--json").object(t)
	if summary["onnx"] != half || summary["dtype"] != "fp16" || number(t, summary, "step") != 4 || summary["averaged"] != false {
		t.Errorf("summary is %v", summary)
	}
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", half)
	if o := expect(t, exitDone, "export", "--checkpoint", run, "--out", half); !strings.Contains(o.stdout, "after step 4") || !strings.Contains(o.stdout, "opset 13") {
		t.Errorf("an export says\n%s", o.stdout)
	}
	o := expect(t, exitDone, distillArgs(dataset, again, "--init", half)...)
	if !strings.Contains(o.stderr, "start from "+half) || !strings.Contains(o.stderr, "100.0% of the weights") {
		t.Errorf("a run that begins with weights says\n%s", o.stderr)
	}
	if o := expect(t, exitUsage, "export", "--checkpoint", filepath.Join(dir, "none"), "--out", half); !strings.Contains(o.stderr, "none") {
		t.Errorf("a checkpoint that is not there: %s", o.stderr)
	}
	if o := expect(t, exitUsage, "export", "--checkpoint", run, "--out", dir); !strings.Contains(o.stderr, "is a folder") {
		t.Errorf("an export into a folder: %s", o.stderr)
	}
}

// The distill.yaml of a run repeats it, bit for bit, and is one to go on with it by.
func TestDistillFromItsOwnConfig(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	precompute(t, dataset)
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	expect(t, exitDone, distillArgs(dataset, first, "--loss", "unified", "--ema", "0.9", "--accumulate", "2", "--batch", "3",
		"--momentum", "0.8", "--lr", "0.03", "--seed", "7", "--guard", "50", "--warmup", "-1")...)
	expect(t, exitDone, "distill", dataset, "--config", filepath.Join(first, "distill.yaml"), "--out", second, "--log-every", "1")
	a, b := contents(t, first), contents(t, second)
	newest := filepath.Join("checkpoints", "step-000000004.safetensors")
	for _, name := range []string{"student.onnx", newest, "distill.yaml"} {
		if len(a[name]) == 0 || !bytes.Equal(a[name], b[name]) {
			t.Errorf("%s differs from that of the run it repeats", name)
		}
	}
	if want, got := lossCurve(t, first), lossCurve(t, second); len(want) != 4 || !maps.Equal(want, got) {
		t.Errorf("the losses are %v and %v", want, got)
	}
	resumed := expect(t, exitDone, "distill", dataset, "--config", filepath.Join(first, "distill.yaml"), "--out", first, "--resume", "--json").object(t)
	if number(t, resumed, "resumed_at") != 4 {
		t.Errorf("a finished run goes on as %v", resumed)
	}
	config := filepath.Join(t.TempDir(), "mine.yaml")
	writeFile(t, config, "epochs: 2\nweight-decay: 0.1\n")
	o := expect(t, exitUsage, "distill", dataset, "--config", config, "--out", second)
	if !strings.Contains(o.stderr, "line 2: unknown key weight-decay; did you mean optimizer.weight_decay?") {
		t.Errorf("an unknown key is reported as %s", o.stderr)
	}
}

func TestMerge(t *testing.T) {
	a, b := ingestAligned(t, 2, 5), ingestAligned(t, 4, 4) // of b's 16 crops, a has 8
	model := precompute(t, a)
	expect(t, exitDone, "precompute-teacher", b, "--teacher", model, "--flip", "--name", "tiny")
	out := filepath.Join(t.TempDir(), "both.ds")
	args := []string{"merge", a, b, "--out", out, "--json"}
	first := expect(t, exitDone, args...).object(t)
	for key, want := range map[string]float64{"seen": 26, "written": 18, "duplicates": 8, "rejected": 0, "rows": 18, "identities": 4} {
		if got := number(t, first, key); got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	expect(t, exitDone, "check", out, "--read-data")
	// The embeddings are what the model says of the merged crops, and all are there.
	replay := expect(t, exitDone, "check", out, "--replay", "18", "--teacher", "tiny", "--model", model, "--json").object(t)
	if replay["ok"] != true {
		t.Errorf("replay gave %v", replay)
	}
	if again := expect(t, exitDone, "precompute-teacher", out, "--teacher", model, "--flip", "--name", "tiny", "--json").object(t); number(t, again, "computed") != 0 {
		t.Errorf("embeddings were computed again: %v", again)
	}
	if again := expect(t, exitDone, args...).object(t); again["digest"] != first["digest"] || number(t, again, "skipped") != 26 {
		t.Errorf("the same command again gave %v", again)
	}
}

func TestMergeOfConflicts(t *testing.T) {
	root := t.TempDir()
	for i, dataset := range []string{"a", "b"} {
		draw := synthface.New(uint64(10 + i))
		for j := range 4 {
			img, _ := draw.Aligned(0, j, synthface.DefaultHard)
			savePNG(t, filepath.Join(root, dataset, faceKey(0, j)), img)
		}
		expect(t, exitDone, "ingest", "--source", "folder="+filepath.Join(root, dataset), "--out", filepath.Join(root, dataset+".ds"))
	}
	a, b := filepath.Join(root, "a.ds"), filepath.Join(root, "b.ds")
	o := expect(t, exitRejects, "merge", a, b, "--out", filepath.Join(root, "both.ds"), "--json")
	if summary := o.object(t); number(t, summary, "rejected") != 4 || number(t, summary, "rows") != 4 {
		t.Errorf("4 keys of 8 that are taken gave %v", summary)
	}
	expect(t, exitDone, "merge", a, b, "--out", filepath.Join(root, "tolerant.ds"), "--max-reject-rate", "0.5")
	if o := expect(t, exitFailed, "merge", a, b, "--out", a); !strings.Contains(o.stderr, a) {
		t.Errorf("merging into an input does not name it: %s", o.stderr)
	}
}

func TestInfo(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	precompute(t, dataset)
	info := expect(t, exitDone, "info", dataset, "--json").object(t)
	if number(t, info, "rows") != 12 || number(t, info["identities"].(map[string]any), "median") != 4 {
		t.Errorf("info is %v", info)
	}
	teacher := info["teachers"].([]any)[0].(map[string]any)
	if teacher["name"] != "tiny" || number(t, teacher, "rows") != 12 || number(t, teacher, "dim") != 192 {
		t.Errorf("teacher is %v", teacher)
	}
	text := expect(t, exitDone, "info", dataset).stdout
	for _, want := range []string{"12 crops", "identities: 3, with 4 to 4 images, median 4", "source 0: folder=", "teacher tiny: 12 of 12 crops"} {
		if !strings.Contains(text, want) {
			t.Errorf("text does not say %q:\n%s", want, text)
		}
	}
}

// cropIDs are the ids, as hexadecimal digits, of a dataset's crops by their keys.
func cropIDs(t *testing.T, dataset string) map[string]string {
	t.Helper()
	d, err := store.Open(dataset)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ids := map[string]string{}
	for i := range d.Shards() {
		s, err := d.CropShard(i)
		if err != nil {
			t.Fatal(err)
		}
		for row := range s.Rows() {
			c, err := s.Crop(row)
			if err != nil {
				t.Fatal(err)
			}
			ids[c.Key] = c.ID.String()
		}
		s.Close()
	}
	return ids
}

// TestExportedIsIngested: a folder gives the dataset it came from, whether the crops
// were kept encoded or raw.
func TestExportedIsIngested(t *testing.T) {
	source := "folder=" + alignedFaces(t, 3, 4)
	for _, kept := range []string{"encoded", "raw"} {
		dataset, out, again := filepath.Join(t.TempDir(), "a.ds"), filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "b.ds")
		expect(t, exitDone, "ingest", "--source", source, "--store", kept, "--out", dataset)
		summary := expect(t, exitDone, "export", dataset, "--to", "folder", "--out", out, "--json").object(t)
		if number(t, summary, "rows") != 12 || number(t, summary, "files") != 12 || summary["digest"] == "" {
			t.Errorf("summary is %v", summary)
		}
		ingested := expect(t, exitDone, "ingest", "--source", "folder="+out, "--store", kept, "--out", again, "--json").object(t)
		if number(t, ingested, "rejected") != 0 || number(t, ingested, "identities") != 3 {
			t.Errorf("ingesting an export gives %v", ingested)
		}
		want, got := cropIDs(t, dataset), cropIDs(t, again)
		if len(want) != 12 || !maps.Equal(got, want) {
			t.Errorf("%s: ids after a way out and in are %v, before %v", kept, got, want)
		}
		if text := expect(t, exitDone, "export", dataset, "--to", "folder", "--out", out).stdout; !strings.Contains(text, "there already") {
			t.Errorf("the same export again says %q", text)
		}
	}
}

// TestExportedRecordsAreIngested: RecordIO gives the same crops under the keys of records.
func TestExportedRecordsAreIngested(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	out, again := filepath.Join(t.TempDir(), "rec"), filepath.Join(t.TempDir(), "b.ds")
	expect(t, exitDone, "export", dataset, "--to", "recordio", "--out", out)
	ingested := expect(t, exitDone, "ingest", "--source", "recordio="+out, "--out", again, "--json").object(t)
	if number(t, ingested, "rejected") != 0 || number(t, ingested, "identities") != 3 || number(t, ingested, "written") != 12 {
		t.Errorf("ingesting an export gives %v", ingested)
	}
	want, got := cropIDs(t, dataset), cropIDs(t, again)
	if before, after := slices.Sorted(maps.Values(want)), slices.Sorted(maps.Values(got)); len(before) != 12 || !slices.Equal(before, after) {
		t.Errorf("ids after a way out and in are %v, before %v", after, before)
	}
	if got["1"] != want[faceKey(0, 0)] {
		t.Errorf("record 1 is crop %s, want %s", got["1"], want[faceKey(0, 0)])
	}
}

func TestExport(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	precompute(t, dataset)
	for _, tt := range []struct {
		to    string
		flags []string
		files []string
	}{
		{"webdataset", []string{"--shard-crops", "10"}, []string{"000000.tar", "000001.tar"}},
		{"npy", []string{"--teacher", "tiny"}, []string{"embeddings.npy", "embeddings_mirror.npy", "norms.npy", "keys.txt"}},
	} {
		out := filepath.Join(t.TempDir(), tt.to)
		expect(t, exitDone, append([]string{"export", dataset, "--to", tt.to, "--out", out}, tt.flags...)...)
		for _, name := range tt.files {
			if _, err := os.Stat(filepath.Join(out, name)); err != nil {
				t.Error(err)
			}
		}
	}
	photos := t.TempDir()
	writeFile(t, filepath.Join(photos, "mine.jpg"), "mine")
	if o := expect(t, exitFailed, "export", dataset, "--to", "folder", "--out", photos); !strings.Contains(o.stderr, photos) {
		t.Errorf("a folder in use is not named: %s", o.stderr)
	}
	flip(t, filepath.Join(dataset, "crops", "000000.arrow"))
	expect(t, exitDamaged, "export", dataset, "--to", "folder", "--out", filepath.Join(t.TempDir(), "x"))
}

func TestByteSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 3 << 52: "12288.0 TiB"} {
		if got := byteSize(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestIndexRebuild(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	for _, derived := range []string{"index", "rejects.jsonl"} {
		if err := os.RemoveAll(filepath.Join(dataset, derived)); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, exitDamaged, "check", dataset)
	summary := expect(t, exitDone, "index", "rebuild", dataset, "--json").object(t)
	if number(t, summary, "rows") != 12 {
		t.Errorf("summary is %v", summary)
	}
	number(t, summary, "seconds")
	if report := expect(t, exitDone, "check", dataset, "--read-data", "--json").object(t); report["notes"] != nil {
		t.Errorf("check says %v", report)
	}
	if o := expect(t, exitFailed, "index", "rebuild", "/does/not/exist"); !strings.Contains(o.stderr, "/does/not/exist") {
		t.Errorf("a missing dataset is not named: %s", o.stderr)
	}
}

func TestCheckSubset(t *testing.T) {
	dataset := ingestAligned(t, 4, 4) // 2 shards
	flip(t, filepath.Join(dataset, "crops", "000001.arrow"))
	expect(t, exitDone, "check", dataset, "--read-data-subset", "1/2")
	expect(t, exitDamaged, "check", dataset, "--read-data-subset", "2/2")
	report := expect(t, exitDamaged, "check", dataset, "--read-data-subset", "100%", "--json").object(t)
	if number(t, report, "shards_read") != 2 {
		t.Errorf("check says %v", report)
	}
}

// A run on one split says so, and does not go on with another.
func TestDistillSplit(t *testing.T) {
	dataset := filepath.Join(t.TempDir(), "faces.ds")
	expect(t, exitDone, "ingest", "--source", "folder="+alignedFaces(t, 6, 4), "--out", dataset, "--split", "train=0.6,val=0.4", "--split-seed", "1")
	precompute(t, dataset)
	out := filepath.Join(t.TempDir(), "run")
	expect(t, exitDone, distillArgs(dataset, out, "--split", "train")...)
	data, err := os.ReadFile(filepath.Join(out, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		Options struct{ Split string }
		Crops   int
	}
	if err := json.Unmarshal(data, &record); err != nil {
		t.Fatal(err)
	}
	if record.Options.Split != "train" || record.Crops == 0 || record.Crops == 24 || record.Crops%4 != 0 {
		t.Errorf("the run is recorded as %+v", record)
	}
	if o := expect(t, exitUsage, distillArgs(dataset, out, "--split", "val")...); !strings.Contains(o.stderr, "split") {
		t.Errorf("resuming on another split does not name it: %s", o.stderr)
	}
	if o := expect(t, exitFailed, distillArgs(dataset, filepath.Join(t.TempDir(), "run"), "--split", "test")...); !strings.Contains(o.stderr, "train, val") {
		t.Errorf("a split that is not there is refused without naming those that are: %s", o.stderr)
	}
}

func TestDistillOfNothing(t *testing.T) {
	dataset := ingestAligned(t, 2, 4)
	out := filepath.Join(t.TempDir(), "run")
	if o := expect(t, exitFailed, distillArgs(dataset, out)...); !strings.Contains(o.stderr, "tiny") {
		t.Errorf("a missing cache is not named: %s", o.stderr)
	}
	precompute(t, dataset)
	if o := expect(t, exitFailed, distillArgs(dataset, out, "--teacher", "huge")...); !strings.Contains(o.stderr, "it has tiny") {
		t.Errorf("the caches there are are not named: %s", o.stderr)
	}
	if o := expect(t, exitFailed, distillArgs("/does/not/exist", out)...); !strings.Contains(o.stderr, "/does/not/exist") {
		t.Errorf("a missing dataset is not named: %s", o.stderr)
	}
}

// Settings that do not fit the dataset or its cache are wrong usage.
func TestDistillMisfits(t *testing.T) {
	dataset := ingestAligned(t, 2, 4)
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", tinyTeacher(t)) // without --flip
	for want, args := range map[string][]string{
		"teacher tiny has no embeddings of mirrored crops: run precompute-teacher with --flip, or train with --flip=off": {"--flip", "on"},
		"a step takes 200 crops (batch 200, accumulate 1)":                                                               {"--batch", "200"},
		"sampler class-balanced: ": {"--sampler", "class-balanced", "--per-identity", "4"},
	} {
		if o := expect(t, exitUsage, distillArgs(dataset, filepath.Join(t.TempDir(), "run"), args...)...); !strings.Contains(o.stderr, want) {
			t.Errorf("%v: %s", args, o.stderr)
		}
	}
}

// pairsFile lists pairs of alignedFaces: same person, then of the next.
func pairsFile(t *testing.T, people, shots int, more ...string) string {
	t.Helper()
	var b strings.Builder
	for i := range people {
		for j := 1; j < shots; j++ {
			fmt.Fprintf(&b, "%s %s 1\n", faceKey(i, 0), faceKey(i, j))
			fmt.Fprintf(&b, "%s %s 0\n", faceKey(i, 0), faceKey((i+1)%people, j))
		}
	}
	path := filepath.Join(t.TempDir(), "pairs.txt")
	writeFile(t, path, b.String()+strings.Join(more, ""))
	return path
}

func TestEval(t *testing.T) {
	dataset, model := ingestAligned(t, 4, 4), tinyTeacher(t)
	out := filepath.Join(t.TempDir(), "report")
	report := expect(t, exitDone, "eval", "--model", model, "--dataset", dataset, "--pairs", pairsFile(t, 4, 4), "--out", out, "--json").object(t)
	if report["flip"] != true {
		t.Errorf("flip is %v without --no-flip", report["flip"])
	}
	measured := report["models"].([]any)[0].(map[string]any)
	if measured["model"] != model || number(t, measured, "pairs") != 24 {
		t.Errorf("24 pairs gave %v", measured)
	}
	for _, key := range []string{"accuracy", "accuracy_std", "threshold", "auc", "eer", "images_per_second"} {
		number(t, measured, key)
	}
	if _, ok := measured["tar_at_far"].(map[string]any); !ok {
		t.Errorf("no tar_at_far in %v", measured)
	}
	for _, name := range []string{"report.json", "report.md", "roc.svg", "det.svg", "scores.svg"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	plain := expect(t, exitDone, "eval", "--model", model, "--dataset", dataset, "--pairs", pairsFile(t, 4, 4), "--no-flip", "--far", "0.1,0.25,1e-9", "--json").object(t)
	tars := plain["models"].([]any)[0].(map[string]any)["tar_at_far"].(map[string]any)
	if len(tars) != 2 || tars["2.5e-1"] == nil || tars["1e-1"] == nil {
		t.Errorf("TAR %v at 0.1, 0.25 and 1e-9 of 12 different pairs", tars)
	}
	by := expect(t, exitDone, "eval", "--model", model, "--dataset", dataset, "--pairs", pairsFile(t, 4, 4), "--rule", "insightface", "--far-pick", "interp", "--far", "0.1", "--json").object(t)
	figures := by["models"].([]any)[0].(map[string]any)
	if by["far_pick"] != "interp" || by["flip"] != true || figures["rule"] != "insightface" || len(figures["val_at_far"].([]any)) != 1 {
		t.Errorf("by another rule: pick %v, flip %v, %v", by["far_pick"], by["flip"], figures)
	}
	if o := expect(t, exitFailed, "eval", "--model", model, "--dataset", dataset, "--pairs", pairsFile(t, 4, 4), "--rule", "facexzoo"); !strings.Contains(o.stderr, "at least two folds of 600 pairs") {
		t.Errorf("facexzoo with 24 pairs says %s", o.stderr)
	}
	if plain["flip"] != false {
		t.Errorf("flip is %v with --no-flip", plain["flip"])
	}
}

func TestEvalWithoutAnIndex(t *testing.T) {
	dataset := ingestAligned(t, 4, 4)
	if err := os.RemoveAll(filepath.Join(dataset, "index")); err != nil {
		t.Fatal(err)
	}
	expect(t, exitDone, "eval", "--model", tinyTeacher(t), "--dataset", dataset, "--pairs", pairsFile(t, 4, 4))
}

func TestEvalOfMissingImages(t *testing.T) {
	dataset, model := ingestAligned(t, 4, 4), tinyTeacher(t)
	pairs := pairsFile(t, 4, 4, "person_00/00.png nobody/00.png 0\n")
	o := expect(t, exitFailed, "eval", "--model", model, "--dataset", dataset, "--pairs", pairs, "--json")
	if !strings.Contains(o.stderr, "nobody/00.png") {
		t.Errorf("the missing image is not named: %s", o.stderr)
	}
	if missing := o.object(t)["pairs"].(map[string]any)["missing"].([]any); len(missing) != 1 || missing[0] != "nobody/00.png" {
		t.Errorf("missing images are %v", missing)
	}
	report := expect(t, exitDone, "eval", "--model", model, "--dataset", dataset, "--pairs", pairs, "--allow-missing", "--json").object(t)
	if used := number(t, report["pairs"].(map[string]any), "used"); used != 24 {
		t.Errorf("%v pairs are used, want 24", used)
	}
}

func TestDistillWithValidation(t *testing.T) {
	dataset := ingestAligned(t, 4, 4)
	precompute(t, dataset)
	out := filepath.Join(t.TempDir(), "run")
	summary := expect(t, exitDone, distillArgs(dataset, out, "--val-pairs", pairsFile(t, 4, 4), "--json")...).object(t)
	accuracy := number(t, summary["validation"].(map[string]any), "accuracy")
	if accuracy < 0.3 || accuracy > 1 {
		t.Errorf("accuracy %v", accuracy)
	}
}

func TestDemo(t *testing.T) {
	out := filepath.Join(t.TempDir(), "demo")
	args := []string{"demo", "--out", out, "--people", "8", "--test-people", "6", "--epochs", "1", "--width", "0.25", "--json"}
	first := expect(t, exitDone, args...).object(t)
	if models, _ := first["eval"].(map[string]any)["models"].([]any); len(models) != 2 {
		t.Errorf("the demo measures %d models, want the teacher and the student", len(models))
	}
	for _, name := range []string{"train.ds/dataset.json", "run/student.onnx", "report/report.md"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	again := expect(t, exitDone, args...).object(t)
	if computed := number(t, again["precompute_teacher"].(map[string]any), "computed"); computed != 0 {
		t.Errorf("the second time, %v embeddings were computed", computed)
	}
}

// TestDamage flips a byte in the middle of a shard, where images or embeddings are.
func TestDamage(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	model := precompute(t, dataset)
	flip(t, filepath.Join(dataset, "crops", "000000.arrow"))

	o := expect(t, exitDamaged, "check", dataset, "--read-data", "--json")
	report := o.object(t)
	if problems, _ := report["problems"].([]any); report["ok"] != false || len(problems) == 0 {
		t.Errorf("check reports %v", report)
	}
	for _, args := range [][]string{
		{"precompute-teacher", dataset, "--teacher", model, "--name", "again"},
		distillArgs(dataset, filepath.Join(t.TempDir(), "run")),
	} {
		if o := expect(t, exitDamaged, args...); !strings.Contains(o.stderr, "000000.arrow") {
			t.Errorf("%s does not name the damaged file: %s", args[0], o.stderr)
		}
	}
}

func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Clone(data)
	data[len(data)/2] ^= 0x10
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNets(t *testing.T) {
	small := []string{"nets", "--width", "0.125", "--dim", "64"}
	rows := func(o outcome) []any {
		t.Helper()
		rows := o.object(t)["networks"].([]any)
		if len(rows) < 6 {
			t.Fatalf("%d networks", len(rows))
		}
		return rows
	}
	for _, how := range [][]string{{"--json"}, {"--measure", "--json"}} {
		for _, r := range rows(expect(t, exitDone, append(small, how...)...)) {
			n := r.(map[string]any)
			if n["parameters"].(float64) <= 0 || n["macs"].(float64) <= 0 || n["dim"].(float64) != 64 || n["milliseconds"].(float64) <= 0 || n["about"] == "" {
				t.Errorf("%v", n)
			}
		}
	}
	// Where it cannot be measured, the list is there all the same, and the reason.
	for _, how := range [][]string{{"--no-measure", "--json"}, {"--onnxruntime", "/does/not/exist.so", "--json"}} {
		o := expect(t, exitDone, append(small, how...)...)
		for _, r := range rows(o) {
			if _, measured := r.(map[string]any)["milliseconds"]; measured {
				t.Errorf("%v: %v", how, r)
			}
		}
		if why, _ := o.object(t)["not_measured"].(string); strings.Contains(why, "/does/not/exist.so") == (how[0] == "--no-measure") {
			t.Errorf("%v: not measured since %q", how, why)
		}
	}
	if text := expect(t, exitDone, append(small, "--onnxruntime", "/does/not/exist.so")...).stdout; !strings.Contains(text, "not measured: ") {
		t.Errorf("the reason is missing:\n%s", text)
	}
	expect(t, exitFailed, append(small, "--onnxruntime", "/does/not/exist.so", "--measure")...)
	text := expect(t, exitDone, "nets", "--no-measure").stdout
	if !strings.Contains(text, "ir50") || !strings.Contains(text, "43.59 M") {
		t.Errorf("the table is\n%s", text)
	}
}
