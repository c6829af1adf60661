package storetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"facepipe/internal/alloctest"
	"facepipe/store/internal/table"
)

// AddFiles adds files of each of some folders to the corpus.
func AddFiles(f *testing.F, dirs []string, names ...string) {
	f.Helper()
	for _, name := range names {
		for _, dir := range dirs {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
}

// InBounds fails if a reader that slices a file by info could leave it.
func InBounds(t *testing.T, info *table.FileInfo) {
	t.Helper()
	at := info.Batch[0].Offset
	for _, b := range info.Batch {
		if b.Offset != at || b.Offset <= 0 || b.PayloadBytes < 0 || b.PayloadBytes >= b.Bytes || b.Offset+b.Bytes >= info.Bytes || b.Offset+b.Bytes < 0 {
			t.Fatalf("batch %+v of %d bytes", b, info.Bytes)
		}
		at += b.Bytes
	}
}

// Table is a good Arrow file: its bytes, what its manifest says of it, and how it is read.
type Table[C any] struct {
	Data   []byte
	Info   table.FileInfo
	Schema *arrow.Schema
	Parse  table.ParseColumns[C]
}

// AllocationOf bounds what a reader of so many bytes may allocate.
func AllocationOf(bytes int) int { return 64*bytes + 4<<20 }

// OpenMutated opens Arrow bytes that were made from those of whole. As they are, they must be
// refused, and as though all their checksums were right they must be read or refused. Then the
// bodies of the batches alone are taken as though their checksums were right: what a body holds,
// whatever it is, must not crash a reader.
func (whole Table[C]) OpenMutated(t *testing.T, data []byte) *table.File[C] {
	t.Helper()
	info := whole.Info
	alloctest.AtMost(t, AllocationOf(len(data)), func() {
		if err := whole.read(t, data, &info); (err == nil) != bytes.Equal(data, whole.Data) {
			t.Fatalf("read with error %v", err)
		}
	})
	if last := info.Batch[len(info.Batch)-1]; int64(len(data)) > last.Offset+last.Bytes {
		resealed := resealed(data, &whole.Info)
		alloctest.AtMost(t, AllocationOf(len(data)), func() { _ = whole.read(t, data, resealed) })
	}

	mixed := bytes.Clone(whole.Data)
	info.Batch = slices.Clone(info.Batch)
	for i := range info.Batch {
		b := &info.Batch[i]
		end := b.Offset + b.Bytes
		body := b.Offset + 8 + int64(binary.LittleEndian.Uint32(whole.Data[b.Offset+4:]))
		if int64(len(data)) > body {
			copy(mixed[body:end], data[body:])
		}
		payload := end - b.PayloadBytes
		b.Columns, b.Payload = checksum(mixed[b.Offset:payload]), checksum(mixed[payload:end])
	}
	f, err := table.Open(writeTemp(t, mixed), &info, whole.Schema, whole.Parse)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(t, f) })
	return f
}

// read reads all of a table; damage is the only error.
func (whole Table[C]) read(t *testing.T, data []byte, info *table.FileInfo) error {
	f, err := table.Open(writeTemp(t, data), info, whole.Schema, whole.Parse)
	if err == nil {
		err = f.Audit()
		Close(t, f)
	}
	if err != nil && !errors.Is(err, table.ErrDamaged) {
		t.Fatalf("not damaged: %v", err)
	}
	return err
}

// resealed is what a manifest would say of data whose batches are where info says.
func resealed(data []byte, info *table.FileInfo) *table.FileInfo {
	r := *info
	r.Bytes, r.Batch = int64(len(data)), slices.Clone(info.Batch)
	sum := sha256.Sum256(data)
	r.SHA256 = hex.EncodeToString(sum[:])
	for i := range r.Batch {
		b := &r.Batch[i]
		payload := b.Offset + b.Bytes - b.PayloadBytes
		b.Columns, b.Payload = checksum(data[b.Offset:payload]), checksum(data[payload:b.Offset+b.Bytes])
	}
	first, last := r.Batch[0], r.Batch[len(r.Batch)-1]
	r.Frame = checksum(data[:first.Offset]).Extend(data[last.Offset+last.Bytes:])
	return &r
}

func checksum(p []byte) table.Checksum { return table.Checksum(0).Extend(p) }

// writeTemp writes a file that lives as long as the test.
func writeTemp(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fuzz.arrow")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
