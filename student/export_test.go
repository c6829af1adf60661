package student

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/internal/safetensors"
)

// exportOf exports a checkpoint into a file of its own.
func exportOf(t *testing.T, o CheckpointExport) (Exported, []byte) {
	t.Helper()
	o.Out = filepath.Join(t.TempDir(), "student.onnx")
	s, err := ExportCheckpoint(o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	if s.Bytes != int64(len(data)) || s.ONNX != o.Out {
		t.Errorf("%+v of %d bytes", s, len(data))
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
		form := DefaultForm()
		form.InputNorm = ""
		for _, from := range []string{o.Out, newestOf(t, o)} {
			e, got := exportOf(t, CheckpointExport{Checkpoint: from, Form: form})
			if !bytes.Equal(got, want) {
				t.Errorf("ema %g: %s gives another file than the run", ema, from)
			}
			if e.Step != s.Steps || e.Averaged != (ema > 0) || e.Checkpoint != newestOf(t, o) || e.Parameters != s.Parameters {
				t.Errorf("ema %g: %+v", ema, e)
			}
		}
		if _, last := exportOf(t, CheckpointExport{Checkpoint: o.Out, Last: true, Form: form}); bytes.Equal(last, want) == (ema > 0) {
			t.Errorf("ema %g: the last weights are the same: %v", ema, bytes.Equal(last, want))
		}
	}
}

// Other forms embed alike, and say what they take.
func TestExportForms(t *testing.T) {
	o, s := finished(t, nil)
	pixels := wave(3)
	want := embedOne(t, s.ONNX, pixels)
	for _, f := range []Form{
		{DType: "fp16", Opset: 13, InputNorm: "outside"},
		{DType: "fp32", Opset: 18, InputNorm: "inside", UnitLength: true},
		{DType: "fp16", Opset: 21, InputNorm: "inside", UnitLength: true},
	} {
		e, data := exportOf(t, CheckpointExport{Checkpoint: o.Out, Form: f})
		if c := cosine(embedOne(t, e.ONNX, pixels), want); c < 0.9999 {
			t.Errorf("%+v: cosine %g", f, c)
		}
		m, err := onnx.Unmarshal(data)
		if err != nil {
			t.Fatal(err)
		}
		if m.OpsetVersion != int64(f.Opset) || (m.Graph.Nodes[0].OpType == "Sub") != (f.InputNorm == "inside") ||
			(m.Graph.Nodes[len(m.Graph.Nodes)-1].OpType == "Div") != f.UnitLength || m.Property(fingerprintKey) != "f" {
			t.Errorf("%+v: opset %d, first %s, last %s, teacher %q", f, m.OpsetVersion, m.Graph.Nodes[0].OpType,
				m.Graph.Nodes[len(m.Graph.Nodes)-1].OpType, m.Property(fingerprintKey))
		}
		if half := m.Graph.Initializers[len(m.Graph.Initializers)/2].Type == onnx.Float16; half != (f.DType == "fp16") {
			t.Errorf("%+v: weights in half precision: %v", f, half)
		}
	}
}

func embedOne(t *testing.T, path string, pixels []byte) []float32 {
	t.Helper()
	m, err := embed.Open(path, embed.Options{Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	y := make([]float32, m.Dim())
	if err := m.Embed(1, pixels, false, y); err != nil {
		t.Fatal(err)
	}
	return y
}

func TestExportBest(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.KeepBest = 4, "accuracy"
	scored(t, &o, []float64{0.5, 0.9, 0.9, 0.7})
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if e, _ := exportOf(t, CheckpointExport{Checkpoint: o.Out, Best: true, Form: DefaultForm()}); e.Step != 10 {
		t.Errorf("the best is of step %d", e.Step)
	}
}

// A run that prunes its checkpoints may remove one that is about to be read.
func TestExportWhileTheRunPrunes(t *testing.T) {
	o, _ := finished(t, func(o *Options) { o.Epochs, o.KeepCheckpoints = 2, 2 })
	good, err := os.ReadFile(newestOf(t, o))
	if err != nil {
		t.Fatal(err)
	}
	newer := reseal(t, good, func(_ map[string]safetensors.Tensor, at *position) { at.Step = 11 })
	var read []string
	e, _ := exportOf(t, CheckpointExport{Checkpoint: o.Out, Form: DefaultForm(), beforeRead: func(path string) {
		if read = append(read, filepath.Base(path)); len(read) > 1 {
			return
		}
		if err := errors.Join(os.WriteFile(filepath.Join(checkpointFolder(o.Out), checkpointName(11)), newer, 0o644), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
	}})
	if want := []string{checkpointName(10), checkpointName(11)}; !slices.Equal(read, want) || e.Step != 11 {
		t.Errorf("read %v and exported step %d, want %v", read, e.Step, want)
	}
}

func TestExportRefuses(t *testing.T) {
	o, s := finished(t, func(o *Options) { o.Epochs = 1 })
	data, err := os.ReadFile(newestOf(t, o))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	later := bytes.Replace(data, fmt.Appendf(nil, `\"version\":%d`, checkpointVersion), fmt.Appendf(nil, `\"version\":%d`, 9), 1)
	for _, c := range []struct {
		what string
		o    CheckpointExport
		kind error
		want string
	}{
		{"nothing there", CheckpointExport{Checkpoint: filepath.Join(o.Out, "none")}, ErrUsage, "no such file"},
		{"a run without checkpoints", CheckpointExport{Checkpoint: t.TempDir()}, ErrCheckpoint, "no checkpoints"},
		{"a run without a best", CheckpointExport{Checkpoint: o.Out, Best: true}, ErrCheckpoint, "--keep-best"},
		{"the best of a file", CheckpointExport{Checkpoint: newestOf(t, o), Best: true}, ErrUsage, "is a file"},
		{"a truncated one", CheckpointExport{Checkpoint: file("a", data[:len(data)-9])}, ErrCheckpoint, "truncated safetensors file"},
		{"garbage", CheckpointExport{Checkpoint: file("c", []byte("Dear Sir or Madam, herewith"))}, ErrCheckpoint, "is no checkpoint: not a safetensors file"},
		{"one of a newer version", CheckpointExport{Checkpoint: file("b", later)}, ErrCheckpoint, "newer pipe (version 9"},
		{"a model", CheckpointExport{Checkpoint: s.ONNX}, ErrCheckpoint, "is no checkpoint: not a safetensors file"},
	} {
		c.o.Out, c.o.Form = filepath.Join(t.TempDir(), "x.onnx"), DefaultForm()
		if _, err := ExportCheckpoint(c.o); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "delete") {
			t.Errorf("%s: %v", c.what, err)
		}
		if _, err := os.Stat(c.o.Out); err == nil {
			t.Errorf("%s: a file was written", c.what)
		}
	}
	folder := t.TempDir()
	for _, out := range []string{folder, folder + "/new/"} {
		if _, err := ExportCheckpoint(CheckpointExport{Checkpoint: o.Out, Out: out, Form: DefaultForm()}); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), filepath.Join(out, "student.onnx")) {
			t.Errorf("into folder %s: %v", out, err)
		}
	}
	form := DefaultForm()
	form.Opset = 7
	if _, err := ExportCheckpoint(CheckpointExport{Checkpoint: o.Out, Out: filepath.Join(t.TempDir(), "x.onnx"), Form: form}); !errors.Is(err, ErrUsage) {
		t.Errorf("opset 7: %v", err)
	}
}
