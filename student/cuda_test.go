package student

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/worker"
)

// Of several ranks each takes the device of its own number, and never another's: where that is
// not there, the engine says so.
func TestRanksDevice(t *testing.T) {
	rank := func(local, count int) worker.Rank {
		return worker.Rank{Worker: worker.Worker{Index: local, Count: count}, Local: local}
	}
	for _, c := range []struct {
		rank    worker.Rank
		device  string
		visible int
		want    string
	}{
		{worker.Rank{}, "cuda", 4, "cuda"},
		{rank(1, 2), "cpu", 2, "cpu"},
		{rank(1, 2), "cuda:0", 2, "cuda:0"},
		{rank(1, 2), "cuda", 2, "cuda:1"},
		{rank(3, 4), "cuda", 1, "cuda:0"}, // each sees its own alone
		{rank(3, 4), "cuda", 2, "cuda:3"}, // which is none, rather than one of another rank
		{rank(1, 2), "cuda", 0, "cuda:1"},
	} {
		w := world{rank: c.rank}
		if got := w.device(c.device, c.visible); got != c.want {
			t.Errorf("%s with %d devices, rank %d: %s, want %s", c.device, c.visible, c.rank.Local, got, c.want)
		}
	}
}

// How CUDA devices compute is recorded of runs on them, and of no other.
func TestCUDAOptionsAreRecorded(t *testing.T) {
	for device, want := range map[string]bool{"cpu": false, "cuda": true, "cuda:1": true} {
		o := DefaultOptions()
		o.Device = device
		settled, err := o.settled(true)
		if err != nil {
			t.Fatal(err)
		}
		record, err := json.Marshal(manifest{Options: settled.recorded()})
		if err != nil {
			t.Fatal(err)
		}
		config, err := yaml.Marshal(settled)
		if err != nil {
			t.Fatal(err)
		}
		const inRecord, inConfig = `"cuda":{"tf32":"off","cudnn_benchmark":"on","cudnn_deterministic":"off"}`, "\ncuda:\n    tf32: \"off\"\n"
		if strings.Contains(string(record), inRecord) != want || strings.Contains(string(record), "cuda") != want {
			t.Errorf("on %s run.json has %s", device, record)
		}
		if strings.Contains(string(config), inConfig) != want || strings.Contains(string(config), "cuda") != want {
			t.Errorf("on %s distill.yaml has %s", device, config)
		}
	}
	o := DefaultOptions()
	if err := o.Overlay([]byte("cuda: {tf32: on}\n"), nil); err != nil || !o.CUDA.numbers().TF32 || !o.CUDA.numbers().Benchmark || o.CUDA.numbers().Deterministic {
		t.Errorf("%+v, %v", o.CUDA, err)
	}
	if o.CUDA.TF32 = "yes"; !errors.Is(o.validate(), ErrUsage) {
		t.Error("tf32 may be yes")
	}
}

// A run goes on with the same settings of CUDA, or on another device.
func TestCUDAOptionsOfAResumedRun(t *testing.T) {
	recorded := func(c CUDAOptions) manifest {
		o := DefaultOptions()
		o.CUDA = c
		settled, err := o.settled(true)
		if err != nil {
			t.Fatal(err)
		}
		settled.CUDA, settled.Device = c, "" // a record does not name the device
		return manifest{Version: manifestVersion, Options: settled.recorded(), Flip: true}
	}
	usual := DefaultOptions().CUDA
	other := usual
	other.TF32 = on
	for name, c := range map[string]struct {
		was, now CUDAOptions
		refused  bool
	}{
		"the same":               {usual, usual, false},
		"another":                {usual, other, true},
		"from the processor":     {CUDAOptions{}, other, false},
		"on the processor":       {other, CUDAOptions{}, false},
		"never on anything else": {CUDAOptions{}, CUDAOptions{}, false},
	} {
		was := recorded(c.was)
		r := run{found: &was, manifest: recorded(c.now)}
		err := r.refuseOtherSettings(t.Context())
		if (err != nil) != c.refused || c.refused && !strings.Contains(err.Error(), "options.cuda.tf32 (off, now on)") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A run whose step never returns ends when another rank does, and by its own error if it has one
// in time.
func TestLostRankEndsARun(t *testing.T) {
	own := errors.New("connection closed by another rank")
	for name, c := range map[string]struct {
		after time.Duration // that the run ends by itself, 0 for never
		want  string
	}{
		"a step that waits for ever": {0, "rank 1 of 2: rank 0 has ended"},
		"one that fails":             {time.Second, own.Error()},
		"one that fails too late":    {time.Hour, "rank 1 of 2: rank 0 has ended"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := world{rank: worker.Rank{Worker: worker.Worker{Index: 1, Count: 2}}, lost: make(chan error, 1)}
			done := make(chan ended, 1)
			if c.after > 0 {
				time.AfterFunc(c.after, func() { done <- ended{err: own} })
			}
			w.lost <- errors.New("rank 0 has ended")
			if e := w.end(done); e.err == nil || e.err.Error() != c.want {
				t.Errorf("%s: %v", name, e.err)
			}
		})
	}
	w := world{lost: make(chan error, 1)}
	done := make(chan ended, 1)
	done <- ended{summary: Summary{Steps: 3}}
	if e := w.end(done); e.err != nil || e.summary.Steps != 3 {
		t.Errorf("%+v", e)
	}
}
