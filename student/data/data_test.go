package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/storetest"
)

const crops = 23

// fixture is a dataset whose crop i has the value i in its left half and 100+i in
// its right, with a teacher that says (i, 0) of it and (i, 1) of its mirror image.
func fixture(t *testing.T, flip bool) (*store.Dataset, *cache.Cache) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d.ds")
	contract := store.Contract{CropSize: 112, Template: "arcface-112", Warp: "none", Decoder: "none"}
	var all []store.Crop
	for i := range crops {
		pixels := make([]byte, 112*112*3)
		for k := range pixels {
			pixels[k] = byte(i + 1)
			if k/3%112 >= 56 {
				pixels[k] += 100
			}
		}
		c := storetest.Raw(contract, pixels, fmt.Sprintf("p%d/%d", i%4, i), fmt.Sprintf("p%d", i%4))
		c.Split = []string{"train", "val"}[i%4/3]
		all = append(all, c)
	}
	storetest.Write(t, dir, contract, 10, store.SourceInfo{Kind: "folder", Path: "x", Detector: "none"}, all)
	ds := storetest.Open(t, dir)
	tw, err := cache.Create(ds, cache.Info{Name: "t", ModelDigest: "m", Fingerprint: "f", Dim: 2, DType: cache.FP32, Flip: flip})
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range tw.MissingShards() {
		out, err := tw.Shard(shard)
		if err != nil {
			t.Fatal(err)
		}
		for row := range ds.ShardRows(shard) {
			i := float32(ds.RowOf(store.Location{Shard: uint32(shard), Row: uint32(row)}) + 1)
			var mirror []float32
			if flip {
				mirror = []float32{i, 1}
			}
			if err := out.Append([]float32{i, 0}, mirror); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	teacher, err := cache.Open(ds, "t")
	if err != nil {
		t.Fatal(err)
	}
	return ds, teacher
}

// collect runs a loader and keeps a copy of every batch.
func collect(t *testing.T, ds *store.Dataset, teacher *cache.Cache, o Options, from, to int) []Batch {
	t.Helper()
	l, err := New(ds, only(teacher), o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var all []Batch
	err = l.Run(t.Context(), from, to, func(b *Batch) error {
		c := Batch{Step: b.Step, Rows: slices.Clone(b.Rows), Labels: slices.Clone(b.Labels), Pixels: bytes.Clone(b.Pixels), Mirrored: bytes.Clone(b.Mirrored)}
		for _, embeddings := range b.Teachers {
			c.Teachers = append(c.Teachers, slices.Clone(embeddings))
		}
		all = append(all, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBatchesHoldMatchingTargets(t *testing.T) {
	ds, teacher := fixture(t, true)
	mirrors := 0
	for _, b := range collect(t, ds, teacher, Options{Batch: 5, Seed: 3, Flip: true, Workers: 2}, 0, 8) {
		for i, row := range b.Rows {
			left := b.Pixels[i*112*112*3]
			mirrored := b.Mirrored[i] == 1
			if left != byte(row+1) {
				t.Fatalf("step %d place %d: pixel %d for row %d", b.Step, i, left, row)
			}
			wantFlip := float32(0)
			if mirrored {
				mirrors++
				wantFlip = 1
			}
			if b.Teachers[0][2*i] != float32(row+1) || b.Teachers[0][2*i+1] != wantFlip {
				t.Fatalf("step %d place %d: target %v, row %d, mirrored %v", b.Step, i, b.Teachers[0][2*i:2*i+2], row, mirrored)
			}
			if b.Labels[i] != int32(row%4) {
				t.Fatalf("row %d has label %d", row, b.Labels[i])
			}
		}
	}
	if mirrors < 8 || mirrors > 32 {
		t.Errorf("%d of 40 crops were mirrored", mirrors)
	}
}

// Each epoch shows whole batches of distinct crops, in a new order.
func TestEpochs(t *testing.T) {
	ds, teacher := fixture(t, true)
	all := collect(t, ds, teacher, Options{Batch: 5, Seed: 3, Workers: 2}, 0, 8) // 4 steps an epoch
	var orders [2]string
	for epoch := range 2 {
		seen := map[int64]bool{}
		for _, b := range all[4*epoch : 4*epoch+4] {
			for _, row := range b.Rows {
				if seen[row] {
					t.Errorf("epoch %d shows row %d twice", epoch, row)
				}
				seen[row] = true
			}
			orders[epoch] += fmt.Sprint(b.Rows)
		}
	}
	if orders[0] == orders[1] {
		t.Error("two epochs have one order")
	}
}

// A split's batches hold its crops and no others, every one of them once an epoch.
func TestSplit(t *testing.T) {
	ds, teacher := fixture(t, true)
	l, err := New(ds, only(teacher), Options{Batch: 6, Split: "train", Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if l.Crops() != 18 || l.StepsPerEpoch() != 3 {
		t.Errorf("%d crops, %d steps an epoch; want 18 and 3", l.Crops(), l.StepsPerEpoch())
	}
	for _, window := range []int{0, 7} {
		o := Options{Batch: 6, Seed: 3, Split: "train", Flip: true, Workers: 2, Window: window}
		seen := map[int64]int{}
		all := collect(t, ds, teacher, o, 0, 6)
		for _, b := range all {
			for i, row := range b.Rows {
				seen[row]++
				if row%4 == 3 || b.Labels[i] != int32(row%4) || b.Teachers[0][2*i] != float32(row+1) {
					t.Errorf("row %d is in the batch, with label %d and target %v", row, b.Labels[i], b.Teachers[0][2*i])
				}
			}
		}
		for row, n := range seen {
			if n != 2 {
				t.Errorf("row %d was seen %d times in two epochs", row, n)
			}
		}
		o.Workers = 1
		for k, b := range collect(t, ds, teacher, o, 4, 6) {
			if w := all[4+k]; fmt.Sprint(b.Rows, b.Mirrored, b.Teachers) != fmt.Sprint(w.Rows, w.Mirrored, w.Teachers) || !bytes.Equal(b.Pixels, w.Pixels) {
				t.Errorf("step %d of a run from step 4 differs", w.Step)
			}
		}
	}
	if _, err := New(ds, only(teacher), Options{Batch: 6, Split: "test", Workers: 1}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a split that is not there: %v", err)
	}
	if _, err := New(ds, only(teacher), Options{Batch: 6, Split: "val", Workers: 1}); err == nil {
		t.Error("a split smaller than a batch: no error")
	}
}

// What a step sees depends on neither the workers nor where the run began.
func TestStepsAreReproducible(t *testing.T) {
	ds, teacher := fixture(t, true)
	o := Options{Batch: 5, Seed: 9, Flip: true, Workers: 1}
	want := collect(t, ds, teacher, o, 0, 10)
	o.Workers = 5
	for _, from := range []int{0, 3, 9} {
		for k, b := range collect(t, ds, teacher, o, from, 10) {
			w := want[from+k]
			if b.Step != w.Step || fmt.Sprint(b.Rows, b.Mirrored, b.Teachers) != fmt.Sprint(w.Rows, w.Mirrored, w.Teachers) || !bytes.Equal(b.Pixels, w.Pixels) {
				t.Errorf("step %d of a run from step %d differs", w.Step, from)
			}
		}
	}
	o.Seed = 10
	if other := collect(t, ds, teacher, o, 0, 1); fmt.Sprint(other[0].Rows) == fmt.Sprint(want[0].Rows) {
		t.Error("two seeds give one order")
	}
}

// With a window, too: every crop once an epoch, the same at any number of workers and
// from any step on, at windows smaller and larger than a batch.
func TestWindows(t *testing.T) {
	ds, teacher := fixture(t, true)
	for _, window := range []int{1, 3, 5, 8, 22} {
		o := Options{Batch: 5, Seed: 9, Flip: true, Workers: 1, Window: window}
		want := collect(t, ds, teacher, o, 0, 12) // 4 steps an epoch
		for epoch := range 3 {
			seen := map[int64]bool{}
			for _, b := range want[4*epoch : 4*epoch+4] {
				for i, row := range b.Rows {
					if seen[row] || b.Teachers[0][2*i] != float32(row+1) {
						t.Errorf("window %d, epoch %d: row %d, seen before: %v, target %v", window, epoch, row, seen[row], b.Teachers[0][2*i])
					}
					seen[row] = true
				}
			}
		}
		o.Workers = 5
		for _, from := range []int{0, 3, 7, 11} {
			for k, b := range collect(t, ds, teacher, o, from, 12) {
				if w := want[from+k]; fmt.Sprint(b.Rows, b.Mirrored, b.Teachers) != fmt.Sprint(w.Rows, w.Mirrored, w.Teachers) || !bytes.Equal(b.Pixels, w.Pixels) {
					t.Errorf("window %d: step %d of a run from step %d differs", window, w.Step, from)
				}
			}
		}
	}
}

// Windows that are done with are forgotten.
func TestMemoryOfWindows(t *testing.T) {
	ds, teacher := fixture(t, true)
	l, err := New(ds, only(teacher), Options{Batch: 5, Workers: 2, Window: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	most := 0
	err = l.Run(t.Context(), 0, 400, func(*Batch) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		most = max(most, len(l.windows), len(l.orders))
		return nil
	})
	if err != nil || most > 4*5/4+2 {
		t.Errorf("%d windows or orders are kept, %v", most, err)
	}
}

func TestRefusals(t *testing.T) {
	ds, teacher := fixture(t, false)
	for want, o := range map[string]Options{
		"a step takes 24 crops (batch 12, accumulate 2): the dataset " + ds.Dir() + " has 23 crops to train on": {Batch: 12, Parts: 2, Workers: 1},
		"batch 0 is less than 1": {Workers: 1},
		"window of -1 rows":      {Batch: 2, Window: -1, Workers: 1},
		"teacher t has no embeddings of mirrored crops: run precompute-teacher with --flip, or train with --flip=off": {Batch: 2, Flip: true, Workers: 1},
	} {
		if _, err := New(ds, only(teacher), o); !errors.Is(err, ErrOptions) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// What a step does with its batches is no waiting for them.
func TestWaited(t *testing.T) {
	ds, teacher := fixture(t, true)
	synctest.Test(t, func(t *testing.T) {
		l, err := New(ds, only(teacher), Options{Batch: 5, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.o.NewSlot = func(bytes int) (Slot, error) {
			time.Sleep(3 * time.Second)
			return newPlain(bytes)
		}
		err = l.Run(t.Context(), 0, 1, func(*Batch) error {
			time.Sleep(7 * time.Second)
			return nil
		})
		if err != nil || l.Waited() != 3*time.Second {
			t.Errorf("waited for %v, %v", l.Waited(), err)
		}
	})
}

func TestRunEndsWithTheFirstError(t *testing.T) {
	ds, teacher := fixture(t, true)
	l, err := New(ds, only(teacher), Options{Batch: 5, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	boom := errors.New("boom")
	if err := l.Run(t.Context(), 0, 100, func(*Batch) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := l.Run(ctx, 0, 100, func(*Batch) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// The identities of a split are numbered without gaps, whatever the dataset's numbers.
func TestSplitNumbersItsIdentities(t *testing.T) {
	ds, teacher := fixture(t, true)
	for _, tt := range []struct {
		o              Options
		labels, number int
	}{
		{Options{Split: "val"}, 1, 0},
		{Options{Split: "val", DatasetLabels: true}, 4, 3},
		{Options{Split: "train"}, 3, -1},
		{Options{}, 4, -1},
	} {
		tt.o.Batch, tt.o.Workers = 4, 1
		l, err := New(ds, only(teacher), tt.o)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if l.Labels() != tt.labels {
			t.Errorf("%+v: %d identities, want %d", tt.o, l.Labels(), tt.labels)
		}
		of := l.DatasetLabels()
		if len(of) != tt.labels {
			t.Errorf("%+v: %d labels of the dataset, want %d", tt.o, len(of), tt.labels)
		}
		for _, b := range collect(t, ds, teacher, tt.o, 0, 1) {
			for i, label := range b.Labels {
				if all, err := ds.Labels(t.Context()); err != nil || of[label] != all[b.Rows[i]] {
					t.Errorf("%+v: label %d is said to be %d of the dataset, row %d has %v (%v)", tt.o, label, of[label], b.Rows[i], all, err)
				}
				if want := tt.number; want >= 0 && label != int32(want) || want < 0 && label != int32(b.Rows[i]%4) {
					t.Errorf("%+v: row %d has label %d", tt.o, b.Rows[i], label)
				}
			}
		}
	}
}

// only is one teacher, or none.
func only(teacher *cache.Cache) []*cache.Cache {
	if teacher == nil {
		return nil
	}
	return []*cache.Cache{teacher}
}
