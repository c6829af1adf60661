package student

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/imgcodec"
	"facepipe/internal/safetensors"
	"facepipe/internal/seal"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/student/checkpoint"
	"facepipe/student/loss"
)

const (
	fixtureCrops = 40
	fixtureDim   = 16
)

// fixture writes a dataset of coloured waves: an identity has its own direction and
// colour, an image its own phase. Its teacher "t" embeds them by identity and phase.
func fixture(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	addWaves(t, dir, 0, fixtureCrops)
	cacheTeacher(t, dir, "t", target)
	return dir
}

// addWaves appends waves from .. to-1 to a dataset, and has it reject what is in broken.
func addWaves(t testing.TB, dir string, from, to int, broken ...string) {
	t.Helper()
	contract := store.Contract{CropSize: 112, Template: "arcface-112", Warp: "none", Decoder: "none"}
	w, err := store.OpenWriter(dir, contract, store.WriterOptions{ShardRows: 16})
	if err != nil {
		t.Fatal(err)
	}
	source := w.AddSource(store.SourceInfo{Kind: "folder", Path: "waves", Detector: "none"})
	for i := from; i < to; i++ {
		pixels := wave(i)
		id := i % 8
		if _, err := w.Append(store.Crop{ID: store.CropID(contract, pixels), Source: source,
			Key: fmt.Sprintf("id%d/%02d.raw", id, i), Identity: fmt.Sprintf("id%d", id),
			Encoding: imgcodec.Raw, Image: pixels}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range broken {
		if err := w.Reject(store.Reject{Source: source, Key: key, Stage: "decode", Reason: "cut short"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func wave(i int) []byte {
	id := i % 8
	sin, cos := math.Sincos(float64(id) * math.Pi / 8)
	pixels := make([]byte, 112*112*3)
	for y := range 112 {
		for x := range 112 {
			v := math.Sin((cos*float64(x)+sin*float64(y))/6 + float64(i))
			for c := range 3 {
				pixels[3*(y*112+x)+c] = byte(127.5 + 120*v*math.Cos(float64(id*(c+1))))
			}
		}
	}
	return pixels
}

// cacheTeacher caches what a teacher says of an image, or of its mirror image if flip is 1.
func cacheTeacher(t testing.TB, dir, name string, says func(i, flip int) []float32) {
	t.Helper()
	ds, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	w, err := cache.Create(ds, cache.Info{Name: name, ModelFile: "t.onnx", ModelDigest: "d", Fingerprint: "f" + name[1:],
		Dim: len(says(0, 0)), DType: cache.FP32, Flip: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, shard := range w.MissingShards() {
		out, err := w.Shard(shard)
		if err != nil {
			t.Fatal(err)
		}
		for row := range ds.ShardRows(shard) {
			i := ds.RowOf(store.Location{Shard: uint32(shard), Row: uint32(row)})
			if err := out.Append(says(i, 0), says(i, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// target is a direction of the identity plus a little of the image.
func target(i, flip int) []float32 {
	id := rand.New(rand.NewPCG(uint64(i%8), 1))
	own := rand.New(rand.NewPCG(uint64(i), uint64(2+flip)))
	e := make([]float32, fixtureDim)
	for k := range e {
		e[k] = float32(3*id.NormFloat64() + 0.3*own.NormFloat64())
	}
	return e
}

// tune lays settings, as the section of a config has them, over those of a loss.
func tune(c *loss.Config, section string) {
	if err := yaml.Unmarshal([]byte(section), c); err != nil {
		panic(err)
	}
}

// tensorFile is a safetensors file of tensors.
func tensorFile(t testing.TB, tensors map[string]safetensors.Tensor) []byte {
	t.Helper()
	var data bytes.Buffer
	if err := safetensors.Write(&data, safetensors.Sources(tensors), nil); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

// options are those of a short run of a very small network. One thread, since other
// packages' tests run at the same time and threads of OpenMP wait by spinning.
func options(t testing.TB, dataset string) Options {
	t.Helper()
	o := DefaultOptions()
	o.Dataset, o.Teacher, o.Out = dataset, "t", filepath.Join(t.TempDir(), "run")
	o.Size.Dim, o.Size.Width = 16, 0.125
	o.Epochs, o.Batch, o.LogEvery = 3, 8, 1
	tune(&o.Loss, "{iled: {warmup: 4}, rpsd: {bank: 24, negatives: 8, ramp: 4}}")
	o.LR, o.WarmupEpochs, o.Threads = 0.05, 1, 1
	return o
}

// beforeSeals makes a run one of before files carried their digests, with this run.json.
func beforeSeals(t testing.TB, o Options, runFile []byte) {
	t.Helper()
	if err := os.WriteFile(checkpoint.RunFile(o.Out), unsealed(t, runFile), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, strip := range map[string]func([]byte) []byte{
		"summary.json": func(text []byte) []byte { return unsealed(t, text) },
		"distill.yaml": func(text []byte) []byte { return text[:bytes.LastIndex(text, []byte("# seal"))] },
		"metrics.jsonl": func(text []byte) []byte {
			return regexp.MustCompile(`,"seal":"[0-9a-f]*"`).ReplaceAll(text, nil)
		},
	} {
		path := filepath.Join(o.Out, name)
		if text, err := os.ReadFile(path); err == nil { // not of a run that goes on
			if err := os.WriteFile(path, strip(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := checkpoint.List(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := safetensors.Unmarshal(data)
		if err != nil {
			t.Fatal(err)
		}
		const key = "pipe.position"
		var at map[string]any
		if err := json.Unmarshal([]byte(file.Metadata[key]), &at); err != nil {
			t.Fatal(err)
		}
		delete(at, "run")
		delete(at, "metrics_lines")
		text, err := json.Marshal(at)
		if err != nil {
			t.Fatal(err)
		}
		var old bytes.Buffer
		if err := errors.Join(safetensors.Write(&old, safetensors.Sources(file.Tensors), map[string]string{key: string(text)}),
			os.WriteFile(path, old.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// unsealed is a JSON object without its seal.
func unsealed(t testing.TB, object []byte) []byte {
	t.Helper()
	body, _, found := bytes.Cut(object, []byte(seal.Lead))
	if !found {
		return object
	}
	return append(bytes.Clone(body), "\n}\n"...)
}
