package store_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
	"facepipe/store/merge"
	"facepipe/store/storetest"
)

// Benchmarks use crops and embeddings of real size.
const (
	benchSize = 112
	benchRows = 2048
	benchDim  = 512
)

var benchContract = store.Contract{CropSize: benchSize, Template: "bench", Warp: "bench", Decoder: "bench"}

// benchCrops are raw crops; reading and writing do not care what is in them.
func benchCrops(n int) []store.Crop {
	rng := rand.New(rand.NewPCG(1, 1))
	pixels := make([]byte, 3*benchSize*benchSize)
	for i := range pixels {
		pixels[i] = byte(rng.Uint32())
	}
	crops := make([]store.Crop, n)
	for i := range crops {
		crops[i] = store.Crop{
			Key:      fmt.Sprintf("identity_%06d/%08d.jpg", i/20, i),
			Identity: fmt.Sprintf("identity_%06d", i/20),
			Encoding: imgcodec.Raw,
			Image:    pixels,
		}
		for b := range crops[i].ID {
			crops[i].ID[b] = byte(rng.Uint32())
		}
	}
	return crops
}

func benchDataset(b *testing.B) *store.Dataset {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "d")
	w, err := store.OpenWriter(dir, benchContract, store.WriterOptions{Logger: storetest.Quiet})
	if err != nil {
		b.Fatal(err)
	}
	w.AddSource(storetest.Source)
	for _, c := range benchCrops(benchRows) {
		if _, err := w.Append(c); err != nil {
			b.Fatal(err)
		}
	}
	storetest.Close(b, w)
	return storetest.Open(b, dir)
}

func benchTeacher(b *testing.B, d *store.Dataset, dtype string) *cache.Cache {
	b.Helper()
	w, err := cache.Create(d, cache.Info{Name: dtype, Fingerprint: dtype, Dim: benchDim, DType: dtype})
	if err != nil {
		b.Fatal(err)
	}
	e, err := w.Shard(0)
	if err != nil {
		b.Fatal(err)
	}
	v := make([]float32, benchDim)
	for i := range v {
		v[i] = float32(i%7) - 3
	}
	for range benchRows {
		if err := e.Append(v, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Commit(); err != nil {
		b.Fatal(err)
	}
	storetest.Close(b, w)
	return storetest.Cache(b, d, dtype)
}

// BenchmarkAppend writes raw crops, commits included, index not.
func BenchmarkAppend(b *testing.B) {
	crops := benchCrops(4096)
	w, err := store.OpenWriter(filepath.Join(b.TempDir(), "d"), benchContract, store.WriterOptions{Logger: storetest.Quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { w.Abort() })
	w.AddSource(storetest.Source)
	b.SetBytes(3 * benchSize * benchSize)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := crops[i%len(crops)]
		c.ID[0], c.ID[1], c.ID[2], c.ID[3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
		c.Key = fmt.Sprint(i)
		if _, err := w.Append(c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCrop reads one crop of an open shard.
func BenchmarkCrop(b *testing.B) {
	d := benchDataset(b)
	s, err := d.CropShard(0)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Crop(i * 31 % benchRows); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify opens a shard and reads one crop of every batch, hence all checksums.
func BenchmarkVerify(b *testing.B) {
	d := benchDataset(b)
	tallies, err := d.Tallies(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(tallies.CropBytes)
	for b.Loop() {
		s, err := d.CropShard(0)
		if err != nil {
			b.Fatal(err)
		}
		for row := 0; row < benchRows; row += table.MaxBatchRows {
			if _, err := s.Crop(row); err != nil {
				b.Fatal(err)
			}
		}
		storetest.Close(b, s)
	}
}

// BenchmarkEmbedding reads one embedding of an open shard as float32.
func BenchmarkEmbedding(b *testing.B) {
	d := benchDataset(b)
	for _, dtype := range []string{cache.FP16, cache.FP32} {
		b.Run(dtype, func(b *testing.B) {
			teacher := benchTeacher(b, d, dtype)
			s, err := teacher.Shard(0)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			dst := make([]float32, benchDim)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, _, err := s.Row(i*31%benchRows, false, dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen opens a dataset of 512 shards.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "d")
	w := storetest.Writer(b, dir, 1)
	storetest.Ingest(b, w, storetest.Source, 0, 512)
	storetest.Close(b, w)
	for b.Loop() {
		storetest.Close(b, storetest.Open(b, dir))
	}
}

// BenchmarkLookup finds a key in the index on disk and in memory, and as a reader does, who has the
// row confirm it.
func BenchmarkLookup(b *testing.B) {
	d := benchDataset(b)
	crops := benchCrops(benchRows)
	for name, open := range map[string]func() (index.Index, error){
		"badger": func() (index.Index, error) { return badgerOf(d) },
		"memory": func() (index.Index, error) { return index.NewMemory(b.Context(), d.IndexSource()) },
	} {
		b.Run(name, func(b *testing.B) {
			ix, err := open()
			if err != nil {
				b.Fatal(err)
			}
			defer ix.Close()
			for i := 0; b.Loop(); i++ {
				if _, ok, err := ix.ByKey(crops[i%benchRows].Key); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
	b.Run("dataset", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := d.Lookup(crops[i%benchRows].Key); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMerge copies raw crops and their embeddings, commits and index included.
func BenchmarkMerge(b *testing.B) {
	d := benchDataset(b)
	benchTeacher(b, d, cache.FP16)
	out := b.TempDir()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		s, err := merge.Datasets(b.Context(), filepath.Join(out, fmt.Sprint(n)), []string{d.Dir()}, merge.Options{Logger: storetest.Quiet})
		if err != nil || s.Written != benchRows || s.Teachers[0].Copied != benchRows {
			b.Fatalf("%+v, %v", s, err)
		}
	}
	b.ReportMetric(float64(n*benchRows)/b.Elapsed().Seconds(), "crops/s")
}
