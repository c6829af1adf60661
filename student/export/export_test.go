package export

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/internal/release"
	"facepipe/internal/safetensors"
	"facepipe/internal/seal"
	"facepipe/student/checkpoint"
	"facepipe/student/net"
)

// checkpointed is a run's folder that has a checkpoint of a small network after each of the
// steps.
func checkpointed(t *testing.T, steps ...int) (run string) {
	t.Helper()
	run = t.TempDir()
	for _, step := range steps {
		save(t, run, step)
	}
	return run
}

// save appends a checkpoint to a run.
func save(t *testing.T, run string, step int) {
	t.Helper()
	n, err := net.New("mobilefacenet", net.Config{Dim: 16, Width: 0.125})
	if err != nil {
		t.Fatal(err)
	}
	var tensors []safetensors.Source
	for p, v := range n.Initial(1) {
		tensors = append(tensors, safetensors.Of(checkpoint.ParamPrefix+p.Name, safetensors.Tensor{Shape: p.Shape, Float32: v}))
	}
	at := checkpoint.Position{Step: step, Network: n.Name, Size: n.Config, Fingerprint: "f", InputNorm: "outside"}
	if err := checkpoint.Save(run, tensors, at, 9); err != nil {
		t.Fatal(err)
	}
}

// newestOf is the newest checkpoint of a run.
func newestOf(t *testing.T, run string) string {
	t.Helper()
	path, err := checkpoint.Newest(run)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// exportOf exports a checkpoint into a file of its own.
func exportOf(t *testing.T, o Options) (Summary, []byte) {
	t.Helper()
	o.Out = filepath.Join(t.TempDir(), "student.onnx")
	s, err := Run(o)
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

// Other forms embed alike, and say what they take.
func TestForms(t *testing.T) {
	run := checkpointed(t, 5)
	plain, _ := exportOf(t, Options{Checkpoint: run, Form: DefaultForm()})
	want := embedOne(t, plain.ONNX)
	for _, f := range []Form{
		{DType: "fp16", Opset: 13, InputNorm: "outside"},
		{DType: "fp32", Opset: 18, InputNorm: "inside", UnitLength: true},
		{DType: "fp16", Opset: 21, InputNorm: "inside", UnitLength: true},
	} {
		e, data := exportOf(t, Options{Checkpoint: run, Form: f})
		if c := cosine(embedOne(t, e.ONNX), want); !(c >= 0.9999) {
			t.Errorf("%+v: cosine %g", f, c)
		}
		m, err := onnx.Unmarshal(data)
		if err != nil {
			t.Fatal(err)
		}
		if m.OpsetVersion != int64(f.Opset) || (m.Graph.Nodes[0].OpType == "Sub") != (f.InputNorm == "inside") ||
			(m.Graph.Nodes[len(m.Graph.Nodes)-1].OpType == "Div") != f.UnitLength || m.Property(TeacherKey) != "f" {
			t.Errorf("%+v: opset %d, first %s, last %s, teacher %q", f, m.OpsetVersion, m.Graph.Nodes[0].OpType,
				m.Graph.Nodes[len(m.Graph.Nodes)-1].OpType, m.Property(TeacherKey))
		}
		if half := m.Graph.Initializers[len(m.Graph.Initializers)/2].Type == onnx.Float16; half != (f.DType == "fp16") {
			t.Errorf("%+v: weights in half precision: %v", f, half)
		}
	}
}

func embedOne(t *testing.T, path string) []float32 {
	t.Helper()
	m, err := embed.Open(t.Context(), path, embed.Options{Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pixels := make([]byte, net.InputSide*net.InputSide*3)
	for i := range pixels {
		pixels[i] = byte(127.5 + 120*math.Sin(float64(i)/40)*math.Cos(float64(i/(3*net.InputSide))/9))
	}
	y := make([]float32, m.Dim())
	if err := m.Embed(1, pixels, false, y); err != nil {
		t.Fatal(err)
	}
	return y
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

// A run that prunes its checkpoints may remove one that is about to be read.
func TestWhileTheRunPrunes(t *testing.T) {
	run := checkpointed(t, 5, 10)
	var read []string
	e, _ := exportOf(t, Options{Checkpoint: run, Form: DefaultForm(), beforeRead: func(path string) {
		if read = append(read, filepath.Base(path)); len(read) > 1 {
			return
		}
		save(t, run, 11)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}})
	if want := []string{checkpoint.Name(10), checkpoint.Name(11)}; !slices.Equal(read, want) || e.Step != 11 {
		t.Errorf("read %v and exported step %d, want %v", read, e.Step, want)
	}
}

// What an export left that was killed is gone after the next of the same file.
func TestAfterAKilledExport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "student.onnx")
	temp := filepath.Join(filepath.Dir(out), durable.TempPrefix+"student.onnx")
	if err := os.WriteFile(temp, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(Options{Checkpoint: checkpointed(t, 5), Form: DefaultForm(), Out: out}); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A student of which a bit is another is refused by whoever opens it, before it is run.
func TestFlippedBitIsDamage(t *testing.T) {
	s, data := exportOf(t, Options{Checkpoint: checkpointed(t, 5), Form: DefaultForm()})
	if m, err := onnx.Unmarshal(data); err != nil || !m.IsSealed() {
		t.Errorf("it carries no digest: %v", err)
	}
	data[len(data)/2] ^= 4
	if err := os.WriteFile(s.ONNX, data, 0o644); err != nil {
		t.Fatal(err)
	}
	_, digest := embed.Digest(s.ONNX)
	_, described := embed.Describe(s.ONNX)
	_, opened := embed.Open(t.Context(), s.ONNX, embed.Options{})
	for _, err := range []error{digest, described, opened} {
		if !errors.Is(err, seal.ErrDamaged) || !strings.Contains(err.Error(), s.ONNX) || !strings.Contains(err.Error(), "export it again") {
			t.Errorf("%v", err)
		}
	}
}

func TestRefuses(t *testing.T) {
	run := checkpointed(t, 5)
	data, err := os.ReadFile(newestOf(t, run))
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
	s, _ := exportOf(t, Options{Checkpoint: run, Form: DefaultForm()})
	later := filepath.Join(t.TempDir(), "b")
	tensors, at, err := checkpoint.Read(newestOf(t, run))
	at.Version = 9
	if err := errors.Join(err, checkpoint.Write(later, safetensors.Sources(tensors), at)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		o    Options
		kind error
		want string
	}{
		{"nothing there", Options{Checkpoint: filepath.Join(run, "none")}, ErrUsage, "no such file"},
		{"a run without checkpoints", Options{Checkpoint: t.TempDir()}, checkpoint.ErrUnusable, "no checkpoints"},
		{"a run without a best", Options{Checkpoint: run, Best: true}, checkpoint.ErrUnusable, "--keep-best"},
		{"the best of a file", Options{Checkpoint: newestOf(t, run), Best: true}, ErrUsage, "is a file"},
		{"a truncated one", Options{Checkpoint: file("a", data[:len(data)-9])}, checkpoint.ErrUnusable, "truncated safetensors file"},
		{"garbage", Options{Checkpoint: file("c", []byte("Dear Sir or Madam, herewith"))}, checkpoint.ErrUnusable, "is no checkpoint: not a safetensors file"},
		{"one of a newer version", Options{Checkpoint: later}, checkpoint.ErrUnusable, "newer pipe (version 9"},
		{"a model", Options{Checkpoint: s.ONNX}, checkpoint.ErrUnusable, "is no checkpoint: not a safetensors file"},
	} {
		c.o.Out, c.o.Form = filepath.Join(t.TempDir(), "x.onnx"), DefaultForm()
		if _, err := Run(c.o); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "delete") {
			t.Errorf("%s: %v", c.what, err)
		}
		if _, err := os.Stat(c.o.Out); err == nil {
			t.Errorf("%s: a file was written", c.what)
		}
	}
	folder := t.TempDir()
	for _, out := range []string{folder, folder + "/new/"} {
		if _, err := Run(Options{Checkpoint: run, Out: out, Form: DefaultForm()}); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), filepath.Join(out, "student.onnx")) {
			t.Errorf("into folder %s: %v", out, err)
		}
	}
	form := DefaultForm()
	form.Opset = 7
	if _, err := Run(Options{Checkpoint: run, Out: filepath.Join(t.TempDir(), "x.onnx"), Form: form}); !errors.Is(err, ErrUsage) {
		t.Errorf("opset 7: %v", err)
	}
}

// A model says which program wrote it, and how far its run had really gone.
func TestNoteOfTraining(t *testing.T) {
	run := checkpointed(t, 5)
	o := Options{Checkpoint: run, Form: DefaultForm()}
	_, data := exportOf(t, o)
	m, err := onnx.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if m.Producer != "pipe" || m.Version != release.Version || !strings.Contains(m.Property(TrainingKey), `"program":"pipe `+release.Version+`"`) {
		t.Errorf("made by %s %s: %s", m.Producer, m.Version, m.Property(TrainingKey))
	}
	at := checkpoint.Position{Step: 30, Epochs: 18, Total: 90, Scaler: &checkpoint.Scaler{Skipped: 4}}
	if n := NoteOf(at, false); n.Steps != 26 || n.Skipped != 4 || n.Epochs != 6 {
		t.Errorf("30 of 90 steps of 18 epochs, of which 4 were skipped: %+v", n)
	}
}
