package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
)

// reseal gives JSON text the seal that belongs to it, so that mutations get past it.
func reseal(data []byte) []byte {
	if i := bytes.LastIndex(data, []byte(sealLead)); i >= 0 {
		data = data[:i+len(sealLead)]
	} else {
		data = append(bytes.TrimRight(data, "}\n "), sealLead...)
	}
	sum := sha256.Sum256(data)
	return append(hex.AppendEncode(bytes.Clone(data), sum[:]), sealTail...)
}

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
func inBounds(t *testing.T, info *fileInfo) {
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
		for _, text := range [][]byte{data, reseal(data)} {
			var m cropManifest
			if decodeSealed(text, formatCrops, &m) != nil || m.validate(m.Shard) != nil {
				continue
			}
			if m.File != nil {
				inBounds(t, m.File)
			}
			again, err := encodeSealed(&m)
			if err != nil {
				t.Fatal(err)
			}
			var back cropManifest
			if err := decodeSealed(again, formatCrops, &back); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
	})
}

func FuzzEmbeddingManifest(f *testing.F) {
	addGolden(f, "teachers/r50/000000.json", "teachers/r50/000001.json", "teachers/r50/teacher.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, reseal(data)} {
			var m embeddingManifest
			if decodeSealed(text, formatEmbeddings, &m) != nil || m.validate(m.Shard, m.Rows) != nil {
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
	path := filepath.Join(dir, datasetFile)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, reseal(data)} {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			d, err := Open(dir, WithLogger(quiet))
			if err != nil {
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
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
func openMutated[C any](t *testing.T, whole, data []byte, info fileInfo, schema *arrow.Schema, parse parseColumns[C]) *arrowFile[C] {
	t.Helper()
	if f, err := openArrow(writeTemp(t, data), &info, schema, parse); err == nil {
		if err := f.verifyAll(); (err == nil) != bytes.Equal(data, whole) {
			t.Fatalf("read with error %v", err)
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	} else if !errors.Is(err, ErrDamaged) {
		t.Fatalf("not damaged: %v", err)
	}

	mixed := bytes.Clone(whole)
	batches := make([]batchInfo, len(info.Batch))
	for i, b := range info.Batch {
		body := b.Offset + 8 + int64(binary.LittleEndian.Uint32(whole[b.Offset+4:]))
		if end := b.Offset + b.Bytes; int64(len(data)) > body {
			copy(mixed[body:end], data[body:])
		}
		b.Columns, b.Payload = checksumOf(b.columns(mixed)), checksumOf(b.payload(mixed))
		batches[i] = b
	}
	info.Batch = batches
	f, err := openArrow(writeTemp(t, mixed), &info, schema, parse)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.close(); err != nil {
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
		info   fileInfo
		schema *arrow.Schema
	}
	var shards []shard
	for _, dir := range []string{goldenV1, goldenV2} {
		m, err := readCropManifest(filepath.Join(dir, cropsFolder), 0)
		if err != nil {
			f.Fatal(err)
		}
		schema, err := cropSchema(m.Contract, m.Version)
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
		crops := &cropFile{openMutated(t, s.whole, data, s.info, s.schema, parseCropColumns)}
		for row := range s.info.rows() {
			if _, err := crops.crop(row); err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatalf("row %d: %v", row, err)
			}
		}
	})
}

// FuzzEmbeddingFile is FuzzCropFile for embeddings.
func FuzzEmbeddingFile(f *testing.F) {
	whole := readGolden(f, goldenV1, "teachers/r50/000000.arrow")
	f.Add(whole)
	folder := filepath.Join(goldenV1, teachersFolder, "r50")
	info, err := readTeacherInfo(folder, "r50")
	if err != nil {
		f.Fatal(err)
	}
	var m embeddingManifest
	if err := readSealed(filepath.Join(folder, manifestName(0)), formatEmbeddings, &m); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := openMutated(t, whole, data, *m.File, embeddingSchema(info), parseEmbeddingColumns)
		row := make([]float32, info.Dim)
		for b := range file.columns {
			c, err := file.columns[b]()
			if err != nil {
				if !errors.Is(err, ErrDamaged) {
					t.Fatal(err)
				}
				continue
			}
			for k := range file.info.Batch[b].Rows {
				c.id.Value(k)
				c.plain.copyRow(k, row)
				c.mirror.copyRow(k, row)
				_, _ = c.plain.norms[k], c.mirror.norms[k]
			}
		}
	})
}
