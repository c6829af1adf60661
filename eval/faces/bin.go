package faces

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/imgcodec"
	"facepipe/internal/verifybin"
	"facepipe/store"
)

// BinCropSize is the side in pixels of the images of a verification set that can be embedded as
// they are.
const BinCropSize = 112

// Bin is the [Set] of a verification set in a .bin file; its faces are aligned already. Images
// with the same pixels are one face, as in a dataset. Keys are the images' numbers in six digits.
// The file names nobody: who is the same by its pairs, and by equal pixels, is one identity, so
// that a person may have several.
type Bin struct {
	file   *verifybin.File
	path   string
	faces  []int   // the first image of each face
	faceOf []int32 // of each image, -1 if it cannot be decoded
	labels []int32 // of faces
	people int
	broken []BrokenImage
}

// BrokenImage is an image that cannot be decoded.
type BrokenImage struct {
	Key string
	Err error
}

// KindBin is the [Description].Kind of a [Bin].
const KindBin = "bin"

// OpenBin opens a .bin file and decodes each of its images once. Images of another size than
// [BinCropSize] are an error, which says what to do; those that cannot be decoded are
// [Bin.Broken], and no faces.
func OpenBin(ctx context.Context, path string) (*Bin, error) {
	file, err := verifybin.Open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("verification set %s: %w", path, err)
	}
	b := &Bin{file: file, path: path}
	if err := b.look(ctx); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("verification set %s: %w", path, err)
	}
	b.identify()
	return b, nil
}

// look decodes all images and finds those that are the same.
func (b *Bin) look(ctx context.Context) error {
	n := b.file.Images()
	sums, errs := make([][sha256.Size]byte, n), make([]error, n)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			rgb := make([]byte, 3*BinCropSize*BinCropSize)
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return ctx.Err()
				}
				if errs[i] = b.decode(i, rgb); errs[i] == nil {
					sums[i] = sha256.Sum256(rgb)
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := b.checkSizes(errs); err != nil {
		return err
	}
	known := map[[sha256.Size]byte]int32{}
	b.faceOf = make([]int32, n)
	for i := range n {
		if errs[i] != nil {
			b.faceOf[i] = -1
			b.broken = append(b.broken, BrokenImage{verifybin.Key(i), errs[i]})
			continue
		}
		face, ok := known[sums[i]]
		if !ok {
			face = int32(len(b.faces))
			known[sums[i]] = face
			b.faces = append(b.faces, i)
		}
		b.faceOf[i] = face
	}
	return nil
}

// sizeError is an image of another size.
type sizeError struct{ w, h int }

// Error gives the size.
func (e sizeError) Error() string { return fmt.Sprintf("is %d x %d pixels", e.w, e.h) }

// checkSizes refuses a set in which images have another size.
func (b *Bin) checkSizes(errs []error) error {
	first, other := -1, 0
	for i, err := range errs {
		if _, ok := err.(sizeError); ok {
			if other++; first < 0 {
				first = i
			}
		}
	}
	if other == 0 {
		return nil
	}
	return fmt.Errorf("image %s %w, want aligned crops of %d x %d (%d of %d images differ): align them with pipe ingest --source bin=FILE --detector scrfd=DETECTOR.onnx --pairs-out pairs.txt --out DATASET, then give --dataset and --pairs",
		verifybin.Key(first), errs[first], BinCropSize, BinCropSize, other, len(errs))
}

// decode decodes an image, by its number.
func (b *Bin) decode(number int, rgb []byte) error {
	data, err := b.file.Read(number, func(size int64, head []byte) error {
		if h, err := imgcodec.Peek(head); err == nil && (h.W != BinCropSize || h.H != BinCropSize) {
			return sizeError{h.W, h.H}
		}
		return checkCropBytes(size)
	})
	if err != nil {
		return err
	}
	h, err := imgcodec.Inspect(data)
	if err != nil {
		return err
	}
	if h.W != BinCropSize || h.H != BinCropSize {
		return sizeError{h.W, h.H}
	}
	return imgcodec.DecodeRGB(h.Format, data, BinCropSize, BinCropSize, rgb)
}

// identify numbers the persons: faces that a chain of same pairs leads to are one.
func (b *Bin) identify() {
	parent := make([]int32, len(b.faces))
	for i := range parent {
		parent[i] = int32(i)
	}
	root := func(i int32) int32 {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	for k, same := range b.file.Same {
		if x, y := b.faceOf[2*k], b.faceOf[2*k+1]; same && x >= 0 && y >= 0 {
			x, y = root(x), root(y)
			parent[max(x, y)] = min(x, y)
		}
	}
	b.labels = make([]int32, len(parent))
	for i := range parent {
		if r := root(int32(i)); int(r) < i {
			b.labels[i] = b.labels[r]
		} else {
			b.labels[i] = int32(b.people)
			b.people++
		}
	}
}

// EachPair visits the pairs in the order of the file, by their images' keys.
func (b *Bin) EachPair(visit func(first, second string, same bool) error) error {
	for k, same := range b.file.Same {
		if err := visit(verifybin.Key(2*k), verifybin.Key(2*k+1), same); err != nil {
			return err
		}
	}
	return nil
}

// Broken are the images that cannot be decoded, in the order of the file.
func (b *Bin) Broken() []BrokenImage { return b.broken }

// Images is the number of images in the file.
func (b *Bin) Images() int { return len(b.faceOf) }

// Number is the number of a face's first image in the file, from 0.
func (b *Bin) Number(place int) int { return b.faces[place] }

// Len is the number of different images.
func (b *Bin) Len() int { return len(b.faces) }

// Find is the face of an image.
func (b *Bin) Find(key string) (place int, ok bool, err error) {
	number := -1
	if _, err := fmt.Sscanf(key, "%d", &number); err != nil || number < 0 || number >= len(b.faceOf) || verifybin.Key(number) != key {
		return 0, false, nil
	}
	return int(b.faceOf[number]), b.faceOf[number] >= 0, nil
}

// EachKey visits the keys of all images that can be decoded.
func (b *Bin) EachKey(ctx context.Context, visit func(key string) error) error {
	for i, face := range b.faceOf {
		if face < 0 {
			continue
		}
		if err := visit(verifybin.Key(i)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Head gives the key of the face's first image, and its label.
func (b *Bin) Head(place int) (store.Crop, error) {
	return store.Crop{Key: verifybin.Key(b.faces[place]), Label: b.labels[place]}, nil
}

// Labels number the persons, as far as pairs tell.
func (b *Bin) Labels(context.Context) ([]int32, error) { return b.labels, nil }

// Identities is the number of persons, as far as pairs tell.
func (b *Bin) Identities() int { return b.people }

// CropSize is [BinCropSize].
func (b *Bin) CropSize() int { return BinCropSize }

// Decode decodes a face.
func (b *Bin) Decode(place int, rgb []byte) error {
	if err := b.decode(b.faces[place], rgb); err != nil {
		return fmt.Errorf("decode image %s of %s: %w", verifybin.Key(b.faces[place]), b.path, err)
	}
	return nil
}

// Describe names the file.
func (b *Bin) Describe() Description {
	return Description{
		Path: b.path, Digest: b.file.Digest, Kind: KindBin, Rows: len(b.faces),
		Contract: store.Contract{CropSize: BinCropSize, Template: "as in the file", Warp: "none", Decoder: imgcodec.DecoderName()},
		Sources:  []store.SourceInfo{{Kind: KindBin, Path: b.path, Digest: b.file.Digest, Detector: "none"}},
	}
}

// Close closes the file.
func (b *Bin) Close() error { return b.file.Close() }
