package store

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// edit changes a sealed file and seals it again.
func edit[T any](t *testing.T, path, format string, change func(*T)) {
	t.Helper()
	var doc T
	if err := readSealed(path, format, &doc); err != nil {
		t.Fatal(err)
	}
	change(&doc)
	data, err := encodeSealed(doc)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, func([]byte) []byte { return data })
}

// A manifest whose seal is right and that says something else than the rest of the
// dataset is damage, and the error says what does not fit.
func TestManifestsThatDoNotFit(t *testing.T) {
	crops := func(change func(*cropManifest)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "crops/000001.json"), formatCrops, change)
		}
	}
	embeddings := func(change func(*embeddingManifest)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "teachers/r50/000001.json"), formatEmbeddings, change)
		}
	}
	doc := func(change func(*datasetDoc)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, datasetFile), formatDataset, change)
		}
	}
	zeros := strings.Repeat("0", 64)
	for _, tc := range []struct {
		name, want string
		change     func(*testing.T, string)
	}{
		{"another shard's", "manifest of shard 0", crops(func(m *cropManifest) { m.Shard = 0 })},
		{"no file", "counts do not fit", crops(func(m *cropManifest) { m.File = nil })},
		{"rows", "record batches hold", crops(func(m *cropManifest) { m.Rows++ })},
		{"other file", "digest is", crops(func(m *cropManifest) { m.File.SHA256 = zeros })},
		{"other rejects", "digest is", crops(func(m *cropManifest) { m.Rejects = append(m.Rejects, Reject{Key: "x"}) })},
		{"other contract", "contract", crops(func(m *cropManifest) { m.Contract.Warp = "other" })},
		{"first row", "begins at row 9", crops(func(m *cropManifest) { m.FirstRow = 9 })},
		{"size", "bytes", crops(func(m *cropManifest) { m.File.Bytes++ })},
		{"checksum", "checksum is", crops(func(m *cropManifest) { m.File.Batch[0].Columns++ })},
		{"payload", "checksum is", crops(func(m *cropManifest) { m.File.Batch[0].PayloadBytes = 0 })},

		{"another embedding shard's", "manifest of shard 0", embeddings(func(m *embeddingManifest) { m.Shard = 0 })},
		{"fingerprint", "fingerprint other", embeddings(func(m *embeddingManifest) { m.Fingerprint = "other" })},
		{"crops", "another crop shard", embeddings(func(m *embeddingManifest) { m.Crops = zeros })},
		{"embedding rows", "the crop shard has", embeddings(func(m *embeddingManifest) { m.Rows-- })},
		{"no embedding file", "the crop shard has", embeddings(func(m *embeddingManifest) { m.File = nil })},
		{"other embedding file", "digest is", embeddings(func(m *embeddingManifest) { m.File.SHA256 = zeros })},
		{"bad embedding digest", "hexadecimal", embeddings(func(m *embeddingManifest) { m.File.SHA256 = "x" })},
		{"invalid row", "names invalid row 99", embeddings(func(m *embeddingManifest) { m.Invalid = []invalid{{Row: 99}} })},

		{"dataset rows", "its shards have", doc(func(d *datasetDoc) { d.Rows++ })},
		{"dataset digest", "digest is", doc(func(d *datasetDoc) { d.Digest = zeros })},
		{"shard digest", "digest is", doc(func(d *datasetDoc) { d.Shards[0].Digest = zeros })},
		{"negative rows", "-1 rows", doc(func(d *datasetDoc) { d.Shards[0].Rows = -1 })},
		{"empty contract", "crop size 0", doc(func(d *datasetDoc) { d.Contract = Contract{} })},

		{"teacher dim", "dim 0", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "teachers/r50/teacher.json"), formatTeacher, func(d *teacherDoc) { d.Dim = 0 })
		}},
		{"teacher name", "is of teacher", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "teachers/r50/teacher.json"), formatTeacher, func(d *teacherDoc) { d.Name = "other" })
		}},
		{"teacher dtype", "schema is", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "teachers/r50/teacher.json"), formatTeacher, func(d *teacherDoc) { d.DType = FP32 })
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(memoryDir(t), "d")
			w := mustWriter(t, dir, 8)
			ingest(t, w, testSource, 0, 12)
			mustClose(t, w)
			embed(t, mustOpen(t, dir), testTeacher(FP16, true), -1, nil)
			tc.change(t, dir)
			if err := readEverything(dir); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if r, err := Check(t.Context(), dir, CheckOptions{ReadData: true}); err != nil || r.OK {
				t.Errorf("check: %+v, %v", r, err)
			}
		})
	}
}
