package study

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/storetest"
)

// photo is a crop of a made-up set: pixels by its number, an embedding by who it shows.
type photo struct {
	key, identity  string
	person, number int
}

var contract = store.Contract{CropSize: 112, Template: "arcface-112", Warp: "none", Decoder: "none"}

// people are photographs of persons from .. to-1, shots of each, numbered by person and shot.
func people(from, to, shots int) (list []photo) {
	for p := from; p < to; p++ {
		for s := range shots {
			list = append(list, photo{fmt.Sprintf("%d/%d", p, s), fmt.Sprint(p), p, 100*p + s})
		}
	}
	return list
}

// addPhotos appends photographs to a dataset.
func addPhotos(t *testing.T, dir string, c store.Contract, photos []photo) {
	t.Helper()
	var crops []store.Crop
	for _, p := range photos {
		rng := rand.New(rand.NewPCG(7, uint64(p.number)))
		pixels := make([]byte, c.CropSize*c.CropSize*3)
		for k := 0; k < len(pixels); k += 97 {
			pixels[k] = byte(rng.Uint32())
		}
		crops = append(crops, storetest.Raw(c, pixels, p.key, p.identity))
	}
	storetest.Write(t, dir, c, 64, store.SourceInfo{Kind: "folder", Path: dir, Detector: "none"}, crops)
}

// embedPhotos caches a teacher, to which photographs of a person are alike.
func embedPhotos(t *testing.T, dir string, photos []photo) {
	t.Helper()
	ds := storetest.Open(t, dir)
	w, err := cache.Create(ds, cache.Info{Name: "big", ModelFile: "big.onnx", ModelDigest: "abc", Fingerprint: "print", Dim: 64, DType: cache.FP32})
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, w)
	row := 0
	for _, shard := range w.MissingShards() {
		out, err := w.Shard(shard)
		if err != nil {
			t.Fatal(err)
		}
		for range ds.ShardRows(shard) {
			person, own := rand.New(rand.NewPCG(1, uint64(photos[row].person))), rand.New(rand.NewPCG(2, uint64(photos[row].number)))
			e := make([]float32, 64)
			for i := range e {
				e[i] = float32(3*person.NormFloat64() + own.NormFloat64())
			}
			if err := out.Append(e, nil); err != nil {
				t.Fatal(err)
			}
			row++
		}
		if err := out.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// madeStudy is a study of labels alone on ten people, tested on forty, of whom the first four are
// trained on. more is what its file has besides.
func madeStudy(t *testing.T, more string) (dir string, s *Study) {
	t.Helper()
	dir = t.TempDir()
	train, test := append(people(0, 4, 6), people(100, 106, 6)...), people(0, 40, 4)
	// The photographs of person 0 are the same ones; of the other three there are others.
	for i := range test {
		if test[i].person > 0 {
			test[i].number += 50
		}
	}
	for name, photos := range map[string][]photo{"train.ds": train, "test.ds": test} {
		addPhotos(t, filepath.Join(dir, name), contract, photos)
		embedPhotos(t, filepath.Join(dir, name), photos)
	}
	pairs := ""
	for p := range 40 {
		pairs += fmt.Sprintf("%d/0 %d/1 1\n%d/2 %d/3 0\n", p, p, p, (p+1)%40)
	}
	storetest.WriteText(t, filepath.Join(dir, "pairs.txt"), pairs)
	return dir, rewritten(t, dir, more)
}

// rewritten is the study with another file.
func rewritten(t *testing.T, dir, more string) *Study {
	t.Helper()
	path := filepath.Join(dir, "study.yaml")
	storetest.WriteText(t, path, `dataset: train.ds
base: {size: {width: 0.125, dim: 16}, batch: 6}
budget: {steps: 2}
`+more+"\n")
	s, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const labelsAlone = `
axes: {loss: [arcface, cosface], seed: [1, 2]}
tests: [{name: faces, dataset: test.ds, pairs: pairs.txt}]`

// opened opens a study for the length of a test.
func opened(t *testing.T, s *Study, out string) *runner {
	t.Helper()
	r, err := open(t.Context(), s, Options{Out: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// touch makes a file of a row.
func touch(t *testing.T, r *Row, name, text string) {
	t.Helper()
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, r.file(name), text)
}
