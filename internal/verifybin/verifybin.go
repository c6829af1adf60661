// Package verifybin reads the .bin files of face verification sets, as insightface writes them:
// the pickle of 2n encoded images and of n flags, whether images 2k and 2k+1 are of one person.
// Images are byte strings, byte arrays or numpy arrays of bytes; flags are booleans, 0 or 1,
// Python's or numpy's, or a numpy array of them. The images stay in the file until they are read.
package verifybin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"facepipe/internal/filedigest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/pickle"
	"facepipe/internal/regular"
)

// File is an open set. It is safe for concurrent use, except of Close.
type File struct {
	// Digest is the SHA-256 of the file, 64 hexadecimal digits.
	Digest string
	// Same says of each pair whether it shows one person.
	Same []bool

	file   *os.File
	images []pickle.Value
}

// Open reads the structure of the file at path. Errors do not name the file.
func Open(ctx context.Context, path string) (*File, error) {
	file, info, err := regular.OpenInput(path)
	if err != nil {
		return nil, err
	}
	f := &File{file: file}
	if other := notPickle(file); other != "" {
		return nil, errors.Join(errors.New("is "+other), file.Close())
	}
	if info.Size() == 0 {
		return nil, errors.Join(errors.New("malformed pickle: the file is empty"), file.Close())
	}
	if err := f.load(ctx, info.Size()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

// Images is the number of images.
func (f *File) Images() int { return len(f.images) }

// Key is the key of an image: its number in six digits.
func Key(number int) string { return fmt.Sprintf("%06d", number) }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// notPickle says what a file is that other programs call .bin or keep a set in, and what to do;
// "" if it is none of those.
func notPickle(file io.ReaderAt) string {
	head := make([]byte, 4)
	n, _ := file.ReadAt(head, 0)
	switch string(head[:n]) {
	case "PK\x03\x04":
		return "a zip archive, such as PyTorch's models or .npz: want a pickle of images and flags"
	case "\x1f\x8b\x08\x00", "\x1f\x8b\x08\x08":
		return "compressed with gzip: decompress it first, with gunzip"
	case "\x0a\x23\xd7\xce":
		return "a RecordIO file: give it as recordio=FILE"
	}
	return ""
}

func (f *File) load(ctx context.Context, size int64) error {
	content, err := pickle.Load(f.file, size)
	if errors.Is(err, pickle.ErrRefused) {
		return fmt.Errorf("%w; %s", err, saveAgain)
	}
	if err != nil {
		return regular.Reason(err)
	}
	parts, ok := sequence(content)
	if !ok || len(parts) != 2 {
		return fmt.Errorf("holds %s, want a tuple of images and flags", pickle.Describe(content))
	}
	if f.images, ok = sequence(parts[0]); !ok {
		return fmt.Errorf("images are %s, want a list", pickle.Describe(parts[0]))
	}
	if f.Same, err = f.flags(parts[1]); err != nil {
		return err
	}
	if len(f.images) != 2*len(f.Same) {
		return fmt.Errorf("%d images and %d flags: want two images a flag", len(f.images), len(f.Same))
	}
	if len(f.images) == 0 {
		return errors.New("no image in it")
	}
	f.Digest, err = filedigest.OfFile(ctx, f.file)
	return err
}

// saveAgain is the remedy for a pickle with values that are not understood.
const saveAgain = `if you trust the file, write it again with plain values: python3 -c "import pickle; ` +
	`b, s = pickle.load(open('OLD.bin', 'rb'), encoding='bytes'); ` +
	`pickle.dump(([bytes(x) for x in b], [bool(x) for x in s]), open('NEW.bin', 'wb'))"`

// sequence is what a list or a tuple holds.
func sequence(v pickle.Value) ([]pickle.Value, bool) {
	switch v := v.(type) {
	case pickle.Tuple:
		return v, true
	case *pickle.List:
		return v.Items, true
	}
	return nil, false
}

// flags reads the flags from a list or an array.
func (f *File) flags(v pickle.Value) ([]bool, error) {
	if a, ok := v.(*pickle.Array); ok && a.Flat() {
		return f.flagArray(a)
	}
	items, ok := sequence(v)
	if !ok {
		return nil, fmt.Errorf("flags are %s, want a list", pickle.Describe(v))
	}
	same := make([]bool, len(items))
	for i, item := range items {
		switch item {
		case true, int64(1):
			same[i] = true
		case false, int64(0):
		default:
			return nil, fmt.Errorf("flag %d is %s, want a boolean, 0 or 1", i, pickle.Describe(item))
		}
	}
	return same, nil
}

func (f *File) flagArray(a *pickle.Array) ([]bool, error) {
	if limit := int64(pickle.MaxCells); a.Data.Length > limit {
		return nil, fmt.Errorf("flags take %d bytes, more than the limit of %d", a.Data.Length, limit)
	}
	elements, err := a.Integers(f.file)
	if err != nil {
		return nil, regular.Reason(err)
	}
	same := make([]bool, len(elements))
	for i, e := range elements {
		if e != 0 && e != 1 {
			return nil, fmt.Errorf("flag %d is %d, want 0 or 1", i, e)
		}
		same[i] = e == 1
	}
	return same, nil
}

// Read is encoded image number 0 .. Images()-1, if admit agrees. The error does not say which it is.
func (f *File) Read(number int, admit imgcodec.Admit) ([]byte, error) {
	image := f.images[number]
	var data []byte
	var err error
	switch v := image.(type) {
	case pickle.Bytes:
		if err = f.ask(v, admit); err == nil {
			data, err = v.Read(f.file)
		}
	case *pickle.Array:
		if v.Type != pickle.Uint8 || !v.Flat() {
			return nil, fmt.Errorf("is %s, want the bytes of a file", pickle.Describe(v))
		}
		if err = f.ask(v.Data, admit); err == nil {
			data, err = v.Read(f.file)
		}
	default:
		return nil, fmt.Errorf("is %s, want bytes", pickle.Describe(image))
	}
	return data, regular.Reason(err)
}

// ask asks whether a byte string may be read. One that is written as text is in memory twice for a
// moment, and only the whole tells how it begins.
func (f *File) ask(v pickle.Bytes, admit imgcodec.Admit) error {
	if !v.Contiguous() {
		return admit.Ask(2*v.Length, nil)
	}
	head := make([]byte, min(v.Length, imgcodec.HeadBytes))
	n, _ := f.file.ReadAt(head, v.Offset) // what is missing is noticed where all is read
	return admit.Ask(v.Length, head[:n])
}
