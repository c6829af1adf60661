package student

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/onnx"
	"facepipe/internal/safetensors"
	"facepipe/student/checkpoint"
	"facepipe/student/net"
	"facepipe/student/net/layer"
)

// finished is a run that has ended.
func finished(t *testing.T, change func(*Options)) (Options, Summary) {
	t.Helper()
	o := options(t, fixture(t))
	if change != nil {
		change(&o)
	}
	s, err := Distill(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return o, s
}

// newestOf is the newest checkpoint of a run.
func newestOf(t *testing.T, o Options) string {
	t.Helper()
	files, err := checkpoint.List(o.Out)
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	return files[0]
}

// A run that begins with what another one ended with begins at its loss, by whichever
// file it takes the weights from.
func TestInit(t *testing.T) {
	before, s := finished(t, func(o *Options) { o.Epochs, o.Loss.Name = 12, "cosine" })
	losses := curve(t, before)
	epoch := len(losses) / before.Epochs
	begun, ended := mean(losses[:epoch]), mean(losses[len(losses)-epoch:])
	if !(ended < 0.5*begun) {
		t.Fatalf("the loss went from %g to %g", begun, ended)
	}
	for _, file := range []string{newestOf(t, before), s.ONNX, before.Out} {
		o := before
		var text strings.Builder
		o.Out, o.Init, o.Progress = filepath.Join(t.TempDir(), "run"), file, &text
		o.LR, o.WarmupEpochs, o.Epochs = 1e-6, 0, 1
		if _, err := Distill(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		// Of whole epochs: a batch has few crops, and other mirrored ones.
		if first := mean(curve(t, o)); math.Abs(first-ended) > 0.3*(begun-ended) {
			t.Errorf("%s: the first epoch's loss is %g, that of the other run's last %g of %g", filepath.Base(file), first, ended, begun)
		}
		if !strings.Contains(text.String(), "100.0% of the weights, by name") {
			t.Errorf("%s:\n%s", filepath.Base(file), text.String())
		}
	}
}

// A network of another width takes what it can, which is said, and the run is one with
// its file: with another it is not resumed.
func TestInitPart(t *testing.T) {
	before, s := finished(t, nil)
	o := options(t, before.Dataset)
	var text strings.Builder
	o.Size.Dim, o.Init, o.Progress, o.Epochs = 24, s.ONNX, &text, 1
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"start from " + s.ONNX, "at random  embed.weight [24 64 1 1]: [16 64 1 1] in the file"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not said:\n%s", want, text.String())
		}
	}
	config := read(t, o, "distill.yaml")
	if !strings.Contains(config, "init: "+s.ONNX) {
		t.Errorf("the settings of the run are\n%s", config)
	}
	o.Resume, o.Init = true, newestOf(t, before)
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "another init") {
		t.Errorf("resumed with another file: %v", err)
	}
}

// readTensors gives a network the weights of a file of these tensors.
func readTensors(t *testing.T, n *net.Network, tensors map[string]safetensors.Tensor) (layer.Values, net.Adoption, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	if err := os.WriteFile(path, tensorFile(t, tensors), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := readWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	v := n.Initial(2)
	a, err := f.adopt(n, v)
	return v, a, err
}

// Other names and types of the same weights are understood, and what is not is said.
func TestInitNames(t *testing.T) {
	n, err := net.New("mobilefacenet", net.Config{Dim: 16, Width: 0.125})
	if err != nil {
		t.Fatal(err)
	}
	want := n.Initial(1)
	for _, prefix := range []string{"", "module.", "_orig_mod.module.", "module._orig_mod."} {
		tensors := map[string]safetensors.Tensor{prefix + "steps": {Shape: []int{1}, Int64: []int64{7}}}
		for i, p := range n.Params() {
			tensor := safetensors.Tensor{Shape: p.Shape, Float32: want[p]}
			if i%2 == 0 { // in double precision
				tensor = safetensors.Tensor{Shape: p.Shape}
				for _, v := range want[p] {
					tensor.Float64 = append(tensor.Float64, float64(v))
				}
			}
			tensors[prefix+p.Name] = tensor
		}
		v, a, err := readTensors(t, n, tensors)
		if err != nil {
			t.Fatal(err)
		}
		if a.Taken != len(n.Params()) || !slices.Equal(a.Unused, []string{prefix + "steps (integers)"}) {
			t.Errorf("%q: took %d of %d, left %v", prefix, a.Taken, len(n.Params()), a.Unused)
		}
		for _, p := range n.Params() {
			if !slices.Equal(v[p], want[p]) {
				t.Fatalf("%q: another %s", prefix, p.Name)
			}
		}
	}
}

// A network of another size is told by a tensor's two shapes.
func TestInitOfAnotherSize(t *testing.T) {
	n, err := net.New("mobilefacenet", net.Config{Dim: 16, Width: 0.125})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = readTensors(t, n, map[string]safetensors.Tensor{"stem.conv.weight": {Shape: []int{1, 1}, Float32: []float32{1}}})
	if want := "its stem.conv.weight is [1 1], the network's [8 3 3 3]"; !errors.Is(err, ErrWeights) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestInitRefuses(t *testing.T) {
	before, s := finished(t, func(o *Options) { o.Epochs = 1 })
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	model, err := os.ReadFile(s.ONNX)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := os.ReadFile(newestOf(t, before))
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(checkpoint)
	flipped[len(flipped)-1] ^= 1
	m, err := onnx.Unmarshal(slices.Clone(model))
	if err != nil {
		t.Fatal(err)
	}
	m.Producer = "another program"
	first := &m.Graph.Initializers[0]
	*first = onnx.FloatTensor(first.Name, append([]float32{float32(math.NaN())}, make([]float32, len(first.Data)/4-1)...), first.Dims...)
	strange := tensorFile(t, map[string]safetensors.Tensor{"fc": {Shape: []int{1}, Float32: []float32{1}}})
	for want, path := range map[string]string{
		"no such file":               filepath.Join(dir, "none"),
		"not an ONNX model":          file("letter.onnx", []byte("Dear Sir or Madam, herewith")),
		"cut short":                  file("half.onnx", model[:len(model)/2]),
		"truncated safetensors file": file("half.safetensors", checkpoint[:len(checkpoint)/2]),
		"damaged":                    file("flipped.safetensors", flipped),
		"is NaN":                     file("nan.onnx", m.Marshal()),
		"none of its tensors":        file("strange.safetensors", strange),
	} {
		o := options(t, before.Dataset)
		o.Init = path
		if _, err := Distill(t.Context(), o); !errors.Is(err, ErrWeights) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: want %q: %v", filepath.Base(path), want, err)
		}
	}
}
