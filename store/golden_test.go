package store_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// Datasets of every format version so far, which every later program must read.
const (
	goldenV1 = "testdata/golden-v1/faces.ds"
	goldenV2 = "testdata/golden-v2/faces.ds"
)

var golden = []string{goldenV1, goldenV2}

// buildGolden writes the golden dataset: three shards (the last without rows), two
// sources, rejects, duplicates, a conflict, and two teachers, one of them incomplete.
func buildGolden(t *testing.T, dir string) {
	t.Helper()
	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 0, 14)
	other := w.AddSource(store.SourceInfo{
		Kind: "folder", Path: "other", Detector: "test detector 256",
		DetectorDigest: fmt.Sprintf("%x", sha256.Sum256([]byte("detector"))),
		Policy:         "faces all",
	})
	taken := storetest.Crop(other, 40)
	taken.Key = storetest.Crop(0, 3).Key
	if _, err := w.Append(taken); err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, w)
	w = storetest.Writer(t, dir, 8)
	if err := w.Reject(store.Reject{Source: other, Key: "Ünïcode/名前.webp", Stage: "read", Reason: `a "quoted" reason`}); err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, w)
	d := storetest.Open(t, dir)
	storetest.Embed(t, d, storetest.Info(cache.FP16, true), -1, func(row int, e []float32) {
		if row == 2 {
			clear(e)
		}
	})
	full := storetest.Info(cache.FP32, false)
	full.Name = "incomplete"
	storetest.Embed(t, d, full, 1, nil)
}

// describe tells everything that reading a dataset gives.
func describe(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	d := storetest.Open(t, dir)
	fmt.Fprintf(&b, "digest %s\ncontract %+v\n", d.Digest(), d.Contract())
	for i, s := range d.Sources() {
		fmt.Fprintf(&b, "source %d %s\n", i, describeSource(s))
	}
	fmt.Fprintf(&b, "%d rows, %d shards, %d identities, %d duplicates, %d rejects\n",
		d.Rows(), d.Shards(), d.Identities(), d.Duplicates(), d.Rejects())
	for i := range d.Shards() {
		s, err := d.CropShard(i)
		if err != nil {
			t.Fatal(err)
		}
		for k := range s.Rows() {
			c, err := s.Crop(k)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "crop %d/%d %s\n", i, k, describeCrop(c))
		}
		storetest.Close(t, s)
	}
	for _, key := range []string{"twins/0007.png", "person_00/0003.png"} {
		l, err := d.Lookup(key)
		fmt.Fprintf(&b, "key %s at %+v, %v\n", key, l, err)
	}
	names, err := cache.Names(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		describeTeacher(t, &b, storetest.Cache(t, d, name))
	}
	return b.Bytes()
}

// describeSource and describeCrop tell what version 1 had in the words it was told in
// then, and what was added later only where there is any.
func describeSource(s store.SourceInfo) string {
	text := fmt.Sprintf("%+v", struct{ Kind, Path, Digest, Detector, DetectorDigest, Landmarks string }{
		s.Kind, s.Path, s.Digest, s.Detector, s.DetectorDigest, s.Landmarks,
	})
	if s.Policy != "" {
		text += " policy " + s.Policy
	}
	if s.MergedFrom != "" {
		text += " merged from " + s.MergedFrom
	}
	return text
}

func describeCrop(c store.Crop) string {
	sum := sha256.Sum256(c.Image)
	text := fmt.Sprintf("%+v", struct {
		ID           store.ID
		Source       int
		Key          string
		Identity     string
		Label        int32
		Encoding     imgcodec.Format
		Image        []byte
		HasLandmarks bool
		Landmarks    [10]float32
		Score        float32
	}{c.ID, c.Source, c.Key, c.Identity, c.Label, c.Encoding, sum[:4], c.HasLandmarks, c.Landmarks, c.Score})
	if c.Split != "" {
		text += " split " + c.Split
	}
	if c.Attributes != "" {
		text += " attributes " + c.Attributes
	}
	if c.HasQuality {
		text += fmt.Sprintf(" quality %+v", c.Quality)
	}
	return text
}

func describeTeacher(t *testing.T, b *bytes.Buffer, teacher *cache.Cache) {
	t.Helper()
	info := teacher.Info()
	sum, err := teacher.Digest()
	fmt.Fprintf(b, "teacher %s %s dim %d %s flip %t, %s, missing %v, invalid %d\n",
		info.Name, info.Fingerprint, info.Dim, info.DType, info.Flip, info.Preprocess, teacher.MissingShards(), teacher.Invalid())
	if err == nil {
		fmt.Fprintf(b, "digest %s\n", sum)
	}
	row := make([]float32, info.Dim)
	for i := range teacher.Dataset().Shards() {
		s, err := teacher.Shard(i)
		if errors.Is(err, store.ErrNotFound) {
			fmt.Fprintf(b, "shard %d is missing\n", i)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(b, "shard %d has %d rows\n", i, s.Rows())
		for k := range s.Rows() {
			norm, valid, err := s.Row(k, info.Flip, row)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(b, "embedding %d/%d norm %g valid %t %v\n", i, k, norm, valid, row[:3])
		}
		storetest.Close(t, s)
	}
}

// Datasets of all versions read as they always did, can be appended to in today's
// version, and have no damage.
func TestGolden(t *testing.T) {
	if *update {
		rebuildGolden(t, goldenV2)
	}
	for from, anew := range map[string]bool{
		goldenV1: false, // never written again
		goldenV2: *update,
	} {
		dir := storetest.Copy(t, from)
		storetest.Golden(t, filepath.Join(filepath.Dir(from), "contents.txt"), describe(t, dir), anew)
		storetest.CleanCheck(t, dir)
		w := storetest.Writer(t, dir, 8)
		if n := storetest.Ingest(t, w, storetest.Source, 0, 20); n[store.Stored] != 6 {
			t.Errorf("%s: appended %v", from, n)
		}
		storetest.Close(t, w)
		storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
		storetest.CleanCheck(t, dir)
	}
}

// rebuildGolden writes the golden dataset of the version of today.
func rebuildGolden(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	buildGolden(t, dir)
	for _, derived := range []string{index.Folder, table.LockFile, index.LockFile, "teachers/r50/.lock", "teachers/incomplete/.lock"} {
		if err := os.RemoveAll(filepath.Join(dir, derived)); err != nil {
			t.Fatal(err)
		}
	}
}

// What is written today is version 2 to the byte. If this fails after a change that is
// meant, an older program must still be able to read the new files, or the version
// must rise; then -update.
func TestGoldenIsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	buildGolden(t, dir)
	storetest.SameContents(t, dir, goldenV2)
}

// A dataset that has nothing new stays of version 1, to the byte; appended to, its old
// shards stay as they were and the new ones are of version 2, which dataset.json tells.
func TestAppendToVersion1(t *testing.T) {
	dir := storetest.Copy(t, goldenV1)
	storetest.Close(t, storetest.Writer(t, dir, 8))
	storetest.SameContents(t, dir, goldenV1)

	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 0, 20)
	storetest.Close(t, w)
	old := storetest.Contents(t, goldenV1)
	for name, data := range storetest.Contents(t, dir) {
		if before, ok := old[name]; ok && name != store.DatasetFile && name != store.RejectsFile && !bytes.Equal(before, data) {
			t.Errorf("%s was changed", name)
		}
	}
	d := storetest.Open(t, dir)
	var versions []int
	for i := range d.Shards() {
		versions = append(versions, d.ShardVersion(i))
	}
	if fmt.Sprint(versions) != "[1 1 1 2]" || d.FormatVersion() != 2 {
		t.Errorf("shards have versions %v, %s has %d", versions, store.DatasetFile, d.FormatVersion())
	}
	for row := range d.Rows() {
		c := cropAt(t, d, row)
		if have := c.Split != "" || c.Attributes != "" || c.HasQuality; have && d.ShardVersion(int(d.Locate(row).Shard)) == 1 {
			t.Errorf("row %d of version 1 is %+v", row, c)
		}
	}
	want := storetest.Crop(0, 18)
	at, err := d.Lookup(want.Key)
	if err != nil {
		t.Fatal(err)
	}
	got := cropAt(t, d, d.RowOf(at))
	want.Label = got.Label
	if describeCrop(got) != describeCrop(want) {
		t.Errorf("read\n%s\nwrote\n%s", describeCrop(got), describeCrop(want))
	}
}

// A program of version 1 is told so at dataset.json, before it meets a shard.
func TestVersionIsToldFirst(t *testing.T) {
	dir := storetest.Copy(t, goldenV2)
	path := filepath.Join(dir, store.DatasetFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, storetest.Reseal(bytes.Replace(data, []byte(`"version": 2`), []byte(`"version": 1`), 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir, store.WithLogger(storetest.Quiet)); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("%s of version 1 over shards of version 2: %v", store.DatasetFile, err)
	}
	if err := os.WriteFile(path, storetest.Reseal(bytes.Replace(data, []byte(`"version": 2`), []byte(`"version": 3`), 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir, store.WithLogger(storetest.Quiet)); !errors.Is(err, store.ErrVersion) {
		t.Errorf("%s of version 3: %v", store.DatasetFile, err)
	}
}

func cropAt(t *testing.T, d *store.Dataset, row int) store.Crop {
	t.Helper()
	at := d.Locate(row)
	s, err := d.CropShard(int(at.Shard))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.Crop(int(at.Row))
	if err != nil {
		t.Fatal(err)
	}
	c.Image = bytes.Clone(c.Image)
	return c
}

func TestSplitRows(t *testing.T) {
	dir := storetest.Copy(t, goldenV1)
	if _, err := storetest.Open(t, dir).SplitRows("train"); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "no split") {
		t.Errorf("before there are splits: %v", err)
	}
	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 0, 40)
	storetest.Close(t, w)
	d := storetest.Open(t, dir)
	for _, split := range []string{"train", "val"} {
		var want []int
		for row := range d.Rows() {
			if cropAt(t, d, row).Split == split {
				want = append(want, row)
			}
		}
		got, err := d.SplitRows(split)
		if err != nil || !slices.Equal(got, want) || len(want) < 5 {
			t.Errorf("%s is rows %v, %v, want %v", split, got, err, want)
		}
	}
	if _, err := d.SplitRows("test"); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "train, val") {
		t.Errorf("a split that is not there: %v", err)
	}
}
