package info_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/info"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

func TestReadInfo(t *testing.T) {
	dir := storetest.Build(t, 30, 8)
	w := storetest.Writer(t, dir, 8)
	other := store.SourceInfo{Kind: "folder", Path: "other", Detector: "none"}
	storetest.Ingest(t, w, other, 28, 32)
	storetest.Close(t, w)
	d := storetest.Open(t, dir)
	storetest.Embed(t, d, storetest.Info(cache.FP16, true), -1, storetest.SpoilSome)
	partly := storetest.Info(cache.FP32, false)
	partly.Name = "partly"
	storetest.Embed(t, d, partly, 2, nil)

	about, err := info.Read(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if about.Dataset != dir || about.Digest != d.Digest() || about.FormatVersion != table.FormatVersion || about.Contract != storetest.Contract ||
		about.Rows != 32 || about.Shards != d.Shards() || about.Duplicates != d.Duplicates() || about.Index != "current" || about.IndexBytes == 0 {
		t.Errorf("%+v", about)
	}
	if want := map[string]int{"png": 16, "raw": 16}; !reflect.DeepEqual(about.Encodings, want) {
		t.Errorf("encodings are %v", about.Encodings)
	}
	if want := map[string]int{"": 8, "train": 16, "val": 8}; !reflect.DeepEqual(about.Splits, want) {
		t.Errorf("splits are %v", about.Splits)
	}
	rows, duplicates, rejects := 0, 0, 0
	for i, s := range about.Sources {
		if s.SourceInfo != d.Sources()[i] {
			t.Errorf("source %d is %+v", i, s)
		}
		rows, duplicates, rejects = rows+s.Rows, duplicates+s.Duplicates, rejects+s.Rejects
	}
	if rows != d.Rows() || duplicates != d.Duplicates() || rejects != d.Rejects() || about.Sources[0].Rows != 30 || about.Sources[1].Rejects != 0 {
		t.Errorf("sources are %+v", about.Sources)
	}
	// Five crops a person, every seventh without a name; the last person has two.
	people := about.Identities
	if people.Count != 7 || people.Nameless != 4 || people.Min != 2 || people.Median != 4 || people.Max != 5 {
		t.Errorf("identities are %+v", people)
	}
	if want := []store.HistogramBin{{From: 1, To: 1}, {From: 2, To: 3, Identities: 1}, {From: 4, To: 7, Identities: 6}}; !reflect.DeepEqual(people.Histogram, want) {
		t.Errorf("histogram is %v", people.Histogram)
	}
	if want := []store.StageRejects{{Stage: "decode", Count: 3, Reasons: []store.ReasonCount{{Reason: "truncated <file> & more", Count: 3}}}}; !reflect.DeepEqual(about.Rejects, want) {
		t.Errorf("rejects are %+v", about.Rejects)
	}
	if len(about.Teachers) != 2 {
		t.Fatalf("teachers are %+v", about.Teachers)
	}
	a, b := about.Teachers[0], about.Teachers[1]
	if a.Name != "partly" || a.Rows != 16 || a.MissingShards != d.Shards()-2 || a.Digest != "" || a.Invalid != 0 || a.DType != cache.FP32 {
		t.Errorf("%+v", a)
	}
	if digest, err := storetest.Cache(t, d, "r50").Digest(); err != nil || b.Digest != digest || b.Rows != 32 || b.Invalid != 6 || b.Bytes == 0 || b.MissingShards != 0 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestReadInfoOfLittle(t *testing.T) {
	dir := storetest.Build(t, 0, 8)
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	about, err := info.Read(t.Context(), dir)
	if err != nil || about.Rows != 0 || about.Identities.Max != 0 || about.Index != "missing" || about.Teachers == nil || about.Rejects == nil {
		t.Errorf("%+v, %v", about, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "index")); err == nil {
		t.Error("an index was built")
	}
	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 0, 10)
	storetest.Close(t, w)
	storetest.FlipBit(t, filepath.Join(dir, "index", "BUILT.json"), 100)
	if about, err := info.Read(t.Context(), dir); err != nil || about.Index != "damaged" {
		t.Errorf("%+v, %v", about, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := info.Read(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	storetest.FlipBit(t, filepath.Join(dir, "crops/000001.arrow"), 1500)
	if _, err := info.Read(t.Context(), dir); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("damaged columns: %v", err)
	}
	if _, err := info.Read(t.Context(), t.TempDir()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no dataset: %v", err)
	}
}

// One cache that is damaged is told, and keeps nothing from being said of the others.
func TestDamagedCachesAreTold(t *testing.T) {
	whole := storetest.Build(t, 30, 8)
	d := storetest.Open(t, whole)
	storetest.Embed(t, d, storetest.Info(cache.FP16, true), -1, nil)
	other := storetest.Info(cache.FP32, false)
	other.Name = "other"
	storetest.Embed(t, d, other, -1, nil)
	for name, listed := range map[string]int{"teacher.json": 1, "000001.json": 2, "000001.arrow": 1} {
		dir := storetest.Copy(t, whole)
		if err := os.Remove(filepath.Join(dir, "teachers/r50", name)); err != nil {
			t.Fatal(err)
		}
		states, err := info.Caches(dir)
		if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "teachers/r50/"+name) || len(states) != listed || states[0].Name != "other" {
			t.Errorf("%s: %d caches, %v", name, len(states), err)
		}
		about, err := info.Read(t.Context(), dir)
		if !errors.Is(err, store.ErrDamaged) || len(about.Teachers) != listed || about.Rows != 30 || about.Index != "current" {
			t.Errorf("%s: %+v, %v", name, about, err)
		}
	}
}

func TestUnfinishedIngestIsTold(t *testing.T) {
	dir := storetest.Build(t, 10, 8)
	w := storetest.Writer(t, dir, 8)
	src := w.AddSource(storetest.Source)
	for i := 10; i < 30; i++ {
		if _, err := w.Append(storetest.Crop(src, i)); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Abort(t, w)
	if about, err := info.Read(t.Context(), dir); err != nil || about.UnlistedShards != 2 || about.Rows != 10 {
		t.Errorf("%+v, %v", about, err)
	}
}
