package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"facepipe/bench/measure"
	"facepipe/internal/dots"
	"facepipe/internal/imgcodec"
	"facepipe/store"
	"facepipe/store/cache"
)

const (
	cropSize     = 8
	dim          = 512
	rowsAnPerson = 20
	teacherName  = "bench"
	norm         = 24 // of an embedding, about
)

var contract = store.Contract{CropSize: cropSize, Template: "bench", Warp: "none", Decoder: "none"}

// makeData writes a dataset of tiny crops with a cache, unless it is there.
func makeData(_ context.Context, s settings) (r measure.Result, err error) {
	if _, err := os.Stat(s.dataset()); err == nil {
		return measure.Result{Operations: s.rows}, nil
	}
	if err := makeCrops(s); err != nil {
		return r, err
	}
	return measure.Result{Operations: s.rows}, makeCache(s)
}

func makeCrops(s settings) error {
	w, err := store.OpenWriter(s.dataset(), contract, store.WriterOptions{})
	if err != nil {
		return err
	}
	source := w.AddSource(store.SourceInfo{Kind: "folder", Path: "rows", Detector: "none"})
	var pixels [3 * cropSize * cropSize]byte
	for i := range s.rows {
		binary.LittleEndian.PutUint64(pixels[:], uint64(i))
		outcome, err := w.Append(store.Crop{
			ID: store.CropID(contract, pixels[:]), Key: fmt.Sprintf("%08d.jpg", i), Identity: fmt.Sprint(i / rowsAnPerson),
			Encoding: imgcodec.Raw, Image: pixels[:], Source: source,
		})
		if err == nil && outcome != store.Stored {
			err = fmt.Errorf("row %d: outcome %d", i, outcome)
		}
		if err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Close()
}

func makeCache(s settings) (err error) {
	d, err := store.Open(s.dataset())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	w, err := cache.Create(d, cache.Info{Name: teacherName, ModelDigest: "bench", Fingerprint: "bench", Dim: dim, DType: cache.FP16})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	g := newGenerator()
	row := 0
	for _, shard := range w.MissingShards() {
		e, err := w.Shard(shard)
		if err != nil {
			return err
		}
		for range d.ShardRows(shard) {
			if err := e.Append(g.embedding(row), nil); err != nil {
				return errors.Join(err, e.Abort())
			}
			row++
		}
		if err := e.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// generator makes embeddings as face networks do, as far as angles go: people lie in all
// directions, but in some far more than in others (the variance of direction i falls as
// i^-decay), and the pictures of one lie about it with half of the length their own.
type generator struct {
	scale  [dim]float64
	person [dim]float64
	of     int
}

const decay = 1.0

func newGenerator() *generator {
	g := &generator{of: -1}
	total := 0.0
	for i := range g.scale {
		g.scale[i] = math.Pow(float64(i+1), -decay)
		total += g.scale[i]
	}
	for i := range g.scale {
		g.scale[i] = norm * math.Sqrt(g.scale[i]/total)
	}
	return g
}

func (g *generator) embedding(row int) []float32 {
	if of := row / rowsAnPerson; of != g.of {
		rng := rand.New(rand.NewPCG(uint64(of), 1))
		for i := range g.person {
			g.person[i] = g.scale[i] * rng.NormFloat64()
		}
		g.of = of
	}
	rng := rand.New(rand.NewPCG(uint64(row), 2))
	e := make([]float32, dim)
	for i := range e {
		e[i] = float32(math.Sqrt(0.6)*g.person[i] + math.Sqrt(0.4)*g.scale[i]*rng.NormFloat64())
	}
	return e
}

// multiply takes the products of all crops with all, in the blocks that the search takes: of
// vectors that lie ready, an eighth of the crops with all, and says how long that is for one.
func multiply(_ context.Context, s settings) (measure.Result, error) {
	const block, panels, share = 1 << 14, 8, 8
	queries := make([]float32, min(block, s.rows)*dim)
	for i := range queries {
		queries[i] = float32(i % 7)
	}
	packed := make([]dots.Panel, panels)
	for i := range packed {
		packed[i] = dots.NewPanel(dim)
	}
	n := max(1, s.rows/share)
	begun, processor := time.Now(), measure.ProcessorSeconds()
	var group errgroup.Group
	var left sync.Mutex
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for {
				left.Lock()
				some := min(n, block/4)
				n -= some
				left.Unlock()
				if some == 0 {
					return nil
				}
				product(queries[:min(some*dim, len(queries))], packed, s.rows)
			}
		})
	}
	if err := group.Wait(); err != nil {
		return measure.Result{}, err
	}
	return measure.Result{Operations: max(1, s.rows/share), Seconds: time.Since(begun).Seconds(), Processor: measure.ProcessorSeconds() - processor}, nil
}

// product multiplies queries with so many candidates.
func product(queries []float32, packed []dots.Panel, candidates int) {
	var tile dots.Tile
	var rows [dots.Rows][]float32
	n := len(queries) / dim
	for from := 0; from < candidates; from += len(packed) * dots.Columns {
		panels := packed[:(min(candidates-from, len(packed)*dots.Columns)+dots.Columns-1)/dots.Columns]
		for q := 0; q < n; q += dots.Rows {
			for r := range rows {
				at := min(q+r, n-1)
				rows[r] = queries[at*dim : (at+1)*dim]
			}
			for _, panel := range panels {
				tile.Multiply(&rows, panel)
			}
		}
	}
}
