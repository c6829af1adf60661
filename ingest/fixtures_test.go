package ingest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/image/bmp"

	"facepipe/ingest"
	"facepipe/ingest/detect/detecttest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
	"facepipe/store"
)

// photo is a grey picture with some texture, a different one for each seed, and one
// face for the made-up detector at (x, y).
func photo(seed uint64, w, h, x, y int) *imgcodec.Image {
	img := textured(seed, w, h)
	detecttest.Draw(img, x, y)
	return img
}

func textured(seed uint64, w, h int) *imgcodec.Image {
	rng := rand.New(rand.NewPCG(seed, 0))
	img := imgcodec.NewImage(w, h)
	for i := 0; i < len(img.Pix); i += 3 {
		v := byte(90 + rng.IntN(30))
		img.Pix[i], img.Pix[i+1], img.Pix[i+2] = v, v, v
	}
	return img
}

// picture shows img to the standard library's encoders.
func picture(img *imgcodec.Image) image.Image {
	out := image.NewNRGBA(image.Rect(0, 0, img.W, img.H))
	for y := range img.H {
		for x := range img.W {
			p := img.Pix[3*(y*img.W+x):]
			out.SetNRGBA(x, y, color.NRGBA{p[0], p[1], p[2], 255})
		}
	}
	return out
}

func asJPEG(t testing.TB, img *imgcodec.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, picture(img), &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func asBMP(t testing.TB, img *imgcodec.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := bmp.Encode(&buf, picture(img)); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// pngHeaderEnd is where a PNG's second chunk begins.
const pngHeaderEnd = 8 + 12 + 13

// withOrientation inserts an EXIF orientation into a PNG.
func withOrientation(png []byte, orientation byte) []byte {
	exif := []byte{'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0}
	return withChunk(png, "eXIf", exif)
}

func withChunk(png []byte, kind string, body []byte) []byte {
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	chunk = append(append(chunk, kind...), body...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	return append(append(append([]byte{}, png[:pngHeaderEnd]...), chunk...), png[pngHeaderEnd:]...)
}

// declaring overwrites the size a PNG declares.
func declaring(png []byte, w, h uint32) []byte {
	out := append([]byte{}, png...)
	binary.BigEndian.PutUint32(out[16:], w)
	binary.BigEndian.PutUint32(out[20:], h)
	binary.BigEndian.PutUint32(out[29:], crc32.ChecksumIEEE(out[12:29]))
	return out
}

// folder writes files below a new directory.
func folder(t testing.TB, files map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// detector writes a made-up detector and returns its option.
func detector(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blob.onnx")
	if err := os.WriteFile(path, detecttest.Model(detecttest.Options{Kind: "scrfd"}), 0o644); err != nil {
		t.Fatal(err)
	}
	return "scrfd=" + path
}

// run ingests; the options need not say what every test would.
func run(t testing.TB, o ingest.Options) (ingest.Summary, error) {
	t.Helper()
	if o.MaxRejectRate == 0 {
		o.MaxRejectRate = 1
	}
	s, err := ingest.Run(t.Context(), o)
	if errors.Is(err, ort.ErrRuntime) {
		t.Skip(err)
	}
	return s, err
}

func mustRun(t testing.TB, o ingest.Options) ingest.Summary {
	t.Helper()
	s, err := run(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// crops reads a whole dataset, by key.
func crops(t testing.TB, dir string) map[string]store.Crop {
	t.Helper()
	d, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out := map[string]store.Crop{}
	for i := range d.Shards() {
		shard, err := d.CropShard(i)
		if err != nil {
			t.Fatal(err)
		}
		for row := range shard.Rows() {
			c, err := shard.Crop(row)
			if err != nil {
				t.Fatal(err)
			}
			c.Image = bytes.Clone(c.Image)
			out[c.Key] = c
		}
		if err := shard.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// pixels decodes a stored crop.
func pixels(t testing.TB, c store.Crop) []byte {
	t.Helper()
	out := make([]byte, 3*112*112)
	if err := c.DecodeRGB(112, out); err != nil {
		t.Fatalf("%s: %v", c.Key, err)
	}
	return out
}
