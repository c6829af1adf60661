package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"facepipe/bench/measure"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
)

// opened is a dataset with its embeddings, every shard open.
type opened struct {
	dataset *store.Dataset
	teacher *cache.Cache
	shards  []*cache.Shard
}

func openAll(s settings) (*opened, error) {
	d, err := store.Open(s.dataset())
	if err != nil {
		return nil, err
	}
	o := &opened{dataset: d}
	if o.teacher, err = cache.Open(d, teacherName); err != nil {
		return nil, errors.Join(err, o.close())
	}
	for i := range d.Shards() {
		shard, err := o.teacher.Shard(i)
		if err != nil {
			return nil, errors.Join(err, o.close())
		}
		o.shards = append(o.shards, shard)
	}
	return o, nil
}

func (o *opened) close() error {
	var err error
	for _, s := range o.shards {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, o.dataset.Close())
}

// warm reads every embedding once, so that all checksums are verified.
func (o *opened) warm() error {
	x := make([]float32, dim)
	for _, s := range o.shards {
		for row := range s.Rows() {
			if _, _, err := s.Row(row, false, x); err != nil {
				return err
			}
		}
	}
	return nil
}

// openDataset is the time until a dataset and its embeddings can be read, and until
// the first crop was looked up, in a process that has done nothing before. Medians.
func openDataset(s settings) (measure.Result, error) {
	id := newGenerator().crop(0).ID
	var opens, looks []float64
	for range 7 {
		begun := time.Now()
		d, err := store.Open(s.dataset())
		if err != nil {
			return measure.Result{}, err
		}
		if _, err := cache.Open(d, teacherName); err != nil {
			return measure.Result{}, err
		}
		opens = append(opens, time.Since(begun).Seconds())
		if _, err := d.LookupID(id); err != nil {
			return measure.Result{}, err
		}
		looks = append(looks, time.Since(begun).Seconds())
		if err := d.Close(); err != nil {
			return measure.Result{}, err
		}
	}
	return measure.Result{Seconds: measure.Median(opens), Operations: 1, Also: map[string]float64{"first_lookup_seconds": measure.Median(looks)}}, nil
}

// lookUpIDs finds crops by their ids, in random order.
func lookUpIDs(s settings) (measure.Result, error) {
	return atRandom(s, func(o *opened, ids []store.ID, row int, _ []float32) error {
		l, err := o.dataset.LookupID(ids[row])
		if err == nil && o.dataset.RowOf(l) != row {
			err = fmt.Errorf("id of row %d leads to row %d", row, o.dataset.RowOf(l))
		}
		return err
	})
}

// readByID reads the embeddings of ids, in random order.
func readByID(s settings) (measure.Result, error) {
	return atRandom(s, func(o *opened, ids []store.ID, row int, x []float32) error {
		l, err := o.dataset.LookupID(ids[row])
		if err != nil {
			return err
		}
		return o.read(l, x)
	})
}

// readByRow reads the embeddings of rows, in random order.
func readByRow(s settings) (measure.Result, error) {
	return atRandom(s, func(o *opened, _ []store.ID, row int, x []float32) error {
		return o.read(o.dataset.Locate(row), x)
	})
}

func (o *opened) read(l store.Location, x []float32) error {
	_, valid, err := o.shards[l.Shard].Row(int(l.Row), false, x)
	if err == nil && !valid {
		err = fmt.Errorf("embedding at %+v is invalid", l)
	}
	return err
}

// atRandom calls use with random rows on all threads for a while, after everything was
// read once.
func atRandom(s settings, use func(o *opened, ids []store.ID, row int, x []float32) error) (r measure.Result, err error) {
	o, err := openAll(s)
	if err != nil {
		return measure.Result{}, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	g := newGenerator()
	ids := make([]store.ID, s.rows)
	for i := range ids {
		ids[i] = g.crop(i).ID
	}
	if err := o.warm(); err != nil {
		return measure.Result{}, err
	}
	x := make([]float32, dim)
	for row := range min(s.rows, 100_000) {
		if err := use(o, ids, row*7919%s.rows, x); err != nil {
			return measure.Result{}, err
		}
	}
	counts, failures := make([]int, s.threads), make([]error, s.threads)
	var threads sync.WaitGroup
	begun := time.Now()
	until := begun.Add(time.Duration(s.seconds * float64(time.Second)))
	for t := range s.threads {
		threads.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(t), 5))
			x := make([]float32, dim)
			for time.Now().Before(until) {
				for range 256 {
					if err := use(o, ids, rng.IntN(s.rows), x); err != nil {
						failures[t] = err
						return
					}
				}
				counts[t] += 256
			}
		})
	}
	threads.Wait()
	r = measure.Result{Seconds: time.Since(begun).Seconds(), Threads: s.threads}
	for _, n := range counts {
		r.Operations += n
	}
	return r, errors.Join(failures...)
}

// scanFiles maps the embeddings' files and adds up all their bytes, eight at a time,
// on one thread: what reading in order is measured against.
func scanFiles(s settings) (measure.Result, error) {
	paths, err := filepath.Glob(filepath.Join(s.dataset(), "teachers", teacherName, "*.arrow"))
	if err != nil {
		return measure.Result{}, err
	}
	var times []float64
	var size int64
	for range 5 {
		size = 0
		begun := time.Now()
		for _, p := range paths {
			n, err := scanFile(p)
			if err != nil {
				return measure.Result{}, err
			}
			size += n
		}
		times = append(times, time.Since(begun).Seconds())
	}
	return measure.Result{Seconds: measure.Median(times), Operations: s.rows, Bytes: size, Threads: 1}, nil
}

func scanFile(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	var sum uint64
	for rest := data; len(rest) >= 8; rest = rest[8:] {
		sum += binary.LittleEndian.Uint64(rest)
	}
	runtime.KeepAlive(sum) // or the compiler may leave the scan out
	return info.Size(), unix.Munmap(data)
}

// readInOrder reads all embeddings in their order on one thread, shard after shard, each
// opened, its checksums verified on the way, and closed. Then again with all of them
// open and verified.
func readInOrder(s settings) (r measure.Result, err error) {
	o, err := openAll(s)
	if err != nil {
		return measure.Result{}, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	var verified, again []float64
	for range 5 {
		// A second Teacher, whose shards nobody has verified.
		fresh, err := cache.Open(o.dataset, teacherName)
		if err != nil {
			return measure.Result{}, err
		}
		begun := time.Now()
		for i := range o.dataset.Shards() {
			if err := readShard(fresh, i); err != nil {
				return measure.Result{}, err
			}
		}
		verified = append(verified, time.Since(begun).Seconds())
		if err := o.warm(); err != nil {
			return measure.Result{}, err
		}
		begun = time.Now()
		if err := o.warm(); err != nil {
			return measure.Result{}, err
		}
		again = append(again, time.Since(begun).Seconds())
	}
	return measure.Result{Seconds: measure.Median(verified), Operations: s.rows, Threads: 1, Also: map[string]float64{"again_seconds": measure.Median(again)}}, nil
}

func readShard(t *cache.Cache, i int) error {
	shard, err := t.Shard(i)
	if err != nil {
		return err
	}
	return errors.Join((&opened{shards: []*cache.Shard{shard}}).warm(), shard.Close())
}

// checkDataset reads every byte as `pipe check --read-data` does.
func checkDataset(s settings) (measure.Result, error) {
	begun := time.Now()
	report, err := check.Run(context.Background(), s.dataset(), check.Options{ReadData: true})
	if err == nil && !report.OK {
		err = fmt.Errorf("%+v", report.Problems)
	}
	return measure.Result{Seconds: time.Since(begun).Seconds(), Operations: s.rows}, err
}
