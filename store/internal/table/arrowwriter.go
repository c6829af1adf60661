package table

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"facepipe/internal/durable"
)

// Writer writes one shard's Arrow file: WriteBatch for every batch, Seal, Commit.
type Writer[C any] struct {
	Path   string
	Schema *arrow.Schema
	parse  ParseColumns[C]
	Out    *durable.Writer // the file, under its temporary name until Commit
	ipc    *ipc.FileWriter
	sum    Checksum // of all bytes sent to Out
	// batches as far as they are known while writing: where each ends, its rows and
	// payload.
	batches []batchInfo
}

// Create begins the file that will stand at path. parse is how a reader
// will look at it.
func Create[C any](disk durable.Disk, path string, schema *arrow.Schema, parse ParseColumns[C]) (*Writer[C], error) {
	out, err := disk.Create(path)
	if err != nil {
		return nil, err
	}
	w := &Writer[C]{Path: path, Schema: schema, parse: parse, Out: out}
	// No compression: images and embeddings do not compress, and a compressed
	// buffer cannot be used in place.
	w.ipc, err = ipc.NewFileWriter(w, ipc.WithSchema(schema))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), out.Abort())
	}
	return w, nil
}

// Write passes bytes from Arrow on to the file.
func (w *Writer[C]) Write(p []byte) (int, error) {
	n, err := w.Out.Write(p)
	w.sum = w.sum.Extend(p[:n])
	return n, err
}

// WriteBatch appends a batch whose last column holds payload bytes of values that get a
// checksum of their own; 0 for none.
func (w *Writer[C]) WriteBatch(rec arrow.RecordBatch, payload int64) error {
	if err := w.ipc.Write(rec); err != nil {
		return fmt.Errorf("write %s: %w", w.Path, err)
	}
	w.batches = append(w.batches, batchInfo{
		Offset:       w.Out.Size(), // the end, until Seal
		Rows:         int(rec.NumRows()),
		PayloadBytes: bitutil.CeilByte64(payload),
	})
	return nil
}

// Seal completes the file under its temporary name and reads all of it back as a
// reader will, so that nothing is ever committed that cannot be read.
func (w *Writer[C]) Seal() (*FileInfo, error) {
	if err := w.ipc.Close(); err != nil {
		return nil, fmt.Errorf("write %s: %w", w.Path, err)
	}
	if err := w.Out.Seal(); err != nil {
		return nil, err
	}
	info, err := w.describe()
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", w.Path, err)
	}
	f, err := Open(w.Out.TempName(), info, w.Schema, w.parse)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", w.Path, err)
	}
	if err := errors.Join(f.verifyAll(), f.Close()); err != nil {
		return nil, fmt.Errorf("verify %s: %w", w.Path, err)
	}
	return info, nil
}

// describe reads the sealed file back, compares it with what was sent, and computes
// its parts' checksums.
func (w *Writer[C]) describe() (*FileInfo, error) {
	data, err := mapFile(w.Out.TempName(), w.Out.Size())
	if err != nil {
		return nil, err
	}
	sum := w.Out.Sum()
	info := &FileInfo{Bytes: w.Out.Size(), SHA256: hex.EncodeToString(sum[:])}
	err = w.sum.verify(data)
	if err == nil {
		err = w.layOut(info, data)
	}
	return info, errors.Join(err, unmapFile(w.Path, data))
}

// layOut fills in the batches and checksums of info.
func (w *Writer[C]) layOut(info *FileInfo, data []byte) error {
	at, err := firstBatchOffset(data)
	if err != nil {
		return err
	}
	rows := 0
	for _, b := range w.batches {
		b.Offset, b.Bytes = at, b.Offset-at
		at += b.Bytes
		rows += b.Rows
		info.Batch = append(info.Batch, b)
	}
	if err := info.Validate(rows); err != nil {
		return err
	}
	head, tail := info.frame(data)
	info.Frame = checksumOf(head, tail)
	for i := range info.Batch {
		b := &info.Batch[i]
		b.Columns = checksumOf(b.columns(data))
		b.Payload = checksumOf(b.payload(data))
	}
	return nil
}

// firstBatchOffset is where the schema message ends. An IPC file begins with
// "ARROW1" and two bytes of padding; the message is 0xFFFFFFFF, the length of its
// metadata (4 bytes, little-endian, padding included), and the metadata.
func firstBatchOffset(data []byte) (int64, error) {
	const magic, prefix = 8, 8
	if len(data) < magic+prefix || binary.LittleEndian.Uint32(data[magic:]) != 0xffffffff {
		return 0, errors.New("does not begin with a schema message")
	}
	return magic + prefix + int64(binary.LittleEndian.Uint32(data[magic+4:])), nil
}

// Commit gives the sealed file its name.
func (w *Writer[C]) Commit() error { return w.Out.Commit() }

// CommitIfAbsent gives it another name in its folder; [os.ErrExist] if that is taken.
func (w *Writer[C]) CommitIfAbsent(path string) error { return w.Out.CommitIfAbsent(path) }

// Abort removes the file; after commit it does nothing.
func (w *Writer[C]) Abort() error { return w.Out.Abort() }
