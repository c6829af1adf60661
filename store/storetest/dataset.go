package storetest

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// Contract keeps crops tiny: 8 x 8 pixels.
var Contract = store.Contract{CropSize: 8, Template: "five-point-test", Warp: "none", Decoder: "test decoder"}

// Quiet is a logger that nobody reads.
var Quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// Crop is the i-th crop, of a source: pixels from a generator seeded with i, alternately PNG
// and raw, every third with landmarks and all measures, every third after it with one,
// five crops an identity, every seventh without, three of four in a split, every fifth
// with attributes.
func Crop(source, i int) store.Crop {
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	img := imgcodec.NewImage(Contract.CropSize, Contract.CropSize)
	for p := range img.Pix {
		img.Pix[p] = byte(rng.Uint32())
	}
	c := store.Crop{
		ID:       store.CropID(Contract, img.Pix),
		Source:   source,
		Key:      fmt.Sprintf("person_%02d/%04d.png", i/5, i),
		Identity: fmt.Sprintf("person_%02d", i/5),
		Encoding: imgcodec.Raw,
		Image:    img.Pix,
		Score:    float32(i) / 8,
	}
	if i%2 == 0 {
		c.Encoding, c.Image = imgcodec.PNG, imgcodec.EncodePNG(img)
	}
	if i%7 == 6 {
		c.Identity = ""
	}
	if i%3 == 0 {
		c.HasLandmarks = true
		for p := range c.Landmarks {
			c.Landmarks[p] = float32(i) + float32(p)/16
		}
	}
	if i%4 != 0 {
		c.Split = []string{"train", "val"}[i%4/3]
	}
	if i%5 == 1 {
		c.Attributes = fmt.Sprintf(`{"place":"Zürich & <more>","number":"%d"}`, i)
	}
	if i%3 < 2 {
		nan := float32(math.NaN())
		c.HasQuality = true
		c.Quality = store.Quality{FaceSize: nan, Sharpness: float32(i) * 1.5, Yaw: nan, Pitch: nan, Roll: nan}
	}
	if i%3 == 0 {
		c.Quality = store.Quality{FaceSize: 100 + float32(i), Sharpness: float32(i) / 4, Yaw: float32(-i), Pitch: 0.5, Roll: float32(i)}
	}
	return c
}

// Source is where the crops of [Build] are from.
var Source = store.SourceInfo{Kind: "folder", Path: "photos", Detector: "none"}

// Ingest appends crops lo..hi-1 of source s as an ingest would: skipping what was seen
// and mixing in rejects and duplicates. It returns the outcomes by their number.
func Ingest(t testing.TB, w *store.Writer, s store.SourceInfo, lo, hi int) map[store.Outcome]int {
	t.Helper()
	src := w.AddSource(s)
	n := map[store.Outcome]int{}
	for i := lo; i < hi; i++ {
		if i%11 == 5 {
			r := store.Reject{Source: src, Key: fmt.Sprintf("broken/%04d.jpg", i), Stage: "decode", Reason: "truncated <file> & more"}
			if err := w.Reject(r); err != nil {
				t.Fatal(err)
			}
		}
		c := Crop(src, i)
		if w.Seen(src, c.Key) {
			continue
		}
		o, err := w.Append(c)
		if err != nil {
			t.Fatal(err)
		}
		n[o]++
		if i%13 == 7 {
			twin := Crop(src, i-1)
			twin.Key = fmt.Sprintf("twins/%04d.png", i)
			if !w.Seen(src, twin.Key) {
				o, err := w.Append(twin)
				if err != nil {
					t.Fatal(err)
				}
				n[o]++
			}
		}
	}
	return n
}

// Build makes a dataset of the crops 0..n-1 in shards of shardRows, and returns its folder.
func Build(t testing.TB, n, shardRows int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	w := Writer(t, dir, shardRows)
	Ingest(t, w, Source, 0, n)
	Close(t, w)
	return dir
}

// Raw is a crop that is stored as its pixels, CropSize*CropSize*3 bytes of RGB.
func Raw(c store.Contract, pixels []byte, key, identity string) store.Crop {
	return store.Crop{ID: store.CropID(c, pixels), Key: key, Identity: identity, Encoding: imgcodec.Raw, Image: pixels}
}

// Write appends crops of one source to the dataset in dir, in shards of shardRows, and makes it
// if it is new. It returns how many of them were stored.
func Write(t testing.TB, dir string, c store.Contract, shardRows int, from store.SourceInfo, crops []store.Crop) (stored int) {
	t.Helper()
	w, err := store.OpenWriter(dir, c, store.WriterOptions{ShardRows: shardRows, Logger: Quiet})
	if err != nil {
		t.Fatal(err)
	}
	source := w.AddSource(from)
	for _, crop := range crops {
		crop.Source = source
		outcome, err := w.Append(crop)
		if err != nil {
			t.Fatalf("%s: %v", crop.Key, err)
		}
		if outcome == store.Stored {
			stored++
		}
	}
	Close(t, w)
	return stored
}

// Writer opens a dataset to write to it; it is given up at the end of the test.
func Writer(t testing.TB, dir string, shardRows int) *store.Writer {
	t.Helper()
	w, err := store.OpenWriter(dir, Contract, store.WriterOptions{ShardRows: shardRows, Logger: Quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Abort() })
	return w
}

// Open opens a dataset, which is closed at the end of the test.
func Open(t testing.TB, dir string) *store.Dataset {
	t.Helper()
	return OpenOn(t, dir, durable.Disk{FS: durable.OS{}})
}

// OpenOn is Open of a dataset of which what is derived, caches included, is written to a disk.
func OpenOn(t testing.TB, dir string, disk durable.Disk) *store.Dataset {
	t.Helper()
	d, err := store.Open(dir, store.WithLogger(Quiet), store.WithDisk(disk))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(t, d) })
	return d
}

// Close closes c.
func Close(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// Abort gives up what w was to write.
func Abort(t testing.TB, w interface{ Abort() error }) {
	t.Helper()
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}
