package teacher_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/internal/progress"
	"facepipe/internal/worker"
	"facepipe/store/cache"
	"facepipe/store/info"
	"facepipe/teacher"
	"facepipe/teacher/teachertest"
)

// runsOf are the records of the runs that filled a cache.
func runsOf(t *testing.T, dir, name string) []cache.Run {
	t.Helper()
	_, cache := teachertest.OpenCache(t, dir, name)
	runs, err := cache.Runs()
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

// A run that commits anything leaves a record that says with what, and what it took.
func TestRunIsRecorded(t *testing.T) {
	before := time.Now()
	o := teacher.Options{Dataset: dataset(t, upTo(14)...), Model: tiny(t, nil), Flip: true, Batch: 4, Version: "9.8.7"}
	s := precompute(t, o)
	runs := runsOf(t, o.Dataset, "tiny")
	if len(runs) != 1 {
		t.Fatalf("%d records: %+v", len(runs), runs)
	}
	r := runs[0]
	if r.Begun.Before(before.Truncate(0)) || r.Begun.After(time.Now()) || r.Begun.Location() != time.UTC || r.Ended != cache.RunDone {
		t.Errorf("begun %v, ended %s", r.Begun, r.Ended)
	}
	if r.Pipe != "9.8.7" || r.Runtime != ort.Version() || r.Provider != "cpu" || !slices.Equal(r.Devices, []int{0}) || r.Half || r.Fallback ||
		r.Batch != 4 || r.Decoder != imgcodec.DecoderName() || r.Plan != "" || r.Worker != "" {
		t.Errorf("made with %+v", r)
	}
	if r.Shards != 3 || r.Computed != 14 || r.Copied != 0 || r.Drift == nil || *r.Drift != *s.Drift {
		t.Errorf("did %+v", r)
	}
	if v := r.SelfTest; v == nil || v.Crops != s.SelfTest.Crops || v.Contract != "RGB /127.5" || v.Separation != s.SelfTest.Contracts[0].Separation || v.AUC != s.SelfTest.Contracts[0].AUC {
		t.Errorf("self-test %+v of %+v", v, s.SelfTest)
	}
	if r.Seconds <= 0 || r.Seconds > s.Seconds || r.CPUSeconds <= 0 || r.CPUSeconds > s.CPUSeconds || r.DeviceSeconds != s.DeviceSeconds || r.Stages != s.Stages {
		t.Errorf("took %+v, the summary says %+v", r, s)
	}

	if precompute(t, o); len(runsOf(t, o.Dataset, "tiny")) != 1 {
		t.Error("a run with nothing to do is recorded")
	}
	appendTo(t, o.Dataset, 20, 21, 22)
	precompute(t, o)
	if runs := runsOf(t, o.Dataset, "tiny"); len(runs) != 2 || runs[1].Computed != 3 || runs[1].SelfTest != nil {
		t.Errorf("after an append: %+v", runs)
	}

	copied := o
	copied.Dataset, copied.Reuse = dataset(t, append(upTo(8), 30)...), []string{o.Dataset}
	precompute(t, copied)
	if runs := runsOf(t, copied.Dataset, "tiny"); len(runs) != 1 || runs[0].Computed != 1 || runs[0].Copied != 8 ||
		!slices.Equal(runs[0].CopiedFrom, []cache.Donor{{Dataset: o.Dataset, Teacher: "tiny", Copied: 8}}) {
		t.Errorf("of a run that copies: %+v", runs)
	}
}

// So does one that ends early, if it got anywhere.
func TestRunThatEndsEarlyIsRecorded(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(20)...), Model: tiny(t, nil), Flip: true}
	interruptAt(t, o, 0)
	if runs := runsOf(t, o.Dataset, "tiny"); len(runs) > 0 {
		t.Errorf("a run that committed nothing left %+v", runs)
	}
	interruptAt(t, o, 2)
	precompute(t, o)
	runs := runsOf(t, o.Dataset, "tiny")
	if len(runs) != 2 || runs[0].Ended != cache.RunStopped || runs[0].Shards != 2 || runs[0].Computed != 12 || runs[1].Ended != cache.RunDone || runs[1].Computed != 8 {
		t.Errorf("%+v", runs)
	}

	failing := teacher.Options{Dataset: dataset(t, spoilt...), Model: tiny(t, plusRatio), Preprocess: "raw"}
	if _, err := teacher.Precompute(t.Context(), failing); !errors.Is(err, teacher.ErrEmbeddings) {
		t.Fatal(err)
	}
	if runs := runsOf(t, failing.Dataset, "tiny"); len(runs) != 1 || runs[0].Ended != cache.RunFailed || runs[0].Computed != 60 {
		t.Errorf("of a run that failed: %+v", runs)
	}
}

// The cache of a plan has the records of those who planned and of those who worked; what is
// digested and compared is that of one process.
func TestPlannedRunsAreRecorded(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(14)...), Model: tiny(t, nil), Flip: true, Version: "9.8.7"}
	alone := o
	alone.Dataset = dataset(t, upTo(14)...)
	want := precompute(t, alone)
	plan := filepath.Join(t.TempDir(), "job")
	var planned teacher.PlanSummary
	for range 2 { // the same plan
		var err error
		if planned, err = teacher.MakePlan(t.Context(), o, plan); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		for range 2 { // the second time there is nothing to do
			if _, err := teacher.Work(t.Context(), plan, worker.Worker{Index: i, Count: 2}, teacher.Options{Version: "9.8.7"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		m, err := teacher.MergePlan(t.Context(), plan, teacher.MergeOptions{MaxRejectRate: 1})
		if err != nil || m.Digest != want.Digest || m.Runs.Runs != 3 || m.Runs.Computed != 14 || m.Runs.DeviceSeconds <= 0 || m.Runs.Seconds <= 0 {
			t.Errorf("merge %+v, %v", m, err)
		}
	}
	if !maps.Equal(teachertest.Files(t, o.Dataset, "tiny"), teachertest.Files(t, alone.Dataset, "tiny")) {
		t.Error("other files than one process makes")
	}
	runs := runsOf(t, o.Dataset, "tiny")
	if len(runs) != 3 {
		t.Fatalf("%d records: %+v", len(runs), runs)
	}
	workers := map[string]int{}
	sum := 0.0
	for _, r := range runs {
		if r.Plan != planned.ID || r.Pipe != "9.8.7" || (r.SelfTest == nil) != (r.Worker != "") {
			t.Errorf("%+v", r)
		}
		workers[r.Worker] = r.Shards
		sum += r.DeviceSeconds
	}
	if want := map[string]int{"": 0, "0/2": 2, "1/2": 1}; !maps.Equal(workers, want) {
		t.Errorf("shards by worker %v, want %v", workers, want)
	}
	states, err := info.Caches(o.Dataset)
	if err != nil || states[0].Runs.DeviceSeconds != sum {
		t.Errorf("in all %+v, %v, want %g s", states, err, sum)
	}
}

// No second of a run is unaccounted for: those before the first crop have stages of their
// own, and the devices' are all that the model ran.
func TestStagesOfTheStart(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(14)...), Model: tiny(t, nil)}
	s := precompute(t, o)
	if s.Stages.Open <= 0 || s.Stages.SelfTest <= 0 || s.Stages.Open+s.Stages.SelfTest > s.Seconds {
		t.Errorf("open and self-test took %+v of %g s", s.Stages, s.Seconds)
	}
	if s.DeviceSeconds <= s.Stages.Infer || s.DeviceSeconds > s.Seconds {
		t.Errorf("the device ran %g s, %g s for the cache, in %g s", s.DeviceSeconds, s.Stages.Infer, s.Seconds)
	}
	o.Name, o.NoSelfTest, o.Batch = "other", true, embed.AutoBatch
	if s := precompute(t, o); s.Stages.SelfTest != 0 || s.DeviceSeconds < 0.1 || s.Stages.Open < s.DeviceSeconds/2 {
		t.Errorf("measuring batches took %+v", s)
	}
}

// watch is a writer that takes down what bars tell.
type watch struct {
	io.Writer
	spent   map[string]float64
	rejects map[string]int64
}

func (w *watch) Unwrap() io.Writer                     { return w.Writer }
func (w *watch) Observe(label string) progress.Watcher { return watched{w, label} }

type watched struct {
	*watch
	label string
}

func (w watched) Total(int64)                        {}
func (w watched) Count(int64, int64)                 {}
func (w watched) Reject(n int64, reason string)      { w.rejects[w.label+" "+reason] += n }
func (w watched) Spend(part string, seconds float64) { w.spent[w.label+" "+part] += seconds }

// Who watches a run sees the bottleneck, and why embeddings have no use.
func TestRunTellsWhoWatches(t *testing.T) {
	w := &watch{io.Discard, map[string]float64{}, map[string]int64{}}
	s := precompute(t, teacher.Options{Dataset: dataset(t, append(upTo(8), teachertest.Dark)...), Model: tiny(t, plusRatio), Preprocess: "raw", MaxRejectRate: 1, Progress: w})
	for part, want := range map[string]float64{
		"open": s.Stages.Open, "self_test": s.Stages.SelfTest, "read": s.Stages.Read, "decode": s.Stages.Decode, "normalise": s.Stages.Normalise,
		"infer": s.Stages.Infer, "wait": s.Stages.Wait, "write": s.Stages.Write, "commit": s.Stages.Commit,
	} {
		if got := w.spent["precompute "+part]; want <= 0 || got < want*(1-1e-9) || got > want*(1+1e-9) {
			t.Errorf("%s took %g s, told %g", part, want, got)
		}
	}
	if want := map[string]int64{"precompute NaN or infinity": 1}; !maps.Equal(w.rejects, want) {
		t.Errorf("rejects are %v", w.rejects)
	}
}

// A run that is stopped says what to do, and not what a library calls it.
func TestStopText(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(14)...), Model: tiny(t, nil)}
	const want = "stopped; the finished shards are kept, run the same command again to go on"
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = writer(func(text string) {
		if strings.HasPrefix(text, "self-test: comparing") {
			cancel()
		}
	})
	if _, err := teacher.Precompute(ctx, o); !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("in the self-test: %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.Dataset, "teachers")); !os.IsNotExist(err) {
		t.Errorf("a cache was begun (%v)", err)
	}
	plan := filepath.Join(t.TempDir(), "job")
	if _, err := teacher.MakePlan(ctx, o, plan); !errors.Is(err, context.Canceled) || err.Error() != "stopped; run the same command again to go on" {
		t.Errorf("in the self-test of a plan: %v", err)
	}
	o.Progress = nil
	if _, err := teacher.MakePlan(t.Context(), o, plan); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(context.Context) error{
		"precompute": func(ctx context.Context) error { _, err := teacher.Precompute(ctx, o); return err },
		"work": func(ctx context.Context) error {
			_, err := teacher.Work(ctx, plan, worker.Worker{Count: 1}, teacher.Options{})
			return err
		},
	} {
		if err := run(ctx); !errors.Is(err, context.Canceled) || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
		if err := run(t.Context()); err != nil {
			t.Errorf("%s goes on: %v", name, err)
		}
	}
	// What the cache has need not be merged, and nothing is there to stop.
	if err := os.RemoveAll(filepath.Join(o.Dataset, "teachers")); err != nil {
		t.Fatal(err)
	}
	if _, err := teacher.MergePlan(ctx, plan, teacher.MergeOptions{MaxRejectRate: 1}); !errors.Is(err, context.Canceled) || err.Error() != "stopped; run the same command again to go on" {
		t.Errorf("merge: %v", err)
	}
}

// writer hands what is printed to a function.
type writer func(text string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

// Crops that depend on each other within a batch are run one by one, and the record says why.
func TestRunSaysWhyItsBatchIsOne(t *testing.T) {
	mixed := func(g *onnx.Graph) {
		g.Nodes[1].Outputs[0] = "flat"
		g.Nodes = append(g.Nodes,
			onnx.Node{Name: "mean", OpType: "ReduceMean", Inputs: []string{"flat"}, Outputs: []string{"mean"}, Attributes: []onnx.Attribute{onnx.Ints("axes", 0)}},
			onnx.Node{Name: "sum", OpType: "Add", Inputs: []string{"flat", "mean"}, Outputs: []string{"embedding"}})
	}
	o := teacher.Options{Dataset: dataset(t, upTo(7)...), Model: tiny(t, mixed), Name: "mixed", Batch: 4}
	s := precompute(t, o)
	r := runsOf(t, o.Dataset, "mixed")[0]
	if s.Batch != 1 || r.Batch != 1 || !strings.Contains(r.BatchReason, "depends on the other crops") || !slices.Contains(s.Notes, r.BatchReason) {
		t.Errorf("batch %d, recorded as %d for %q; notes %q", s.Batch, r.Batch, r.BatchReason, s.Notes)
	}
}
