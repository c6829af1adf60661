package student

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/seal"
	"facepipe/store"
	"facepipe/student/checkpoint"
)

// What a run's folder lost, or has in another form, is said, and what contradicts itself ends the
// start. One run of five steps is enough for all of it: it is finished, so that going on is quick.
func TestWhatARunFolderLost(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.Resume = 1, true
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(o.Out, name) }
	runFile, journal := read(t, o, "run.json"), read(t, o, "metrics.jsonl")
	lines := strings.SplitAfter(journal, "\n")
	put := func(name, text string) func() error {
		return func() error { return os.WriteFile(at(name), []byte(text), 0o600) }
	}
	gone := func(name string) func() error { return func() error { return os.Remove(at(name)) } }
	for name, c := range map[string]struct {
		damage func() error
		change func(*Options)
		said   string // of a run that goes on
		why    string // of one that does not
		usage  bool   // which is no damage
	}{
		"nothing":              {damage: func() error { return nil }},
		"no run.json":          {damage: gone("run.json"), said: "run.json was missing: it is made anew"},
		"no run.json, another": {damage: gone("run.json"), change: func(o *Options) { o.LR = 0.07 }, why: "other settings or data than these", usage: true},
		"another seed":         {damage: put("run.json", strings.Replace(runFile, `"seed": 1,`, `"seed": 3,`, 1)), why: "run.json: damaged data: contents do not match the seal; take it"},
		"run.json cut":         {damage: put("run.json", runFile[:100]), why: "run.json: damaged data: unexpected end"},
		"run.json of another":  {damage: put("run.json", string(seal.Close(unsealed(t, []byte(strings.Replace(runFile, `"seed": 1,`, `"seed": 3,`, 1)))))), change: func(o *Options) { o.Seed = 3 }, why: "it is of another run than "},
		"no journal":           {damage: gone("metrics.jsonl"), said: "has 0 lines of the 5 up to step 5, the last of step 0"},
		"the journal's end":    {damage: put("metrics.jsonl", strings.Join(lines[:3], "")), said: "has 3 lines of the 5 up to step 5, the last of step 3"},
		"a torn line":          {damage: put("metrics.jsonl", journal[:len(journal)-9]), said: "has 4 lines of the 5 up to step 5, the last of step 4"},
		"a line within":        {damage: put("metrics.jsonl", strings.Join(append([]string{lines[0], "{\x00\n"}, lines[2:]...), "")), said: "has 4 lines of the 5 up to step 5, the last of step 5"},
		"a figure":             {damage: put("metrics.jsonl", strings.Replace(journal, `"step":2`, `"step":1`, 1)), said: "has 4 lines of the 5 up to step 5, the last of step 5"},
		"a torn line of later": {damage: put("metrics.jsonl", journal+`{"step": 6, "lo`)},
		"only the last break":  {damage: put("metrics.jsonl", strings.TrimSuffix(journal, "\n"))},
	} {
		was := map[string]string{"run.json": runFile, "metrics.jsonl": journal}
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		var told bytes.Buffer
		again := o
		again.Progress = &told
		if c.change != nil {
			c.change(&again)
		}
		_, err := Distill(t.Context(), again)
		switch {
		case c.why != "":
			if err == nil || errors.Is(err, store.ErrDamaged) == c.usage || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), o.Out) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || strings.Contains(told.String(), "warning") != (c.said != "") || !strings.Contains(told.String(), c.said):
			t.Errorf("%s: %v, told %q", name, err, told.String())
		case c.said == "" && read(t, o, "metrics.jsonl") != journal || read(t, o, "run.json") != runFile:
			t.Errorf("%s: the files were not left as they were", name)
		}
		for file, text := range was {
			if err := put(file, text)(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A run of before there were seals goes on; that it cannot be told whether its run.json is what was
// written is said once, and its files then carry their digests.
func TestOlderRunIsSealed(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.Resume = 1, true
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	whole := read(t, o, "run.json")
	beforeSeals(t, o, []byte(whole))
	if strings.Contains(read(t, o, "run.json"), "seal") {
		t.Fatal("it has a seal")
	}
	for _, want := range []bool{true, false} {
		var told bytes.Buffer
		o.Progress = &told
		if _, err := Distill(t.Context(), o); err != nil || strings.Contains(told.String(), "carries no digest") != want {
			t.Errorf("%v, told %q", err, told.String())
		}
		if read(t, o, "run.json") != whole {
			t.Errorf("run.json is\n%s", read(t, o, "run.json"))
		}
	}
	files, err := checkpoint.List(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	if _, at, err := checkpoint.Read(files[0]); err != nil || at.Run != "" {
		t.Errorf("%+v, %v", at, err)
	}
}

// A checkpoint does not tell whether its run was interrupted: what it knows of its run and of the
// metrics are no times.
func TestCheckpointOfAResumedRunIsTheSameFile(t *testing.T) {
	whole := options(t, fixture(t))
	whole.Epochs = 2
	if _, err := Distill(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	parts := options(t, whole.Dataset)
	parts.Epochs, parts.Resume = 2, true
	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	stopAfter(&parts, cancel, &steps, 3)
	if _, err := Distill(ctx, parts); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	parts.afterStep = nil
	if _, err := Distill(t.Context(), parts); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("checkpoints", checkpoint.Name(10))
	if read(t, whole, name) != read(t, parts, name) {
		t.Error("the files differ")
	}
}
