package store_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"facepipe/store/storetest"
)

// Every key is visited, a duplicate's as well, and each leads to a crop.
func TestEachKey(t *testing.T) {
	dir := storetest.Build(t, 20, 10)
	w := storetest.Writer(t, dir, 10)
	twin := storetest.Crop(w.AddSource(storetest.Source), 3)
	twin.Key = "twins/again.png"
	if _, err := w.Append(twin); err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, w)
	ds := storetest.Open(t, dir)
	var keys []string
	err := ds.EachKey(context.Background(), func(key string) error {
		keys = append(keys, strings.Clone(key))
		return nil
	})
	if err != nil || len(keys) != ds.Rows()+ds.Duplicates() || !slices.Contains(keys, "twins/again.png") {
		t.Fatalf("%d keys of %d crops and %d duplicates (%v): %v", len(keys), ds.Rows(), ds.Duplicates(), err, keys)
	}
	for _, key := range keys {
		if _, err := ds.Lookup(key); err != nil {
			t.Error(err)
		}
	}
	stop := errors.New("enough")
	if err := ds.EachKey(context.Background(), func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v, want the visitor's", err)
	}
}
