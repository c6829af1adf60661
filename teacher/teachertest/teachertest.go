// Package teachertest builds datasets and teachers' caches for tests, and looks into them.
package teachertest

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/storetest"
)

// Side is that of crops, in pixels.
const Side = 112

// Contract is that of the datasets.
var Contract = store.Contract{CropSize: Side, Template: "test", Warp: "none", Decoder: imgcodec.DecoderName()}

// Dark is the number of the first [Crop] with a black corner.
const Dark = 1000

// Crop is a picture of blocks of 16×16, as RGB pixels.
func Crop(number int) []byte {
	rng := rand.New(rand.NewPCG(7, uint64(number)))
	pixels := make([]byte, Side*Side*3)
	const block = 16
	for y := 0; y < Side; y += block {
		for x := 0; x < Side; x += block {
			colour := [3]byte{byte(1 + rng.IntN(255)), byte(1 + rng.IntN(255)), byte(1 + rng.IntN(255))}
			if number >= Dark && x == 0 && y == 0 {
				colour = [3]byte{}
			}
			for i := range block * block {
				copy(pixels[3*((y+i/block)*Side+x+i%block):], colour[:])
			}
		}
	}
	return pixels
}

// People writes a dataset of n crops of each of the identities p0, p1 ... in shards of 6.
// Without identities it has n crops of nobody.
func People(t *testing.T, identities, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	Append(t, dir, identities, 0, max(identities, 1)*n)
	return dir
}

// Append adds crops from to to-1 to a dataset, of the identities in turn.
func Append(t *testing.T, dir string, identities, from, to int) {
	t.Helper()
	var crops []store.Crop
	for i := from; i < to; i++ {
		identity := ""
		if identities > 0 {
			identity = fmt.Sprintf("p%d", i%identities)
		}
		crops = append(crops, storetest.Raw(Contract, Crop(i), fmt.Sprintf("%d.raw", i), identity))
	}
	storetest.Write(t, dir, Contract, 6, Source, crops)
}

// Source is where the crops are from.
var Source = store.SourceInfo{Kind: "folder", Path: "test", Detector: "none"}

// Cache writes a cache in fp32 whose embeddings are those that a function gives; nil for none
// of use.
func Cache(t *testing.T, dir, name string, dim int, embedding func(row int) []float32) {
	t.Helper()
	ds, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	w, err := cache.Create(ds, cache.Info{Name: name, ModelFile: name + ".onnx", Fingerprint: "print of " + name, Dim: dim, DType: cache.FP32})
	if err != nil {
		t.Fatal(err)
	}
	Fill(t, ds, w, func(row int) []float32 {
		if e := embedding(row); e != nil {
			return e
		}
		return make([]float32, dim)
	})
}

// Fill writes the missing shards of a cache and closes its writer.
func Fill(t *testing.T, ds *store.Dataset, w *cache.Writer, embedding func(row int) []float32) {
	t.Helper()
	row := 0
	for _, i := range w.MissingShards() {
		out, err := w.Shard(i)
		if err != nil {
			t.Fatal(err)
		}
		for range ds.ShardRows(i) {
			if err := out.Append(embedding(row), nil); err != nil {
				t.Fatal(err)
			}
			row++
		}
		if err := out.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// OpenCache opens a dataset and one of its caches until the test ends.
func OpenCache(t *testing.T, dir, name string) (*store.Dataset, *cache.Cache) {
	t.Helper()
	ds, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	cache, err := cache.Open(ds, name)
	if err != nil {
		t.Fatal(err)
	}
	return ds, cache
}

// Files are the contents of a cache's files by their path. Its lock and the records of its
// runs are left out: these hold times.
func Files(t *testing.T, dir, name string) map[string]string {
	t.Helper()
	root := filepath.Join(dir, "teachers", name)
	contents := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "runs" {
				return fs.SkipDir
			}
			return nil
		}
		data, err := os.ReadFile(path)
		if len(data) > 0 {
			contents[path[len(root):]] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return contents
}
