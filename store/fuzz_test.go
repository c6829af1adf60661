package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// addGolden adds files of the golden datasets to the corpus.
func addGolden(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		for _, dir := range []string{goldenV1, goldenV2} {
			f.Add(readGolden(f, dir, name))
		}
	}
}

func readGolden(f *testing.F, dir, name string) []byte {
	f.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// inBounds fails if a reader that slices a file by info could leave it.
func inBounds(t *testing.T, info *table.FileInfo) {
	t.Helper()
	at := info.Batch[0].Offset
	for _, b := range info.Batch {
		if b.Offset != at || b.Offset <= 0 || b.PayloadBytes < 0 || b.PayloadBytes >= b.Bytes || b.Offset+b.Bytes >= info.Bytes || b.Offset+b.Bytes < 0 {
			t.Fatalf("batch %+v of %d bytes", b, info.Bytes)
		}
		at += b.Bytes
	}
}

func FuzzCropManifest(f *testing.F) {
	addGolden(f, "crops/000000.json", "crops/000001.json", "crops/000002.json", "dataset.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, storetest.Reseal(data)} {
			var m store.CropManifest
			if table.DecodeSealed(text, table.FormatCrops, &m) != nil || m.validate(m.Shard) != nil {
				continue
			}
			if m.File != nil {
				inBounds(t, m.File)
			}
			again, err := table.EncodeSealed(&m)
			if err != nil {
				t.Fatal(err)
			}
			var back store.CropManifest
			if err := table.DecodeSealed(again, table.FormatCrops, &back); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
	})
}

func FuzzEmbeddingManifest(f *testing.F) {
	addGolden(f, "teachers/r50/000000.json", "teachers/r50/000001.json", "teachers/r50/teacher.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, storetest.Reseal(data)} {
			var m cache.Manifest
			if table.DecodeSealed(text, table.FormatEmbeddings, &m) != nil || m.validate(m.Shard, m.Rows) != nil {
				continue
			}
			inBounds(t, m.File)
		}
	})
}

// FuzzDataset opens a dataset whose dataset.json is the input.
func FuzzDataset(f *testing.F) {
	addGolden(f, "dataset.json", "crops/000000.json")
	dir := filepath.Join(f.TempDir(), "d")
	if err := os.CopyFS(dir, os.DirFS(goldenV1)); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, store.DatasetFile)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, storetest.Reseal(data)} {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
			if err != nil {
				if !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrVersion) {
					t.Fatalf("neither damaged nor of another version: %v", err)
				}
				continue
			}
			for row := range d.Rows() {
				if l := d.Locate(row); d.RowOf(l) != row || int(l.Row) >= d.ShardRows(int(l.Shard)) {
					t.Fatalf("row %d is at %+v", row, l)
				}
			}
		}
	})
}

// writeTemp writes a file that lives as long as the test.
func writeTemp(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fuzz.arrow")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// openMutated opens Arrow bytes that were made from those of whole. As they are, they
// must be refused. Then the bodies of the batches are taken as though their checksums
// were right: what a body holds, whatever it is, must not crash a reader. (Arrow's
// metadata is only protected by the checksums: the library does not verify it.)
func openMutated[C any](t *testing.T, whole, data []byte, info table.FileInfo, schema *arrow.Schema, parse table.ParseColumns[C]) *table.File[C] {
	t.Helper()
	if f, err := table.Open(writeTemp(t, data), &info, schema, parse); err == nil {
		if err := f.verifyAll(); (err == nil) != bytes.Equal(data, whole) {
			t.Fatalf("read with error %v", err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	} else if !errors.Is(err, store.ErrDamaged) {
		t.Fatalf("not damaged: %v", err)
	}

	mixed := bytes.Clone(whole)
	batches := make([]table.BatchInfo, len(info.Batch))
	for i, b := range info.Batch {
		body := b.Offset + 8 + int64(binary.LittleEndian.Uint32(whole[b.Offset+4:]))
		if end := b.Offset + b.Bytes; int64(len(data)) > body {
			copy(mixed[body:end], data[body:])
		}
		b.Columns, b.Payload = table.ChecksumOf(b.columns(mixed)), table.ChecksumOf(b.payload(mixed))
		batches[i] = b
	}
	info.Batch = batches
	f, err := table.Open(writeTemp(t, mixed), &info, schema, parse)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// FuzzCropFile opens damaged crop shards, of both versions in turn, and reads all their
// rows.
func FuzzCropFile(f *testing.F) {
	type shard struct {
		whole  []byte
		info   table.FileInfo
		schema *arrow.Schema
	}
	var shards []shard
	for _, dir := range []string{goldenV1, goldenV2} {
		m, err := store.ReadCropManifest(filepath.Join(dir, store.CropsFolder), 0)
		if err != nil {
			f.Fatal(err)
		}
		schema, err := store.CropSchema(m.Contract, m.Version)
		if err != nil {
			f.Fatal(err)
		}
		s := shard{readGolden(f, dir, "crops/000000.arrow"), *m.File, schema}
		f.Add(len(shards) > 0, s.whole)
		shards = append(shards, s)
	}
	f.Fuzz(func(t *testing.T, second bool, data []byte) {
		s := shards[0]
		if second {
			s = shards[1]
		}
		crops := &store.CropFile{openMutated(t, s.whole, data, s.info, s.schema, store.ParseCropColumns)}
		for row := range s.info.Rows() {
			if _, err := crops.crop(row); err != nil && !errors.Is(err, store.ErrDamaged) {
				t.Fatalf("row %d: %v", row, err)
			}
		}
	})
}

// FuzzEmbeddingFile is FuzzCropFile for embeddings.
func FuzzEmbeddingFile(f *testing.F) {
	whole := readGolden(f, goldenV1, "teachers/r50/000000.arrow")
	f.Add(whole)
	folder := filepath.Join(goldenV1, store.TeachersFolder, "r50")
	info, err := cache.ReadInfo(folder, "r50")
	if err != nil {
		f.Fatal(err)
	}
	var m cache.Manifest
	if err := table.ReadSealed(filepath.Join(folder, table.ManifestName(0)), table.FormatEmbeddings, &m); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := openMutated(t, whole, data, *m.File, cache.SchemaOf(info), cache.ParseColumns)
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
