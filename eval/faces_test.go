package eval

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/store"
)

// side keeps crops tiny.
const side = 8

var contract = store.Contract{CropSize: side, Template: "five-point-test", Warp: "none", Decoder: "test decoder"}

// testCrop is picture number of a person: the person's own pattern with some noise.
func testCrop(key string, person, number int) store.Crop {
	pattern := rand.New(rand.NewPCG(uint64(person), 1))
	noise := rand.New(rand.NewPCG(uint64(person), uint64(number)+2))
	img := imgcodec.NewImage(side, side)
	for i := range img.Pix {
		img.Pix[i] = byte(60 + pattern.IntN(100) + noise.IntN(80))
	}
	return store.Crop{
		ID: store.CropID(contract, img.Pix), Key: key, Identity: fmt.Sprintf("P%02d", person),
		Encoding: imgcodec.Raw, Image: img.Pix,
	}
}

// person%02d/..., as LFW names images.
func lfwKey(person, number int, ext string) string {
	return fmt.Sprintf("P%02d/P%02d_%04d%s", person, person, number, ext)
}

// writeDataset stores crops in several small shards.
func writeDataset(t *testing.T, crops []store.Crop) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	w, err := store.OpenWriter(dir, contract, store.WriterOptions{ShardRows: 7, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	source := w.AddSource(store.SourceInfo{Kind: "folder", Path: "photos", Detector: "test detector 256", DetectorDigest: strings.Repeat("ab", 32)})
	for _, c := range crops {
		c.Source = source
		if _, err := w.Append(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

const people, pictures = 10, 4

// faces is a dataset of people with several pictures each.
func faces(t *testing.T) string {
	t.Helper()
	var crops []store.Crop
	for p := range people {
		for n := range pictures {
			crops = append(crops, testCrop(lfwKey(p, n+1, ".png"), p, n+1))
		}
	}
	return writeDataset(t, crops)
}

func openDataset(t *testing.T, dir string) *store.Dataset {
	t.Helper()
	ds, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	return ds
}

// lfwList is a list of ten sets in LFW's format on faces: set s has the pictures of
// person s as same pairs, and pairs with the next people as different ones.
func lfwList() string {
	var b strings.Builder
	b.WriteString("10\t3\n")
	for s := range people {
		for n := 2; n <= pictures; n++ {
			fmt.Fprintf(&b, "P%02d\t1\t%d\n", s, n)
		}
		for n := 1; n < pictures; n++ {
			fmt.Fprintf(&b, "P%02d\t%d\tP%02d\t%d\n", s, n, (s+n)%people, n)
		}
	}
	return b.String()
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const dim = 12

// weights of the test models' only layer.
func weights(seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 99))
	w := make([]float32, 3*side*side*dim)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	return w
}

// linearModel writes an embedder that multiplies the centred pixels by a matrix. edit
// may spoil it.
func linearModel(t *testing.T, name string, seed uint64, edit func(*onnx.Model)) string {
	t.Helper()
	p := embed.Preprocess{ChannelOrder: "RGB", Mean: [3]float32{128, 128, 128}, Std: [3]float32{64, 64, 64}, Height: side, Width: side, Layout: "NCHW"}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	m := &onnx.Model{
		IRVersion: 7, OpsetVersion: 13,
		Metadata: []onnx.Property{{Key: embed.PreprocessKey, Value: string(text)}},
		Graph: onnx.Graph{
			Name: "linear",
			Nodes: []onnx.Node{
				{Name: "flat", OpType: "Flatten", Inputs: []string{"input"}, Outputs: []string{"flat"}},
				{Name: "fc", OpType: "MatMul", Inputs: []string{"flat", "w"}, Outputs: []string{"embedding"}},
			},
			Inputs:       []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, side, side)...)}},
			Outputs:      []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: dim}}}},
			Initializers: []onnx.Tensor{onnx.FloatTensor("w", weights(seed), 3*side*side, dim)},
		},
	}
	if edit != nil {
		edit(m)
	}
	return writeFile(t, name, string(m.Marshal()))
}

// byHand is what linearModel gives for a crop.
func byHand(w []float32, rgb []byte, flip bool) []float64 {
	e := make([]float64, dim)
	for c := range 3 {
		for y := range side {
			for x := range side {
				from := x
				if flip {
					from = side - 1 - x
				}
				v := (float64(rgb[3*(y*side+from)+c]) - 128) / 64
				for k := range e {
					e[k] += v * float64(w[((c*side+y)*side+x)*dim+k])
				}
			}
		}
	}
	return e
}
