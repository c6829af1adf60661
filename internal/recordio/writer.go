package recordio

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"facepipe/internal/durable"
)

// Names of the files in insightface's folders.
const (
	RecordName   = "train.rec"
	IndexName    = "train.idx"
	ListName     = "train.lst"
	PropertyName = "property"
)

// WriterOptions say what a [Writer] will be given.
type WriterOptions struct {
	// Images and Identities are how many there will be, both at least 1.
	Images, Identities int64
	// Height and Width of every image in pixels, for the property file.
	Height, Width int
	// Plain leaves out the records without an image and counts keys from 0, as im2rec
	// does. Otherwise that is done only if float32 cannot hold the keys, see [Writer].
	Plain bool
	// List also writes train.lst, in im2rec's dialect.
	List bool
}

// Writer writes a folder that insightface trains from: train.rec, train.idx and
// property.
//
// Images have the keys 1, 2 and so on, as they come; those of one identity must come
// together, since identities are written as ranges of keys: records without an image,
// behind the images, with the labels (first, last + 1). Before them lies record 0 with
// the labels (first identity's key, last one's + 1). So everything is written in one
// pass; record 0 stands in the middle of the file and is found by the index, which is
// how insightface's own face2rec2 leaves it.
//
// Labels are float32, exact up to 2^24. If there are more images and identities than
// that, ranges of keys cannot be told: then records without an image are left out, and
// keys count from 0, which insightface reads as well. More identities than that are
// refused.
//
// In memory are 4 bytes an identity, and one image. The files appear together when
// [Writer.Close] is called. The same calls write the same bytes. A Writer is used by one
// goroutine.
type Writer struct {
	options WriterOptions
	plain   bool
	rec     outFile
	idx     outFile
	lst     outFile // unused without a list
	dir     string
	frames  frameWriter
	record  []byte
	counts  []uint32 // images of each identity
	images  int64
	err     error
	done    bool
}

// outFile is a durable file behind a buffer.
type outFile struct {
	file   *durable.Writer
	buffer *bufio.Writer
}

func createFile(path string) (outFile, error) {
	file, err := durable.Create(path)
	if err != nil {
		return outFile{}, err
	}
	return outFile{file, bufio.NewWriterSize(file, 1<<20)}, nil
}

func (f outFile) commit() error {
	if f.file == nil {
		return nil
	}
	if err := f.buffer.Flush(); err != nil {
		return errors.Join(err, f.file.Abort())
	}
	return f.file.Commit()
}

func (f outFile) abort() error {
	if f.file == nil {
		return nil
	}
	return f.file.Abort()
}

// errWriterDone is the error of calls after Close or Abort.
var errWriterDone = errors.New("write records: the writer was closed")

// NewWriter begins the files in dir, which must exist. The writer must be closed or
// aborted.
func NewWriter(dir string, o WriterOptions) (*Writer, error) {
	switch {
	case o.Images < 1 || o.Identities < 1 || o.Identities > o.Images:
		return nil, fmt.Errorf("write records: %d images of %d identities", o.Images, o.Identities)
	case o.Height < 1 || o.Width < 1:
		return nil, fmt.Errorf("write records: images of %dx%d pixels", o.Width, o.Height)
	case o.Identities > MaxExact:
		return nil, fmt.Errorf("write records: %d identities, more than the %d that a float32 label can tell apart", o.Identities, int64(MaxExact))
	}
	// The last identity's range ends at Images+1, record 0's at Images+Identities+1.
	w := &Writer{options: o, dir: dir, plain: o.Plain || o.Images > MaxExact-1-o.Identities}
	if err := w.create(); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	w.frames.w = w.rec.buffer
	return w, nil
}

func (w *Writer) create() (err error) {
	if w.rec, err = createFile(filepath.Join(w.dir, RecordName)); err != nil {
		return err
	}
	if w.idx, err = createFile(filepath.Join(w.dir, IndexName)); err != nil {
		return err
	}
	if w.options.List {
		w.lst, err = createFile(filepath.Join(w.dir, ListName))
	}
	return err
}

// Begin begins the next identity, to which the images that follow belong, and returns
// its label: 0 for the first.
func (w *Writer) Begin() (label int64, err error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	if n := len(w.counts); n > 0 && w.counts[n-1] == 0 {
		return 0, fmt.Errorf("write records: identity %d has no image", n-1)
	}
	if int64(len(w.counts)) == w.options.Identities {
		return 0, fmt.Errorf("write records: more than %d identities", w.options.Identities)
	}
	w.counts = append(w.counts, 0)
	return int64(len(w.counts)) - 1, nil
}

// Add appends an image, encoded, to the current identity and returns its key. path names
// it in train.lst; control characters and backslashes, which would break its lines, are
// written \xNN there. A mistake of the caller changes nothing; after a failure to write,
// every call returns it.
func (w *Writer) Add(image []byte, path string) (key int64, err error) {
	err = w.usable()
	switch {
	case err != nil:
		return 0, err
	case len(w.counts) == 0:
		return 0, errors.New("write records: an image before any identity")
	case len(image) == 0:
		return 0, errors.New("write records: an image without bytes")
	case w.images == w.options.Images:
		return 0, fmt.Errorf("write records: more than %d images", w.options.Images)
	case w.counts[len(w.counts)-1] == math.MaxUint32:
		return 0, fmt.Errorf("write records: more than %d images of one identity", uint32(math.MaxUint32))
	case len(image) > maxRecord-HeaderSize:
		return 0, fmt.Errorf("write records: an image of %d bytes, more than %d", len(image), maxRecord-HeaderSize)
	}
	label := len(w.counts) - 1
	key = w.images
	if !w.plain {
		key++
	}
	if err := w.put(Header{Scalar: float32(label), ID: uint64(key)}, image); err != nil {
		return 0, err
	}
	if w.options.List {
		if _, err := fmt.Fprintf(w.lst.buffer, "%d\t%d\t%s\n", key, label, escapePath(path)); err != nil {
			return 0, w.fail(err)
		}
	}
	w.images++
	w.counts[label]++
	return key, nil
}

func (w *Writer) usable() error {
	if w.err == nil && w.done {
		return errWriterDone
	}
	return w.err
}

func (w *Writer) fail(err error) error {
	w.err = fmt.Errorf("write records: %w", err)
	return w.err
}

// put writes a record, whose id is its key, and its line in the index.
func (w *Writer) put(h Header, image []byte) error {
	w.record = append(h.appendTo(w.record[:0]), image...)
	offset, err := w.frames.write(w.record)
	if err == nil {
		line := strconv.AppendUint(w.idx.buffer.AvailableBuffer(), h.ID, 10)
		line = strconv.AppendInt(append(line, '\t'), offset, 10)
		_, err = w.idx.buffer.Write(append(line, '\n'))
	}
	if err != nil {
		return w.fail(err)
	}
	return nil
}

// Close writes what follows the images and makes the files durable: train.rec first,
// then what refers to it. It fails, and leaves no file, if there were fewer images or
// identities than announced.
func (w *Writer) Close() error {
	err := w.usable()
	if err == nil {
		err = w.finish()
	}
	if err == errWriterDone {
		return err
	}
	return errors.Join(err, w.Abort())
}

func (w *Writer) finish() error {
	if n := int64(len(w.counts)); w.images != w.options.Images || n != w.options.Identities || w.counts[n-1] == 0 {
		return fmt.Errorf("write records: %d images of %d identities, not %d of %d as announced",
			w.images, n, w.options.Images, w.options.Identities)
	}
	if !w.plain {
		if err := w.putRanges(); err != nil {
			return err
		}
	}
	for _, f := range []outFile{w.rec, w.idx, w.lst} {
		if err := f.commit(); err != nil {
			return w.fail(err)
		}
	}
	p := Property{Classes: w.options.Identities, Height: w.options.Height, Width: w.options.Width}
	if err := durable.WriteFile(filepath.Join(w.dir, PropertyName), []byte(p.String()), 0o444); err != nil {
		return w.fail(err)
	}
	return nil
}

// putRanges writes record 0 and the identities.
func (w *Writer) putRanges() error {
	next := w.images + 1
	end := next + int64(len(w.counts))
	if err := w.putRange(0, next, end); err != nil {
		return err
	}
	from := int64(1)
	for i, n := range w.counts {
		if err := w.putRange(uint64(next)+uint64(i), from, from+int64(n)); err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

func (w *Writer) putRange(key uint64, from, to int64) error {
	return w.put(Header{ID: key, Labels: []float32{float32(from), float32(to)}}, nil)
}

// Abort removes what is not durable yet. After Close it does nothing.
func (w *Writer) Abort() error {
	w.done = true
	return errors.Join(w.rec.abort(), w.idx.abort(), w.lst.abort())
}

// escapePath makes a path one field of a line.
func escapePath(path string) string {
	if !strings.ContainsFunc(path, breaksLine) {
		return path
	}
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; c < utf8Start && breaksLine(rune(c)) {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// utf8Start is the first byte that is no ASCII character.
const utf8Start = 0x80

func breaksLine(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }
