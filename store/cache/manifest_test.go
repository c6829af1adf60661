package cache_test

import (
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store/cache"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// A manifest whose seal is right and that says something else than the rest of the cache, or
// than the crops, is damage, and the error says what does not fit.
func TestManifestsThatDoNotFit(t *testing.T) {
	shard := func(change func(*cache.Manifest)) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			storetest.EditSealed(t, filepath.Join(folder, "000001.json"), table.FormatEmbeddings, change)
		}
	}
	teacher := func(change func(*cache.InfoDoc)) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			storetest.EditSealed(t, filepath.Join(folder, "teacher.json"), table.FormatTeacher, change)
		}
	}
	zeros := strings.Repeat("0", 64)
	for _, tc := range []struct {
		name, want string
		change     func(*testing.T, string)
	}{
		{"another shard's", "manifest of shard 0", shard(func(m *cache.Manifest) { m.Shard = 0 })},
		{"fingerprint", "fingerprint other", shard(func(m *cache.Manifest) { m.Fingerprint = "other" })},
		{"crops", "another crop shard", shard(func(m *cache.Manifest) { m.Crops = zeros })},
		{"rows", "the crop shard has", shard(func(m *cache.Manifest) { m.Rows-- })},
		{"no file", "the crop shard has", shard(func(m *cache.Manifest) { m.File = nil })},
		{"other file", "digest is", shard(func(m *cache.Manifest) { m.File.SHA256 = zeros })},
		{"bad digest", "hexadecimal", shard(func(m *cache.Manifest) { m.File.SHA256 = "x" })},
		{"invalid row", "names invalid row 99", shard(func(m *cache.Manifest) { m.Invalid = []cache.Invalid{{Row: 99}} })},

		{"dim", "dim 0", teacher(func(d *cache.InfoDoc) { d.Dim = 0 })},
		{"name", "is of teacher", teacher(func(d *cache.InfoDoc) { d.Name = "other" })},
		{"dtype", "schema is", teacher(func(d *cache.InfoDoc) { d.DType = cache.FP32 })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(storetest.MemoryDir(t), "d")
			w := storetest.Writer(t, dir, 8)
			storetest.Ingest(t, w, storetest.Source, 0, 12)
			storetest.Close(t, w)
			storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
			tc.change(t, filepath.Join(dir, "teachers/r50"))
			storetest.WantDamage(t, dir, tc.want)
		})
	}
}
