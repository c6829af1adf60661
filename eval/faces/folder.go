package faces

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
	"facepipe/store"
)

// KindFolder is the [Description].Kind of a [Folder].
const KindFolder = "folder"

// Folder is the [Set] of a folder of aligned crops, of one size, square. Keys are paths below it,
// in the order of text; the identity is the folder that a crop lies in, none at the top.
type Folder struct {
	dir    string
	keys   []string
	labels []int32
	names  []string // of identities
	size   int
	digest string
}

// OpenFolder looks at the headers of all images below dir. Other files are passed over. An image
// of another size than the first, or one that is not square, is an error that says what to do.
func OpenFolder(ctx context.Context, dir string) (*Folder, error) {
	f := &Folder{dir: dir}
	sum := sha256.New()
	err := fs.WalkDir(os.DirFS(dir), ".", func(key string, entry fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return firstOf(err, ctx.Err())
		}
		if entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return nil
		}
		path := filepath.Join(dir, filepath.FromSlash(key))
		data, err := imgcodec.ReadFile(path, admitCrop)
		if errors.Is(err, imgcodec.ErrNotImage) || errors.Is(err, regular.ErrIrregular) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := f.add(key, data); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Fprintf(sum, "%s\x00%d\x00", key, len(data))
		sum.Write(data)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("crops of folder %s: %w", dir, err)
	}
	if len(f.keys) == 0 {
		return nil, fmt.Errorf("crops of folder %s: no image in it", dir)
	}
	f.digest = hex.EncodeToString(sum.Sum(nil))
	f.identify()
	return f, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// add looks at an image's header.
func (f *Folder) add(key string, data []byte) error {
	h, err := imgcodec.Inspect(data)
	if err != nil {
		return err
	}
	if f.size == 0 {
		if f.size = h.W; f.size > maxCropSize {
			return fmt.Errorf("is %d x %d pixels, and aligned crops have at most %[3]d x %[3]d: detect and align photographs with --detector, or with pipe ingest", h.W, h.H, maxCropSize)
		}
	}
	if h.W != f.size || h.H != f.size {
		return fmt.Errorf("is %d x %d pixels, and aligned crops are square and of one size (the first has %d): detect and align photographs with --detector, or with pipe ingest", h.W, h.H, f.size)
	}
	f.keys = append(f.keys, key)
	return nil
}

// Bounds of an aligned crop: its side in pixels, and its file in bytes.
const (
	maxCropSize  = 1024
	maxCropBytes = 32 << 20
)

// admitCrop refuses what is no image, or too large for an aligned crop, before it is read into
// memory.
func admitCrop(size int64, head []byte) error {
	if imgcodec.Sniff(head) == imgcodec.Unknown {
		return imgcodec.ErrNotImage
	}
	return checkCropBytes(size)
}

func checkCropBytes(size int64) error {
	if size > maxCropBytes {
		return fmt.Errorf("has %d bytes, more than the limit of %d for an aligned crop", size, maxCropBytes)
	}
	return nil
}

// identify numbers the folders.
func (f *Folder) identify() {
	f.labels = make([]int32, len(f.keys))
	known := map[string]int32{}
	for i, key := range f.keys {
		folder := f.identity(key)
		if folder == "" {
			f.labels[i] = store.NoLabel
			continue
		}
		label, met := known[folder]
		if !met {
			label = int32(len(f.names))
			known[folder] = label
			f.names = append(f.names, folder)
		}
		f.labels[i] = label
	}
}

func (f *Folder) identity(key string) string {
	at := strings.LastIndexByte(key, '/')
	return key[:max(at, 0)]
}

// Len is the number of crops.
func (f *Folder) Len() int { return len(f.keys) }

// Find is the place of a path below the folder.
func (f *Folder) Find(key string) (place int, ok bool, err error) {
	// Folders are walked in the order of text, but one element of the path at a time.
	place = sort.Search(len(f.keys), func(i int) bool { return walkOrder(f.keys[i]) >= walkOrder(key) })
	return place, place < len(f.keys) && f.keys[place] == key, nil
}

// walkOrder is a path so that text is ordered as walking orders it.
func walkOrder(key string) string { return strings.ReplaceAll(key, "/", "\x00") }

// EachKey visits all keys.
func (f *Folder) EachKey(ctx context.Context, visit func(key string) error) error {
	for _, key := range f.keys {
		if err := visit(key); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Head gives key, identity and label.
func (f *Folder) Head(place int) (store.Crop, error) {
	return store.Crop{Key: f.keys[place], Identity: f.identity(f.keys[place]), Label: f.labels[place]}, nil
}

// Labels are those of the folders.
func (f *Folder) Labels(context.Context) ([]int32, error) { return f.labels, nil }

// Identities is the number of folders with crops.
func (f *Folder) Identities() int { return len(f.names) }

// CropSize is that of all crops.
func (f *Folder) CropSize() int { return f.size }

// Decode reads and decodes a crop.
func (f *Folder) Decode(place int, rgb []byte) error {
	path := filepath.Join(f.dir, filepath.FromSlash(f.keys[place]))
	data, err := imgcodec.ReadFile(path, admitCrop)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := imgcodec.DecodeRGB(imgcodec.Sniff(data), data, f.size, f.size, rgb); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}

// Describe names the folder; its digest is of all paths and images.
func (f *Folder) Describe() Description {
	return Description{
		Path: f.dir, Digest: f.digest, Kind: KindFolder, Rows: len(f.keys),
		Contract: store.Contract{CropSize: f.size, Template: "as in the folder", Warp: "none", Decoder: imgcodec.DecoderName()},
		Sources:  []store.SourceInfo{{Kind: KindFolder, Path: f.dir, Detector: "none"}},
	}
}

// Close does nothing.
func (f *Folder) Close() error { return nil }
