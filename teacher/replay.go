package teacher

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"facepipe/internal/embed"
	"facepipe/store"
)

// ReplayOptions are the settings of [Replay].
type ReplayOptions struct {
	Dataset string
	// Teacher is the cache's name; Model the ONNX file it was made with.
	Teacher string
	Model   string
	// N crops are drawn, by Seed.
	N    int
	Seed uint64
	// MinCosine is the lowest agreement that passes; 0 takes 0.9999 for fp32 caches
	// and 0.999 for fp16 ones.
	MinCosine float64
	Threads   int
	Provider  string
	Library   string
	Progress  io.Writer
}

// ReplayReport is how far the cache agrees with the model today.
type ReplayReport struct {
	Teacher string `json:"teacher"`
	Rows    int    `json:"rows"`
	// MinCosine and MeanCosine are between cached and new embeddings.
	MinCosine  float64 `json:"min_cosine"`
	MeanCosine float64 `json:"mean_cosine"`
	OK         bool    `json:"ok"`
}

// Replay embeds N random crops again, under the contract that the cache records, and
// compares. A model file with another digest is store.ErrFingerprint.
func Replay(ctx context.Context, o ReplayOptions) (ReplayReport, error) {
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return ReplayReport{}, err
	}
	defer ds.Close()
	cache, err := ds.OpenTeacher(o.Teacher)
	if err != nil {
		return ReplayReport{}, err
	}
	model, err := openAs(cache.Info(), o)
	if err != nil {
		return ReplayReport{}, err
	}
	defer model.Close()
	rows := sample(ds.Rows(), o.N, o.Seed)
	report := ReplayReport{Teacher: o.Teacher, MinCosine: 1}
	sum := 0.0
	_, err = model.Stream(ctx, len(rows), func(i int, rgb []byte) error {
		return decode(ds, rows[i], rgb)
	}, func(i int, fresh [][]float32) error {
		cached, valid, err := lookUp(ds, cache, rows[i])
		if err != nil || !valid {
			return err
		}
		c := cosine(fresh[0], cached)
		report.Rows++
		report.MinCosine = min(report.MinCosine, c)
		sum += c
		return nil
	}, embed.StreamOptions{Flips: []bool{false}})
	if err != nil {
		return report, err
	}
	report.MeanCosine = sum / float64(max(1, report.Rows))
	report.OK = report.Rows > 0 && report.MinCosine >= o.limit(cache.Info().DType)
	return report, nil
}

func (o ReplayOptions) limit(dtype string) float64 {
	switch {
	case o.MinCosine > 0:
		return o.MinCosine
	case dtype == store.FP32:
		return 0.9999
	}
	return 0.999
}

// openAs opens the model under the cache's own contract.
func openAs(info store.TeacherInfo, o ReplayOptions) (*embed.Model, error) {
	var contract embed.Preprocess
	if err := json.Unmarshal(info.Preprocess, &contract); err != nil {
		return nil, fmt.Errorf("%w: teacher %s: preprocessing: %w", store.ErrDamaged, info.Name, err)
	}
	model, err := embed.Open(o.Model, embed.Options{Contract: &contract, Threads: o.Threads, Provider: o.Provider, Library: o.Library})
	if err != nil {
		return nil, err
	}
	if model.Digest() != info.ModelDigest {
		model.Close()
		return nil, fmt.Errorf("%w: teacher %s was made with %s (%.12s…), %s is another file (%.12s…)", store.ErrFingerprint,
			info.Name, info.ModelFile, info.ModelDigest, o.Model, model.Digest())
	}
	return model, nil
}

// sample draws n distinct rows of total, in ascending order.
func sample(total, n int, seed uint64) []int {
	rows := rand.New(rand.NewPCG(seed, 0)).Perm(total)[:min(n, total)]
	slices.Sort(rows)
	return rows
}

func decode(ds *store.Dataset, row int, rgb []byte) error {
	at := ds.Locate(row)
	shard, err := ds.CropShard(int(at.Shard))
	if err != nil {
		return err
	}
	defer shard.Close()
	crop, err := shard.Crop(int(at.Row))
	if err != nil {
		return err
	}
	return crop.DecodeRGB(ds.Contract().CropSize, rgb)
}

func lookUp(ds *store.Dataset, cache *store.Teacher, row int) ([]float32, bool, error) {
	at := ds.Locate(row)
	shard, err := cache.Shard(int(at.Shard))
	if err != nil {
		return nil, false, err
	}
	defer shard.Close()
	e := make([]float32, cache.Info().Dim)
	_, valid, err := shard.Row(int(at.Row), false, e)
	return e, valid, err
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}
