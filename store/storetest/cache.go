package storetest

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
)

// dim is the length of a teacher's embeddings.
const dim = 24

// Info describes the teacher r50, with embeddings of 24 elements of a type, of mirror images
// too if flip says so.
func Info(dtype string, flip bool) cache.Info {
	return cache.Info{
		Name: "r50", ModelFile: "r50.onnx", ModelDigest: strings.Repeat("ab", 32),
		Fingerprint: "fp-" + dtype, Preprocess: json.RawMessage(`{"mean":[127.5],"layout":"NCHW"}`),
		PreprocessReason: "test", Dim: dim, DType: dtype, Flip: flip,
	}
}

// Embedding is what the teacher says of a crop, or of its mirror image: a function of the
// crop's id.
func Embedding(id store.ID, mirror bool) []float32 {
	rng := rand.New(rand.NewPCG(uint64(id[0])|uint64(id[1])<<8, uint64(id[2])))
	e := make([]float32, dim)
	for i := range e {
		e[i] = float32(rng.NormFloat64()) * 4
		if mirror {
			e[i] += 0.25
		}
	}
	return e
}

// Spoil changes the embedding of the crop in a row of the dataset; nil changes none.
type Spoil = func(row int, embedding []float32)

// SpoilSome is a [Spoil] that makes every fifth embedding unusable.
func SpoilSome(row int, embedding []float32) {
	if row%5 == 3 {
		clear(embedding)
	}
}

// Embed fills missing shards of a cache, as many as limit says, all if it is negative.
func Embed(t testing.TB, d *store.Dataset, info cache.Info, limit int, spoil Spoil) {
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

// Shards are a cache that is being written, or a folder of parts of one.
type Shards interface {
	Shard(i int) (*cache.ShardWriter, error)
}

// EmbedShard is [TryShard], which must not fail.
func EmbedShard(t testing.TB, d *store.Dataset, w Shards, info cache.Info, shard int, spoil Spoil) {
	t.Helper()
	if err := TryShard(d, w, info, shard, spoil); err != nil {
		t.Fatal(err)
	}
}

// TryShard embeds all crops of a shard, and commits it.
func TryShard(d *store.Dataset, w Shards, info cache.Info, shard int, spoil Spoil) error {
	e, err := w.Shard(shard)
	if err != nil {
		return err
	}
	if err := AppendShard(d, e, info, shard, spoil); err != nil {
		return errors.Join(err, e.Abort())
	}
	return e.Commit()
}

// AppendShard embeds all crops of a shard, and does not commit it. A teacher with shorter
// embeddings than [Embedding]'s has the beginning of them.
func AppendShard(d *store.Dataset, e *cache.ShardWriter, info cache.Info, shard int, spoil Spoil) (err error) {
	crops, err := d.CropShard(shard)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crops.Close()) }()
	for k := range crops.Rows() {
		c, err := crops.Crop(k)
		if err != nil {
			return err
		}
		plain := Embedding(c.ID, false)[:info.Dim]
		if spoil != nil {
			spoil(d.RowOf(store.Location{Shard: uint32(shard), Row: uint32(k)}), plain)
		}
		var mirror []float32
		if info.Flip {
			mirror = Embedding(c.ID, true)[:info.Dim]
		}
		if err := e.Append(plain, mirror); err != nil {
			return err
		}
	}
	return nil
}

// Cache opens the cache of a teacher.
func Cache(t testing.TB, d *store.Dataset, name string) *cache.Cache {
	t.Helper()
	teacher, err := cache.Open(d, name)
	if err != nil {
		t.Fatal(err)
	}
	return teacher
}
