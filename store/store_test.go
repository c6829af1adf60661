package store

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
)

// testContract keeps crops tiny: 8 x 8 pixels.
var testContract = Contract{CropSize: 8, Template: "five-point-test", Warp: "none", Decoder: "test decoder"}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// testCrop makes the i-th crop: pixels from a generator seeded with i, alternately PNG
// and raw, every third with landmarks and all measures, every third after it with one,
// five crops an identity, every seventh without, three of four in a split, every fifth
// with attributes.
func testCrop(source, i int) Crop {
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	img := imgcodec.NewImage(testContract.CropSize, testContract.CropSize)
	for p := range img.Pix {
		img.Pix[p] = byte(rng.Uint32())
	}
	c := Crop{
		ID:       CropID(testContract, img.Pix),
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
		c.Quality = Quality{FaceSize: nan, Sharpness: float32(i) * 1.5, Yaw: nan, Pitch: nan, Roll: nan}
	}
	if i%3 == 0 {
		c.Quality = Quality{FaceSize: 100 + float32(i), Sharpness: float32(i) / 4, Yaw: float32(-i), Pitch: 0.5, Roll: float32(i)}
	}
	return c
}

// wantLabel is the label of testCrop(i) when crops are appended from 0 on.
func wantLabel(i int) int32 {
	if i%7 == 6 {
		return NoLabel
	}
	seen := map[string]int32{}
	for k := range i + 1 {
		if name := testCrop(0, k).Identity; name != "" {
			if _, ok := seen[name]; !ok {
				seen[name] = int32(len(seen))
			}
		}
	}
	return seen[testCrop(0, i).Identity]
}

var testSource = SourceInfo{Kind: "folder", Path: "photos", Detector: "none"}

// ingest appends crops lo..hi-1 of source s as an ingest would: skipping what was seen
// and mixing in rejects and duplicates. It returns the outcomes by their number.
func ingest(t testing.TB, w *Writer, s SourceInfo, lo, hi int) map[Outcome]int {
	t.Helper()
	src := w.AddSource(s)
	n := map[Outcome]int{}
	for i := lo; i < hi; i++ {
		if i%11 == 5 {
			r := Reject{Source: src, Key: fmt.Sprintf("broken/%04d.jpg", i), Stage: "decode", Reason: "truncated <file> & more"}
			if err := w.Reject(r); err != nil {
				t.Fatal(err)
			}
		}
		c := testCrop(src, i)
		if w.Seen(src, c.Key) {
			continue
		}
		o, err := w.Append(c)
		if err != nil {
			t.Fatal(err)
		}
		n[o]++
		if i%13 == 7 {
			twin := testCrop(src, i-1)
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

// memoryDir is a folder on a file system in memory where there is one. What kills and
// failing calls leave behind is the same there, and a test that commits a thousand
// shards does not wait for a disk that others use.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "store-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// buildDataset makes a dataset of n test crops and returns its folder.
func buildDataset(t testing.TB, n, shardRows int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	w := mustWriter(t, dir, shardRows)
	ingest(t, w, testSource, 0, n)
	mustClose(t, w)
	return dir
}

func mustWriter(t testing.TB, dir string, shardRows int) *Writer {
	t.Helper()
	w, err := OpenWriter(dir, testContract, WriterOptions{ShardRows: shardRows, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Abort() })
	return w
}

func mustOpen(t testing.TB, dir string) *Dataset {
	t.Helper()
	return openOn(t, dir, durable.Disk{FS: durable.OS{}})
}

// openOn is mustOpen of a dataset whose caches are written to a disk.
func openOn(t testing.TB, dir string, disk durable.Disk) *Dataset {
	t.Helper()
	d, err := Open(dir, WithLogger(quiet), WithDisk(disk))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, d) })
	return d
}

func mustClose(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents maps every file of a dataset but locks and the index (which Badger does
// not write reproducibly) to its bytes.
func contents(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if e.Name() == indexFolder || strings.HasPrefix(e.Name(), indexTempPrefix) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(e.Name(), lockFile) {
			return nil
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sameContents fails unless two datasets have the same files, byte for byte.
func sameContents(t testing.TB, got, want string) {
	t.Helper()
	have, expect := contents(t, got), contents(t, want)
	for name := range have {
		if _, ok := expect[name]; !ok {
			t.Errorf("%s: unexpected file", name)
		}
	}
	for name, data := range expect {
		if !bytes.Equal(have[name], data) {
			t.Errorf("%s differs (%d bytes, want %d)", name, len(have[name]), len(data))
		}
	}
}

// cleanCheck fails unless a full check finds nothing wrong.
func cleanCheck(t testing.TB, dir string) CheckReport {
	t.Helper()
	r, err := Check(t.Context(), dir, CheckOptions{ReadData: true})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK {
		t.Fatalf("check: %+v", r.Problems)
	}
	return r
}
