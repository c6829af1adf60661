package student

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/safetensors"
	"facepipe/student/checkpoint"
)

func TestGuardJudges(t *testing.T) {
	g := guard{limit: 10}
	for i := range medianStart {
		if reason := g.judge(float64(1 + 100*(i%2))); reason != "" {
			t.Fatalf("loss %d: %s", i, reason) // there is no median yet
		}
	}
	if m, known := g.median(); m != 1 || !known {
		t.Fatalf("median %g of %d ones and %d others", m, (medianStart+1)/2, medianStart/2)
	}
	for loss, want := range map[float64]string{10: "", 10.01: "10 times", math.Inf(1): "not finite", math.NaN(): "not finite", -5: ""} {
		h := guard{limit: 10}
		h.restore(g.state())
		if reason := h.judge(loss); want == "" && reason != "" || !strings.Contains(reason, want) {
			t.Errorf("loss %g: %q, want %q", loss, reason, want)
		}
	}
	g.limit = 0
	if reason := g.judge(1e9); reason != "" {
		t.Errorf("a guard that is off says %q", reason)
	}
}

// A ring that was saved and restored goes on as one that was not.
func TestGuardState(t *testing.T) {
	a := guard{limit: 2}
	for i := range 3*medianWindow + 7 {
		a.judge(float64(i + 1))
		b := guard{limit: 2}
		b.restore(a.state())
		if !slices.Equal(a.state(), b.state()) {
			t.Fatalf("after %d losses the state differs", i)
		}
		if m, _ := a.median(); i >= medianStart {
			if n, known := b.median(); n != m || !known {
				t.Fatalf("after %d losses the median is %g, and %g once restored", i, m, n)
			}
		}
	}
	if state := a.state(); len(state) != medianWindow || state[0] != float64(2*medianWindow+8) {
		t.Errorf("%d losses from %g on", len(state), state[0])
	}
}

// begun runs a short run, deletes its newest checkpoint and changes the one before, so
// that going on begins there.
func begun(t *testing.T, loss string, change func(map[string]safetensors.Tensor)) Options {
	t.Helper()
	o := options(t, fixture(t))
	o.Epochs, o.Loss.Name = 2, loss
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	files, err := checkpoint.List(o.Out)
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	good, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	bad := reseal(t, good, func(tensors map[string]safetensors.Tensor, _ *checkpoint.Position) { change(tensors) })
	if err := errors.Join(os.Remove(files[0]), os.Remove(files[1]), os.WriteFile(files[1], bad, 0o444),
		os.Remove(filepath.Join(o.Out, "student.onnx"))); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	return o
}

// A run that diverges leaves a report, its last good checkpoint, and no model.
func TestDivergence(t *testing.T) {
	for name, c := range map[string]struct {
		loss   string
		change func(map[string]safetensors.Tensor)
		reason string
		broken string // the first parameter that is not finite
	}{
		"loss": {"l2", func(tensors map[string]safetensors.Tensor) {
			tensors["model.embed.norm.weight"].Float32[0] = float32(math.NaN())
		}, "the loss is not finite", "embed.norm.weight"},
		"gradient": {"unified", func(tensors map[string]safetensors.Tensor) {
			tensors["model.stem.norm.weight"].Float32[0] = float32(math.NaN())
		}, "the gradient is not finite", "stem.norm.weight"},
		"loss far above its median": {"unified", func(tensors map[string]safetensors.Tensor) {
			losses := tensors[checkpoint.GuardName]
			losses.Shape, losses.Float64 = []int{50}, slices.Repeat([]float64{1e-6}, 50)
			tensors[checkpoint.GuardName] = losses
		}, "20 times its running median 1e-06", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := begun(t, c.loss, c.change)
			before := newest(t, o)
			_, err := Distill(t.Context(), o)
			if !errors.Is(err, errDiverged) {
				t.Fatalf("got %v", err)
			}
			for _, say := range []string{"--lr", c.reason, c.broken, "diverged.json", "the last good checkpoint is " + newestOf(t, o)} {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("%v does not say %q", err, say)
				}
			}
			var d struct {
				Reason, Gradient any
				Step             int
				Rows             []int64
				Loss             any
				Parts            map[string]float64
				Parameters       []string `json:"parameters_not_finite"`
				Gradients        []string `json:"gradients_not_finite"`
			}
			if err := json.Unmarshal([]byte(read(t, o, "diverged.json")), &d); err != nil {
				t.Fatal(err)
			}
			if d.Reason != c.reason && c.broken != "" || d.Step != 6 || len(d.Rows) != o.Batch || len(d.Parts) == 0 {
				t.Errorf("the report is %+v", d)
			}
			if (name == "loss") != (d.Loss == "NaN") {
				t.Errorf("the report's loss is %v", d.Loss)
			}
			if c.broken != "" && (d.Gradient != "NaN" || len(d.Gradients) == 0 || d.Parameters[0] != c.broken) {
				t.Errorf("the report is %+v", d)
			}
			if _, err := os.Stat(filepath.Join(o.Out, "student.onnx")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a model was exported: %v", err)
			}
			if got := names(t, o); !slices.Equal(got, []string{checkpoint.Name(5)}) || len(newest(t, o)) != len(before) {
				t.Errorf("the checkpoints are %v", got)
			}
			if c.broken != "" {
				return
			}
			// A guard that lets more through lets the run go on.
			o.Guard = 0
			if s, err := Distill(t.Context(), o); err != nil || s.Steps != 10 {
				t.Errorf("without a guard: %+v, %v", s, err)
			}
			if _, err := os.Stat(diagnosisPath(o.Out)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the report of a step that went well is still there: %v", err)
			}
		})
	}
}

// Steps that are far too long end a run, whatever they break first.
func TestDivergenceIsReported(t *testing.T) {
	o := options(t, fixture(t))
	o.Loss.Name, o.LR, o.Optimizer.Clip, o.WarmupEpochs = "l2", 1e9, 0, 0
	_, err := Distill(t.Context(), o)
	if !errors.Is(err, errDiverged) || !strings.Contains(err.Error(), "--lr") || !strings.Contains(err.Error(), "there is no checkpoint yet") {
		t.Errorf("got %v", err)
	}
}
