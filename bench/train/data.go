package main

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"facepipe/bench/measure"
	"facepipe/ingest"
	"facepipe/internal/npy"
	"facepipe/store"
	"facepipe/store/cache"
)

const (
	teacherName = "drawn"
	dim         = 512
	// How crops are kept, the names of the datasets.
	dataJPEG = "jpeg"
	dataPNG  = "png"
)

// makeData draws crops as JPEG files, ingests them as they are and without loss, and gives each
// and its mirror image an embedding at random: in caches, and in targets.npy (crops × 2 × dim,
// float32) for Python.
func makeData(s settings) error {
	crops := filepath.Join(s.dir, "crops")
	if err := measure.DrawCrops(crops, s.crops); err != nil {
		return err
	}
	lossless := filepath.Join(s.dir, "crops-png")
	if err := measure.DrawLossless(lossless, crops, s.crops); err != nil {
		return err
	}
	for data, source := range map[string]string{dataPNG: lossless, dataJPEG: crops} {
		dataset := filepath.Join(s.dir, data+".ds")
		if _, err := ingest.Run(context.Background(), ingest.Options{Sources: []string{"folder=" + source}, Out: dataset}); err != nil {
			return err
		}
		if err := drawCache(dataset, filepath.Join(s.dir, "targets.npy")); err != nil {
			return err
		}
	}
	return writePixels(filepath.Join(s.dir, dataJPEG+".ds"), filepath.Join(s.dir, "pixels.npy"))
}

// writePixels writes all crops, decoded, as one array (crops × size × size × 3).
func writePixels(dataset, path string) (err error) {
	d, err := store.Open(dataset)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size := d.Contract().CropSize
	if _, err := f.Write(npy.AppendHeader(nil, "|u1", d.Rows(), size, size, 3)); err != nil {
		return err
	}
	crops := d.CropReader()
	defer crops.Close()
	pixels := make([]byte, size*size*3)
	for row := range d.Rows() {
		if err := crops.DecodeRGB(d.Locate(row), pixels); err != nil {
			return err
		}
		if _, err := f.Write(pixels); err != nil {
			return err
		}
	}
	return nil
}

func drawCache(dataset, targets string) (err error) {
	d, err := store.Open(dataset)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	w, err := cache.Create(d, cache.Info{Name: teacherName, ModelDigest: "drawn", Fingerprint: "drawn", Dim: dim, DType: cache.FP16, Flip: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	data := npy.AppendHeader(nil, "<f4", d.Rows(), 2, dim)
	row := 0
	for shard := range d.Shards() {
		var e *cache.ShardWriter
		if slices.Contains(w.MissingShards(), shard) {
			if e, err = w.Shard(shard); err != nil {
				return err
			}
		}
		for range d.ShardRows(shard) {
			straight, mirror := drawn(row)
			row++
			for _, v := range append(straight[:dim:dim], mirror...) {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
			}
			if e == nil {
				continue
			}
			if err := e.Append(straight, mirror); err != nil {
				return errors.Join(err, e.Abort())
			}
		}
		if e == nil {
			continue
		}
		if err := e.Commit(); err != nil {
			return err
		}
	}
	return os.WriteFile(targets, data, 0o644)
}

// drawn are the embeddings of a crop and its mirror image: vectors of a normal distribution.
func drawn(row int) (straight, mirror []float32) {
	rng := rand.New(rand.NewPCG(1, uint64(row)))
	both := make([]float32, 2*dim)
	for i := range both {
		both[i] = float32(rng.NormFloat64())
	}
	return both[:dim], both[dim:]
}
