package student

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"facepipe/student/export"
)

// exportOf exports a checkpoint into a file of its own.
func exportOf(t *testing.T, o export.Options) (export.Summary, []byte) {
	t.Helper()
	o.Out = filepath.Join(t.TempDir(), "student.onnx")
	s, err := export.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	return s, data
}

// The last checkpoint gives what the run itself exported, byte for byte.
func TestExportCheckpointIsTheRuns(t *testing.T) {
	for _, ema := range []float64{0, 0.9} {
		o, s := finished(t, func(o *Options) { o.EMA, o.InputNorm = ema, "inside" })
		want, err := os.ReadFile(s.ONNX)
		if err != nil {
			t.Fatal(err)
		}
		form := export.DefaultForm()
		form.InputNorm = ""
		for _, from := range []string{o.Out, newestOf(t, o)} {
			e, got := exportOf(t, export.Options{Checkpoint: from, Form: form})
			if !bytes.Equal(got, want) {
				t.Errorf("ema %g: %s gives another file than the run", ema, from)
			}
			if e.Step != s.Steps || e.Averaged != (ema > 0) || e.Checkpoint != newestOf(t, o) || e.Parameters != s.Parameters {
				t.Errorf("ema %g: %+v", ema, e)
			}
		}
		if _, last := exportOf(t, export.Options{Checkpoint: o.Out, Last: true, Form: form}); bytes.Equal(last, want) == (ema > 0) {
			t.Errorf("ema %g: the last weights are the same: %v", ema, bytes.Equal(last, want))
		}
	}
}

func TestExportBest(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.KeepBest = 4, "accuracy"
	scored(t, &o, []float64{0.5, 0.9, 0.9, 0.7})
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if e, _ := exportOf(t, export.Options{Checkpoint: o.Out, Best: true, Form: export.DefaultForm()}); e.Step != 10 {
		t.Errorf("the best is of step %d", e.Step)
	}
}
