package student

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// usualLoss are options with the loss as it is by default.
func usualLoss(t *testing.T, dataset string) Options {
	o := options(t, dataset)
	o.Epochs, o.Loss = 2, DefaultOptions().Loss
	return o
}

// What a run settles by its data and its length is said, and written to its files.
func TestLossIsSettledByTheRun(t *testing.T) {
	o := usualLoss(t, fixture(t))
	var said bytes.Buffer
	o.Progress = &said
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if want := "bank of 80 entries for 40 crops and their mirror images; RPSD's ramp takes 1 and ILED's warm-up 1 of 10 steps\n"; !strings.Contains(said.String(), want) {
		t.Errorf("it says\n%s", said.String())
	}
	run, config := read(t, o, "run.json"), read(t, o, "distill.yaml")
	for _, want := range []string{`"bank": 80`, `"ramp": 1`, `"warmup": 1`, `"repeats": "replace"`} {
		if yaml := strings.ReplaceAll(want, `"`, ""); !strings.Contains(run, want) || !strings.Contains(config, yaml) {
			t.Errorf("%s is not in\n%s\n%s", want, run, config)
		}
	}
	o.Resume = true
	if s, err := Distill(t.Context(), o); err != nil || s.ResumedAt != 10 {
		t.Errorf("resumed at %d, %v", s.ResumedAt, err)
	}
}

// A run of before goes on as it began, by the command that began it and by its distill.yaml.
func TestRunKeepsItsBank(t *testing.T) {
	whole := usualLoss(t, fixture(t))
	tune(&whole.Loss, "{iled: {warmup: 1000}, rpsd: {ramp: 1000, bank: 16384, repeats: keep}}")
	if _, err := Distill(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	for name, unsaid := range map[string]bool{"command": true, "distill.yaml": false} {
		part := usualLoss(t, whole.Dataset)
		part.Loss, part.CheckpointEvery = whole.Loss, 3
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		stopAfter(&part, cancel, &steps, 6)
		if _, err := Distill(ctx, part); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		older(t, part)
		if part.afterStep = nil; unsaid {
			part.Loss = DefaultOptions().Loss
		} else if err := part.ReadFile(filepath.Join(part.Out, "distill.yaml"), nil); err != nil {
			t.Fatal(err)
		}
		part.Resume = true
		if _, err := Distill(t.Context(), part); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(curve(t, whole), curve(t, part)) {
			t.Errorf("%s: the run went on otherwise", name)
		}
	}
}

// older makes a run's files those of the version before.
func older(t *testing.T, o Options) {
	t.Helper()
	var m map[string]any
	err := json.Unmarshal([]byte(read(t, o, "run.json")), &m)
	m["version"] = 2
	delete(m, "seal")
	delete(m["options"].(map[string]any)["loss"].(map[string]any)["rpsd"].(map[string]any), "repeats")
	text, err2 := json.Marshal(m)
	config := strings.Replace(read(t, o, "distill.yaml"), "repeats: keep\n", "\n", 1)
	beforeSeals(t, o, text)
	if err := errors.Join(err, err2, os.WriteFile(filepath.Join(o.Out, "distill.yaml"), []byte(config), 0o644)); err != nil {
		t.Fatal(err)
	}
}
