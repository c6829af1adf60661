package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"facepipe/internal/pickle"
)

// verificationBin is a .bin file like insightface's verification sets. It is the pickle of 2n
// encoded images and of n flags: whether images 2k and 2k+1 are of one person. Images are byte
// strings, byte arrays or numpy arrays of bytes. Flags are booleans, 0 or 1, Python's or numpy's,
// or a numpy array of them.
//
// An image's key is its number in six digits. There are no identities. The images stay in the
// file until they are read.
type verificationBin struct {
	file   *os.File
	digest string
	images []pickle.Value
	same   []bool
}

var binKind = kind{
	name:     "bin",
	argument: "FILE",
	about: `a verification pickle of images and pair flags, such as lfw.bin;
keys are the images' numbers, 000000 onwards; no identities`,
	open:         openBin,
	numberedKeys: true,
}

func openBin(ctx context.Context, path string) (Source, error) {
	file, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	b := &verificationBin{file: file}
	if other := notPickle(file); other != "" {
		return nil, errors.Join(errors.New("is "+other), file.Close())
	}
	if err := b.load(ctx, info.Size()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return b, nil
}

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

func (b *verificationBin) load(ctx context.Context, size int64) error {
	content, err := pickle.Load(b.file, size)
	if errors.Is(err, pickle.ErrRefused) {
		return fmt.Errorf("%w; %s", err, saveAgain)
	}
	if err != nil {
		return reason(err)
	}
	parts, ok := sequence(content)
	if !ok || len(parts) != 2 {
		return fmt.Errorf("holds %s, want a tuple of images and flags", pickle.Describe(content))
	}
	if b.images, ok = sequence(parts[0]); !ok {
		return fmt.Errorf("images are %s, want a list", pickle.Describe(parts[0]))
	}
	if b.same, err = b.flags(parts[1]); err != nil {
		return err
	}
	if len(b.images) != 2*len(b.same) {
		return fmt.Errorf("%d images and %d flags: want two images a flag", len(b.images), len(b.same))
	}
	if len(b.images) == 0 {
		return errors.New("no image in it")
	}
	b.digest, err = digestFile(ctx, b.file)
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
func (b *verificationBin) flags(v pickle.Value) ([]bool, error) {
	if a, ok := v.(*pickle.Array); ok && a.Flat() {
		return b.flagArray(a)
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

func (b *verificationBin) flagArray(a *pickle.Array) ([]bool, error) {
	if limit := int64(pickle.MaxCells); a.Data.Length > limit {
		return nil, fmt.Errorf("flags take %d bytes, more than the limit of %d", a.Data.Length, limit)
	}
	elements, err := a.Integers(b.file)
	if err != nil {
		return nil, reason(err)
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

func (b *verificationBin) Digest() string { return b.digest }
func (b *verificationBin) Close() error   { return b.file.Close() }

// binKey is the key of an image.
func binKey(number int) string { return fmt.Sprintf("%06d", number) }

func (b *verificationBin) Walk(ctx context.Context, visit func(Item) error) error {
	for i, image := range b.images {
		if err := ctx.Err(); err != nil {
			return err
		}
		item := Item{Key: binKey(i), Read: func() ([]byte, error) { return b.read(image) }}
		if err := visit(item); err != nil {
			return err
		}
	}
	return nil
}

// read is the encoded image that a value holds.
func (b *verificationBin) read(image pickle.Value) ([]byte, error) {
	var data []byte
	var err error
	switch v := image.(type) {
	case pickle.Bytes:
		if err = checkSize(v.Length); err == nil {
			data, err = v.Read(b.file)
		}
	case *pickle.Array:
		if v.Type != pickle.Uint8 || !v.Flat() {
			return nil, fmt.Errorf("is %s, want the bytes of a file", pickle.Describe(v))
		}
		if err = checkSize(v.Data.Length); err == nil {
			data, err = v.Read(b.file)
		}
	default:
		return nil, fmt.Errorf("is %s, want bytes", pickle.Describe(image))
	}
	return data, reason(err)
}

// Pairs lists the pairs in the order of the file.
func (b *verificationBin) Pairs(ctx context.Context, visit func(a, b string, same bool) error) error {
	for k, same := range b.same {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(binKey(2*k), binKey(2*k+1), same); err != nil {
			return err
		}
	}
	return nil
}
