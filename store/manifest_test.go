package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// A manifest whose seal is right and that says something else than the rest of the
// dataset is damage, and the error says what does not fit.
func TestManifestsThatDoNotFit(t *testing.T) {
	crops := func(change func(*store.CropManifest)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			storetest.EditSealed(t, filepath.Join(dir, "crops/000001.json"), table.FormatCrops, change)
		}
	}
	doc := func(change func(*store.DatasetDoc)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			storetest.EditSealed(t, filepath.Join(dir, store.DatasetFile), table.FormatDataset, change)
		}
	}
	zeros := strings.Repeat("0", 64)
	for _, tc := range []struct {
		name, want string
		change     func(*testing.T, string)
	}{
		{"another shard's", "manifest of shard 0", crops(func(m *store.CropManifest) { m.Shard = 0 })},
		{"no file", "counts do not fit", crops(func(m *store.CropManifest) { m.File = nil })},
		{"rows", "record batches hold", crops(func(m *store.CropManifest) { m.Rows++ })},
		{"more rows than batches have", "rows in 1 record batches", crops(func(m *store.CropManifest) { m.Rows, m.File.Batch[0].Rows = 513, 513 })},
		{"more rows than memory", "record batch 0 has", crops(func(m *store.CropManifest) { m.Rows, m.File.Batch[0].Rows = 1<<40, 1<<40 })},
		{"other file", "digest is", crops(func(m *store.CropManifest) { m.File.SHA256 = zeros })},
		{"other rejects", "digest is", crops(func(m *store.CropManifest) { m.Rejects = append(m.Rejects, store.Reject{Key: "x"}) })},
		{"other contract", "contract", crops(func(m *store.CropManifest) { m.Contract.Warp = "other" })},
		{"first row", "begins at row 9", crops(func(m *store.CropManifest) { m.FirstRow = 9 })},
		{"size", "bytes", crops(func(m *store.CropManifest) { m.File.Bytes++ })},
		{"stamps", "bytes of stamps", crops(func(m *store.CropManifest) { m.Stamps = make([]byte, 8) })},
		{"checksum", "checksum is", crops(func(m *store.CropManifest) { m.File.Batch[0].Columns++ })},
		{"payload", "checksum is", crops(func(m *store.CropManifest) { m.File.Batch[0].PayloadBytes = 0 })},

		{"dataset rows", "its shards have", doc(func(d *store.DatasetDoc) { d.Rows++ })},
		{"dataset digest", "digest is", doc(func(d *store.DatasetDoc) { d.Digest = zeros })},
		{"shard digest", "digest is", doc(func(d *store.DatasetDoc) { d.Shards[0].Digest = zeros })},
		{"negative rows", "-1 rows", doc(func(d *store.DatasetDoc) { d.Shards[0].Rows = -1 })},
		{"empty contract", "crop size 0", doc(func(d *store.DatasetDoc) { d.Contract = store.Contract{} })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(storetest.MemoryDir(t), "d")
			w := storetest.Writer(t, dir, 8)
			storetest.Ingest(t, w, storetest.Source, 0, 12)
			storetest.Close(t, w)
			storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
			tc.change(t, dir)
			storetest.WantDamage(t, dir, tc.want)
		})
	}
}

// A shard that supersedes a reject which does not exist is damage to whoever appends.
func TestSupersededOfNothing(t *testing.T) {
	dir := filepath.Join(storetest.MemoryDir(t), "d")
	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 0, 12)
	storetest.Close(t, w)
	storetest.EditSealed(t, filepath.Join(dir, "crops/000001.json"), table.FormatCrops, func(m *store.CropManifest) {
		m.Superseded = []store.InputRef{{Key: "x"}}
	})
	_, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{Logger: storetest.Quiet})
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), `supersedes a reject of "x"`) {
		t.Errorf("error %v", err)
	}
}

// A content digest tells lists of strings apart that only differ in where one ends.
func TestContentDigest(t *testing.T) {
	a := store.CropManifest{Rejects: []store.Reject{{Key: "ab", Stage: "c"}}}
	b := store.CropManifest{Rejects: []store.Reject{{Key: "a", Stage: "bc"}}}
	c := store.CropManifest{Duplicates: []store.DuplicateInput{{Key: "ab", Identity: "c"}}}
	d := store.CropManifest{Rejects: []store.Reject{{Key: "ab", Stage: "c", Reason: "worded otherwise"}}, Sources: []store.SourceInfo{storetest.Source}}
	sum := func(m store.CropManifest) table.Digest {
		s, err := m.ContentDigest()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if sum(a) == sum(b) || sum(a) == sum(c) {
		t.Error("different contents have one digest")
	}
	if sum(a) != sum(d) {
		t.Error("wording and paths are in the digest")
	}
}
