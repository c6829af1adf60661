package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"facepipe/bench/measure"
	"facepipe/store"
	"facepipe/store/cache"
)

func (s settings) dataset() string { return filepath.Join(s.dir, "pipe.ds") }

const teacherName = "bench"

// exportRows writes the rows as plain binary files, for the other containers: ids.bin,
// images.bin, embeddings.bin (little-endian half precision), row after row.
func exportRows(s settings) (measure.Result, error) {
	begun := time.Now()
	folder := filepath.Join(s.dir, "rows")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return measure.Result{}, err
	}
	var out [3]*bufio.Writer
	for i, name := range []string{"ids.bin", "images.bin", "embeddings.bin"} {
		f, err := os.Create(filepath.Join(folder, name))
		if err != nil {
			return measure.Result{}, err
		}
		defer f.Close()
		out[i] = bufio.NewWriterSize(f, 1<<20)
	}
	g := newGenerator()
	for i := range s.rows {
		c := g.crop(i)
		half, _ := g.embedding(i)
		_, err1 := out[0].Write(c.ID[:])
		_, err2 := out[1].Write(c.Image)
		if err := errors.Join(err1, err2, binary.Write(out[2], binary.LittleEndian, half)); err != nil {
			return measure.Result{}, err
		}
	}
	for _, o := range out {
		if err := o.Flush(); err != nil {
			return measure.Result{}, err
		}
	}
	return measure.Result{Seconds: time.Since(begun).Seconds(), Operations: s.rows}, nil
}

// writeCrops appends all crops and commits them; the index is built too, and its time
// is part of Close's.
func writeCrops(s settings) (measure.Result, error) {
	if err := os.RemoveAll(s.dataset()); err != nil {
		return measure.Result{}, err
	}
	w, err := store.OpenWriter(s.dataset(), contract, store.WriterOptions{})
	if err != nil {
		return measure.Result{}, err
	}
	source := w.AddSource(store.SourceInfo{Kind: "folder", Path: "rows", Detector: "none"})
	g := newGenerator()
	var appending time.Duration
	for i := range s.rows {
		c := g.crop(i)
		c.Source = source
		begun := time.Now()
		outcome, err := w.Append(c)
		appending += time.Since(begun)
		if err == nil && outcome != store.Stored {
			err = fmt.Errorf("row %d: outcome %d", i, outcome)
		}
		if err != nil {
			return measure.Result{}, errors.Join(err, w.Abort())
		}
	}
	begun := time.Now()
	if err := w.Close(); err != nil {
		return measure.Result{}, err
	}
	r := measure.Result{Seconds: appending.Seconds(), Operations: s.rows, Also: map[string]float64{"close_seconds": time.Since(begun).Seconds()}}
	r.Bytes, err = diskBytes(filepath.Join(s.dataset(), "crops"))
	return r, err
}

// writeEmbeddings fills a teacher cache; the time to make the embeddings is left out.
func writeEmbeddings(s settings) (r measure.Result, err error) {
	if err := os.RemoveAll(filepath.Join(s.dataset(), "teachers")); err != nil {
		return measure.Result{}, err
	}
	d, err := store.Open(s.dataset())
	if err != nil {
		return measure.Result{}, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	w, err := cache.Create(d, cache.Info{Name: teacherName, ModelDigest: "bench", Fingerprint: "bench", Dim: dim, DType: cache.FP16})
	if err != nil {
		return measure.Result{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	g := newGenerator()
	var writing time.Duration
	row := 0
	for _, shard := range w.MissingShards() {
		vectors := make([][dim]float32, d.ShardRows(shard))
		for k := range vectors {
			_, full := g.embedding(row)
			copy(vectors[k][:], full)
			row++
		}
		begun := time.Now()
		if err := embedShard(w, shard, vectors); err != nil {
			return measure.Result{}, err
		}
		writing += time.Since(begun)
	}
	r = measure.Result{Seconds: writing.Seconds(), Operations: row}
	r.Bytes, err = diskBytes(filepath.Join(s.dataset(), "teachers"))
	return r, err
}

func embedShard(w *cache.Writer, shard int, vectors [][dim]float32) error {
	e, err := w.Shard(shard)
	if err != nil {
		return err
	}
	for k := range vectors {
		if err := e.Append(vectors[k][:], nil); err != nil {
			return errors.Join(err, e.Abort())
		}
	}
	return e.Commit()
}

// buildIndex makes the index of the dataset anew.
func buildIndex(s settings) (measure.Result, error) {
	rebuilt, err := store.RebuildIndex(context.Background(), s.dataset())
	if err != nil {
		return measure.Result{}, err
	}
	r := measure.Result{Seconds: rebuilt.Seconds, Operations: rebuilt.Rows}
	r.Bytes, err = diskBytes(filepath.Join(s.dataset(), "index"))
	return r, err
}

// diskBytes is the size of all files in a folder.
func diskBytes(folder string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
