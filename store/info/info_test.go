package info_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/info"
	"facepipe/store/internal/index"
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

	info, err := info.Read(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Dataset != dir || info.Digest != d.Digest() || info.FormatVersion != table.FormatVersion || info.Contract != storetest.Contract ||
		info.Rows != 32 || info.Shards != d.Shards() || info.Duplicates != d.Duplicates() || info.Index != "current" || info.IndexBytes == 0 {
		t.Errorf("%+v", info)
	}
	if want := map[string]int{"png": 16, "raw": 16}; !reflect.DeepEqual(info.Encodings, want) {
		t.Errorf("encodings are %v", info.Encodings)
	}
	if want := map[string]int{"": 8, "train": 16, "val": 8}; !reflect.DeepEqual(info.Splits, want) {
		t.Errorf("splits are %v", info.Splits)
	}
	rows, duplicates, rejects := 0, 0, 0
	for i, s := range info.Sources {
		if s.SourceInfo != d.Sources()[i] {
			t.Errorf("source %d is %+v", i, s)
		}
		rows, duplicates, rejects = rows+s.Rows, duplicates+s.Duplicates, rejects+s.Rejects
	}
	if rows != d.Rows() || duplicates != d.Duplicates() || rejects != d.Rejects() || info.Sources[0].Rows != 30 || info.Sources[1].Rejects != 0 {
		t.Errorf("sources are %+v", info.Sources)
	}
	// Five crops a person, every seventh without a name; the last person has two.
	people := info.Identities
	if people.Count != 7 || people.Nameless != 4 || people.Min != 2 || people.Median != 4 || people.Max != 5 {
		t.Errorf("identities are %+v", people)
	}
	if want := []store.HistogramBin{{1, 1, 0}, {2, 3, 1}, {4, 7, 6}}; !reflect.DeepEqual(people.Histogram, want) {
		t.Errorf("histogram is %v", people.Histogram)
	}
	if want := []store.StageRejects{{"decode", 3, []store.ReasonCount{{"truncated <file> & more", 3}}}}; !reflect.DeepEqual(info.Rejects, want) {
		t.Errorf("rejects are %+v", info.Rejects)
	}
	if len(info.Teachers) != 2 {
		t.Fatalf("teachers are %+v", info.Teachers)
	}
	a, b := info.Teachers[0], info.Teachers[1]
	if a.Name != "partly" || a.Rows != 16 || a.MissingShards != d.Shards()-2 || a.Digest != "" || a.Invalid != 0 || a.DType != cache.FP32 {
		t.Errorf("%+v", a)
	}
	if digest, err := storetest.Cache(t, d, "r50").Digest(); err != nil || b.Digest != digest || b.Rows != 32 || b.Invalid != 6 || b.Bytes == 0 || b.MissingShards != 0 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestReadInfoOfLittle(t *testing.T) {
	dir := storetest.Build(t, 0, 8)
	if err := os.RemoveAll(filepath.Join(dir, index.Folder)); err != nil {
		t.Fatal(err)
	}
	info, err := info.Read(t.Context(), dir)
	if err != nil || info.Rows != 0 || info.Identities.Max != 0 || info.Index != "missing" || info.Teachers == nil || info.Rejects == nil {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, index.Folder)); err == nil {
		t.Error("an index was built")
	}
	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 0, 10)
	storetest.Close(t, w)
	storetest.FlipBit(t, filepath.Join(dir, index.Folder, index.BuiltName), 100)
	if info, err := info.Read(t.Context(), dir); err != nil || info.Index != "damaged" {
		t.Errorf("%+v, %v", info, err)
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

// However many reasons there are, few are kept, and those that come often.
func TestRejectTally(t *testing.T) {
	var tally store.RejectTally
	for i := range 3 * store.MaxReasonsKept {
		tally.add("read", fmt.Sprintf("offset %d", i))
		tally.add("decode", fmt.Sprint("reason ", i%3))
	}
	tally.add("decode", "reason 1")
	list := tally.list()
	if len(list) != 2 || list[1].Count != 3*store.MaxReasonsKept || len(list[1].Reasons) != store.MaxReasonsListed || len(tally["read"].reasons) != store.MaxReasonsKept {
		t.Errorf("%+v", list)
	}
	want := []store.ReasonCount{{"reason 1", store.MaxReasonsKept + 1}, {"reason 0", store.MaxReasonsKept}, {"reason 2", store.MaxReasonsKept}}
	if !reflect.DeepEqual(list[0].Reasons, want) {
		t.Errorf("%+v", list[0])
	}
}
