package storetest

import (
	"errors"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
)

// CleanCheck fails unless a full check finds nothing wrong.
func CleanCheck(t testing.TB, dir string) check.Report {
	t.Helper()
	r, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK {
		t.Fatalf("check: %+v", r.Problems)
	}
	return r
}

// WantDamage fails unless reading a dataset meets damage that is told in these words, and a
// full check finds some.
func WantDamage(t testing.TB, dir, words string) {
	t.Helper()
	if err := ReadEverything(dir); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
	if r, err := check.Run(t.Context(), dir, check.Options{ReadData: true}); err != nil || r.OK {
		t.Errorf("check: %+v, %v", r, err)
	}
}

// ReadEverything reads all crops of a dataset, and all that its teacher r50 says of them, as
// a training run would.
func ReadEverything(dir string) error {
	d, err := store.Open(dir, store.WithLogger(Quiet))
	if err != nil {
		return err
	}
	defer d.Close()
	teacher, err := cache.Open(d, "r50")
	if err != nil {
		return err
	}
	row := make([]float32, dim)
	for i := range d.Shards() {
		if err := readShard(d, teacher, i, row); err != nil {
			return err
		}
	}
	return nil
}

func readShard(d *store.Dataset, teacher *cache.Cache, i int, row []float32) error {
	crops, err := d.CropShard(i)
	if err != nil {
		return err
	}
	defer crops.Close()
	for k := range crops.Rows() {
		if _, err := crops.Crop(k); err != nil {
			return err
		}
	}
	if crops.Rows() == 0 {
		return nil
	}
	embeddings, err := teacher.Shard(i)
	if err != nil {
		return err
	}
	defer embeddings.Close()
	for k := range embeddings.Rows() {
		for _, flip := range []bool{false, true} {
			if _, _, err := embeddings.Row(k, flip, row); err != nil {
				return err
			}
		}
	}
	return nil
}
