package cache_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// goldenV1 and goldenV2 are a teacher's caches in the golden datasets.
const (
	goldenV1 = "../testdata/golden-v1/faces.ds/teachers/r50"
	goldenV2 = "../testdata/golden-v2/faces.ds/teachers/r50"
)

func FuzzManifest(f *testing.F) {
	storetest.AddFiles(f, []string{goldenV1, goldenV2}, "000000.json", "000001.json", "teacher.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, storetest.Reseal(data)} {
			var m cache.Manifest
			var err error
			alloctest.AtMost(t, storetest.AllocationOf(len(text)), func() {
				m = cache.Manifest{}
				err = table.DecodeSealed(text, table.FormatEmbeddings, &m)
			})
			if err != nil || m.Validate(m.Shard, m.Rows) != nil {
				continue
			}
			storetest.InBounds(t, m.File)
		}
	})
}

// FuzzFile opens damaged shards of embeddings, and reads all their rows.
func FuzzFile(f *testing.F) {
	info, err := cache.ReadInfo(goldenV1, "r50")
	if err != nil {
		f.Fatal(err)
	}
	var m cache.Manifest
	if err := table.ReadSealed(filepath.Join(goldenV1, "000000.json"), table.FormatEmbeddings, &m); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(goldenV1, "000000.arrow"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	whole := storetest.Table[cache.Columns]{Data: data, Info: *m.File, Schema: cache.SchemaOf(info), Parse: cache.ParseColumns}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := whole.OpenMutated(t, data)
		row := make([]float32, info.Dim)
		for b := range file.Columns {
			c, err := file.Columns[b]()
			if err != nil {
				if !errors.Is(err, store.ErrDamaged) {
					t.Fatal(err)
				}
				continue
			}
			for k := range file.Info.Batch[b].Rows {
				c.ID.Value(k)
				c.Plain.CopyRow(k, row)
				c.Mirror.CopyRow(k, row)
				_, _ = c.Plain.Norms[k], c.Mirror.Norms[k]
			}
		}
	})
}
