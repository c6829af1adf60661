package storetest

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
)

// SpoilSome makes every fifth embedding unusable.
func SpoilSome(row int, e []float32) {
	if row%5 == 3 {
		clear(e)
	}
}

// Info describes a teacher of 24 elements.
func Info(dtype string, flip bool) cache.Info {
	return cache.Info{
		Name: "r50", ModelFile: "r50.onnx", ModelDigest: strings.Repeat("ab", 32),
		Fingerprint: "fp-" + dtype, Preprocess: json.RawMessage(`{"mean":[127.5],"layout":"NCHW"}`),
		PreprocessReason: "test", Dim: 24, DType: dtype, Flip: flip,
	}
}

// Embedding is what the test teacher says of a crop: a function of its id.
func Embedding(id store.ID, mirror bool) []float32 {
	rng := rand.New(rand.NewPCG(uint64(id[0])|uint64(id[1])<<8, uint64(id[2])))
	e := make([]float32, 24)
	for i := range e {
		e[i] = float32(rng.NormFloat64()) * 4
		if mirror {
			e[i] += 0.25
		}
	}
	return e
}

// Embed fills the missing shards of a cache with Embedding; spoil may change an
// embedding. It stops after limit shards.
func Embed(t testing.TB, d *store.Dataset, info cache.Info, limit int, spoil func(row int, e []float32)) {
	t.Helper()
	w, err := cache.Create(d, info)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(t, w)
	for n, shard := range w.MissingShards() {
		if n == limit {
			return
		}
		EmbedShard(t, d, w, info, shard, spoil)
	}
}

func EmbedShard(t testing.TB, d *store.Dataset, w *cache.Writer, info cache.Info, shard int, spoil func(row int, e []float32)) {
	t.Helper()
	e, err := w.Shard(shard)
	if err != nil {
		t.Fatal(err)
	}
	AppendShard(t, d, e, info, shard, spoil)
	if err := e.Commit(); err != nil {
		t.Fatal(err)
	}
}

// AppendShard embeds all crops of a shard.
func AppendShard(t testing.TB, d *store.Dataset, e *cache.ShardWriter, info cache.Info, shard int, spoil func(row int, e []float32)) {
	t.Helper()
	crops, err := d.CropShard(shard)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(t, crops)
	for k := range crops.Rows() {
		c, err := crops.Crop(k)
		if err != nil {
			t.Fatal(err)
		}
		plain := Embedding(c.ID, false)
		if spoil != nil {
			spoil(d.RowOf(store.Location{uint32(shard), uint32(k)}), plain)
		}
		var mirror []float32
		if info.Flip {
			mirror = Embedding(c.ID, true)
		}
		if err := e.Append(plain, mirror); err != nil {
			t.Fatal(err)
		}
	}
}

func Cache(t testing.TB, d *store.Dataset, name string) *cache.Cache {
	t.Helper()
	teacher, err := cache.Open(d, name)
	if err != nil {
		t.Fatal(err)
	}
	return teacher
}
