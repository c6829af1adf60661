package store

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"facepipe/internal/imgcodec"
)

// Benchmarks use crops and embeddings of real size.
const (
	benchSize = 112
	benchRows = 2048
	benchDim  = 512
)

var benchContract = Contract{CropSize: benchSize, Template: "bench", Warp: "bench", Decoder: "bench"}

// benchCrops are raw crops; reading and writing do not care what is in them.
func benchCrops(n int) []Crop {
	rng := rand.New(rand.NewPCG(1, 1))
	pixels := make([]byte, 3*benchSize*benchSize)
	for i := range pixels {
		pixels[i] = byte(rng.Uint32())
	}
	crops := make([]Crop, n)
	for i := range crops {
		crops[i] = Crop{
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

func benchDataset(b *testing.B) *Dataset {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "d")
	w, err := OpenWriter(dir, benchContract, WriterOptions{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	w.AddSource(testSource)
	for _, c := range benchCrops(benchRows) {
		if _, err := w.Append(c); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, w)
	return mustOpen(b, dir)
}

func benchTeacher(b *testing.B, d *Dataset, dtype string) *Teacher {
	b.Helper()
	w, err := d.CreateTeacher(TeacherInfo{Name: dtype, Fingerprint: dtype, Dim: benchDim, DType: dtype})
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
	mustClose(b, w)
	return mustTeacher(b, d, dtype)
}

// BenchmarkAppend writes raw crops, commits included, index not.
func BenchmarkAppend(b *testing.B) {
	crops := benchCrops(4096)
	w, err := OpenWriter(filepath.Join(b.TempDir(), "d"), benchContract, WriterOptions{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { w.Abort() })
	w.AddSource(testSource)
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
	b.SetBytes(d.shards[0].file.Bytes)
	for b.Loop() {
		s, err := d.CropShard(0)
		if err != nil {
			b.Fatal(err)
		}
		for row := 0; row < benchRows; row += maxBatchRows {
			if _, err := s.Crop(row); err != nil {
				b.Fatal(err)
			}
		}
		mustClose(b, s)
	}
}

// BenchmarkEmbedding reads one embedding of an open shard as float32.
func BenchmarkEmbedding(b *testing.B) {
	d := benchDataset(b)
	for _, dtype := range []string{FP16, FP32} {
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

// BenchmarkEmbed writes one embedding as fp16, commits not included.
func BenchmarkEmbed(b *testing.B) {
	v := make([]float32, benchDim)
	for i := range v {
		v[i] = float32(i%7) - 3
	}
	batch := embeddingBatch{}
	info := TeacherInfo{Dim: benchDim, DType: FP16}
	batch.reset(&info)
	b.ReportAllocs()
	for b.Loop() {
		if batch.full() {
			batch.reset(&info)
		}
		if _, err := batch.plain.append(v); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a dataset of 512 shards.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "d")
	w := mustWriter(b, dir, 1)
	ingest(b, w, testSource, 0, 512)
	mustClose(b, w)
	for b.Loop() {
		mustClose(b, mustOpen(b, dir))
	}
}

// BenchmarkLookup finds a key in the index on disk and in memory.
func BenchmarkLookup(b *testing.B) {
	d := benchDataset(b)
	crops := benchCrops(benchRows)
	for name, open := range map[string]func() (index, error){
		"badger": func() (index, error) { return badgerOf(d) },
		"memory": func() (index, error) { return newMemoryIndex(b.Context(), d.indexSource()) },
	} {
		b.Run(name, func(b *testing.B) {
			ix, err := open()
			if err != nil {
				b.Fatal(err)
			}
			defer ix.close()
			for i := 0; b.Loop(); i++ {
				if _, ok, err := ix.byKey(crops[i%benchRows].Key); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// BenchmarkKeyTable inserts into a table of a million keys.
func BenchmarkKeyTable(b *testing.B) {
	keys := make([]key128, 1<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range keys {
		for p := range keys[i] {
			keys[i][p] = byte(rng.Uint32())
		}
	}
	for b.Loop() {
		var t keyTable
		for _, k := range keys {
			t.insert(k)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(keys)), "ns/key")
}
