package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// edit changes a sealed file and seals it again.
func edit[T any](t *testing.T, path, format string, change func(*T)) {
	t.Helper()
	var doc T
	if err := table.ReadSealed(path, format, &doc); err != nil {
		t.Fatal(err)
	}
	change(&doc)
	data, err := table.EncodeSealed(doc)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Rewrite(t, path, func([]byte) []byte { return data })
}

// A manifest whose seal is right and that says something else than the rest of the
// dataset is damage, and the error says what does not fit.
func TestManifestsThatDoNotFit(t *testing.T) {
	crops := func(change func(*store.CropManifest)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "crops/000001.json"), table.FormatCrops, change)
		}
	}
	embeddings := func(change func(*cache.Manifest)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "teachers/r50/000001.json"), table.FormatEmbeddings, change)
		}
	}
	doc := func(change func(*store.DatasetDoc)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, store.DatasetFile), table.FormatDataset, change)
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
		{"other file", "digest is", crops(func(m *store.CropManifest) { m.File.SHA256 = zeros })},
		{"other rejects", "digest is", crops(func(m *store.CropManifest) { m.Rejects = append(m.Rejects, store.Reject{Key: "x"}) })},
		{"other contract", "contract", crops(func(m *store.CropManifest) { m.Contract.Warp = "other" })},
		{"first row", "begins at row 9", crops(func(m *store.CropManifest) { m.FirstRow = 9 })},
		{"size", "bytes", crops(func(m *store.CropManifest) { m.File.Bytes++ })},
		{"checksum", "checksum is", crops(func(m *store.CropManifest) { m.File.Batch[0].Columns++ })},
		{"payload", "checksum is", crops(func(m *store.CropManifest) { m.File.Batch[0].PayloadBytes = 0 })},

		{"another embedding shard's", "manifest of shard 0", embeddings(func(m *cache.Manifest) { m.Shard = 0 })},
		{"fingerprint", "fingerprint other", embeddings(func(m *cache.Manifest) { m.Fingerprint = "other" })},
		{"crops", "another crop shard", embeddings(func(m *cache.Manifest) { m.Crops = zeros })},
		{"embedding rows", "the crop shard has", embeddings(func(m *cache.Manifest) { m.Rows-- })},
		{"no embedding file", "the crop shard has", embeddings(func(m *cache.Manifest) { m.File = nil })},
		{"other embedding file", "digest is", embeddings(func(m *cache.Manifest) { m.File.SHA256 = zeros })},
		{"bad embedding digest", "hexadecimal", embeddings(func(m *cache.Manifest) { m.File.SHA256 = "x" })},
		{"invalid row", "names invalid row 99", embeddings(func(m *cache.Manifest) { m.Invalid = []cache.Invalid{{Row: 99}} })},

		{"dataset rows", "its shards have", doc(func(d *store.DatasetDoc) { d.Rows++ })},
		{"dataset digest", "digest is", doc(func(d *store.DatasetDoc) { d.Digest = zeros })},
		{"shard digest", "digest is", doc(func(d *store.DatasetDoc) { d.Shards[0].Digest = zeros })},
		{"negative rows", "-1 rows", doc(func(d *store.DatasetDoc) { d.Shards[0].Rows = -1 })},
		{"empty contract", "crop size 0", doc(func(d *store.DatasetDoc) { d.Contract = store.Contract{} })},

		{"teacher dim", "dim 0", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "teachers/r50/teacher.json"), table.FormatTeacher, func(d *cache.InfoDoc) { d.Dim = 0 })
		}},
		{"teacher name", "is of teacher", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "teachers/r50/teacher.json"), table.FormatTeacher, func(d *cache.InfoDoc) { d.Name = "other" })
		}},
		{"teacher dtype", "schema is", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "teachers/r50/teacher.json"), table.FormatTeacher, func(d *cache.InfoDoc) { d.DType = cache.FP32 })
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(storetest.MemoryDir(t), "d")
			w := storetest.Writer(t, dir, 8)
			storetest.Ingest(t, w, storetest.Source, 0, 12)
			storetest.Close(t, w)
			storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
			tc.change(t, dir)
			if err := readEverything(dir); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if r, err := check.Run(t.Context(), dir, check.Options{ReadData: true}); err != nil || r.OK {
				t.Errorf("check: %+v, %v", r, err)
			}
		})
	}
}
