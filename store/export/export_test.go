package export

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/internal/npy"
	"facepipe/internal/recordio"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/storetest"
)

var teacherInfo = cache.Info{Name: "r50", ModelFile: "r50.onnx", ModelDigest: strings.Repeat("ab", 32), Fingerprint: "fp", Dim: 6, DType: cache.FP16, Flip: true}

// embedding is what the test teacher says of crop i; nothing usable of every fifth.
func embedding(i int, mirror bool) []float32 {
	e := make([]float32, 6)
	for k := range e {
		e[k] = float32(i+1) + float32(k)/8
		if mirror {
			e[k] = -e[k]
		}
	}
	if i%5 == 4 {
		clear(e)
	}
	return e
}

// buildDataset makes a dataset of n crops with a teacher, and an empty shard between
// others.
func buildDataset(t testing.TB, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	for _, part := range [][2]int{{0, n / 2}, {n, n}, {n / 2, n}} {
		w, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{ShardRows: 8, Logger: storetest.Quiet})
		if err != nil {
			t.Fatal(err)
		}
		src := w.AddSource(store.SourceInfo{Kind: "folder", Path: fmt.Sprint(part), Detector: "none"})
		for i := part[0]; i < part[1]; i++ {
			c := storetest.Crop(0, i)
			c.Source = src
			if _, err := w.Append(c); err != nil {
				t.Fatal(err)
			}
		}
		must(t, w.Close())
	}
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w, err := cache.Create(d, teacherInfo)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, shard := range w.MissingShards() {
		e, err := w.Shard(shard)
		if err != nil {
			t.Fatal(err)
		}
		for row := range d.ShardRows(shard) {
			i := d.RowOf(store.Location{Shard: uint32(shard), Row: uint32(row)})
			must(t, e.Append(embedding(i, false), embedding(i, true)))
		}
		must(t, e.Commit())
	}
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustRun(t testing.TB, o Options) Summary {
	t.Helper()
	o.Logger = storetest.Quiet
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// contents are all files below a folder.
func contents(t testing.TB, root string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files[name], err = os.ReadFile(filepath.Join(root, name))
		return err
	})
	must(t, err)
	return files
}

// sameCrop fails unless data decode to the pixels of a crop, and are its own bytes if
// they were encoded.
func sameCrop(t testing.TB, name string, data []byte, want store.Crop) {
	t.Helper()
	img, _, err := imgcodec.Decode(data, imgcodec.Limits{})
	if err != nil || store.CropID(storetest.Contract, img.Pix) != want.ID {
		t.Errorf("%s is another picture than %s: %v", name, want.Key, err)
	}
	if want.Encoding != imgcodec.Raw && !bytes.Equal(data, want.Image) {
		t.Errorf("%s was encoded anew", name)
	}
}

func TestFolder(t *testing.T) {
	dataset, out := buildDataset(t, 30), filepath.Join(t.TempDir(), "new", "out")
	s := mustRun(t, Options{Dataset: dataset, To: "folder", Out: out})
	files := contents(t, out)
	bytes := 0
	for i := range 30 {
		c := storetest.Crop(0, i)
		name := c.Key
		if c.Identity == "" {
			name = strings.ReplaceAll(name, "/", "%2F")
		}
		data, there := files[name]
		if !there {
			t.Errorf("%s is missing", name)
			continue
		}
		bytes += len(data)
		sameCrop(t, name, data, c)
		delete(files, name)
	}
	if _, there := files[markerName]; !there || len(files) != 1 {
		t.Errorf("left over are %v", files)
	}
	if s.Rows != 30 || s.Files != 30 || s.Bytes != int64(bytes) || s.Out != out || s.To != "folder" || s.Reused || s.Digest == "" {
		t.Errorf("%+v, want %d bytes", s, bytes)
	}
}

func TestWebDataset(t *testing.T) {
	dataset, out := buildDataset(t, 30), filepath.Join(t.TempDir(), "out")
	s := mustRun(t, Options{Dataset: dataset, To: "webdataset", Out: out, ShardCrops: 7})
	if s.Files != 5 {
		t.Errorf("%+v", s)
	}
	row := 0
	for shard := range 5 {
		f, err := os.Open(filepath.Join(out, fmt.Sprintf("%06d.tar", shard)))
		must(t, err)
		defer f.Close()
		samples := 0
		for r := tar.NewReader(f); ; samples++ {
			c := storetest.Crop(0, row)
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			stem, data := fmt.Sprintf("%09d", row), readAll(t, r)
			if h.Name != stem+".png" || h.Mode != 0o644 || h.ModTime.Unix() != 0 || h.Uname != "" || h.Format != tar.FormatUSTAR {
				t.Errorf("header is %+v", h)
			}
			sameCrop(t, h.Name, data, c)
			if c.Identity != "" {
				h, err := r.Next()
				must(t, err)
				// Labels number the identities by appearance, which here is their own order.
				if want := fmt.Sprint(row / 5); h.Name != stem+".cls" || string(readAll(t, r)) != want {
					t.Errorf("%s is not label %s", h.Name, want)
				}
			}
			h, err = r.Next()
			must(t, err)
			var info sampleInfo
			must(t, json.Unmarshal(readAll(t, r), &info))
			if h.Name != stem+".json" || info.Key != c.Key || info.Identity != c.Identity || info.ID != c.ID || info.Score != c.Score ||
				(len(info.PhotoLandmarks) == 10) != c.HasLandmarks || c.HasLandmarks && info.PhotoLandmarks[9] != c.Landmarks[9] {
				t.Errorf("%s is %+v", h.Name, info)
			}
			row++
		}
		if want := min(7, 30-7*shard); samples != want {
			t.Errorf("file %d has %d samples, want %d", shard, samples, want)
		}
	}
	if row != 30 {
		t.Errorf("%d samples", row)
	}
}

func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	data, err := io.ReadAll(r)
	must(t, err)
	return data
}

func TestRecordIO(t *testing.T) {
	dataset, out := buildDataset(t, 30), filepath.Join(t.TempDir(), "out")
	s := mustRun(t, Options{Dataset: dataset, To: "recordio", Out: out})
	if s.Files != 4 || s.Rows != 26 || s.LeftOut != 4 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
	files := contents(t, out)
	if got := string(files["property"]); got != "6,8,8\n" {
		t.Errorf("property is %q", got)
	}
	rec := bytes.NewReader(files["train.rec"])
	scanner := recordio.NewScanner(rec, rec.Size(), 0)
	list := strings.Split(string(files["train.lst"]), "\n")
	for i, n := 0, 0; i < 30; i++ {
		c := storetest.Crop(0, i)
		if c.Identity == "" {
			continue
		}
		at, err := scanner.Next()
		must(t, err)
		data, err := recordio.Read(rec, at)
		must(t, err)
		h, err := recordio.ParseHeader(data, int64(len(data)))
		must(t, err)
		// Labels number the identities by appearance, which here is their own order.
		if n++; h.Label() != float32(i/5) || h.ID != uint64(n) || list[n-1] != fmt.Sprintf("%d\t%d\t%s", n, i/5, c.Key) {
			t.Errorf("record %d is %+v, listed as %q; want crop %d", n, h, list[n-1], i)
		}
		sameCrop(t, c.Key, data[int64(len(data))-h.ImageSize:], c)
	}
}

// An identity whose crops lie far apart is put together.
func TestGroups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "faces.ds")
	w, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{ShardRows: 3, Logger: storetest.Quiet})
	must(t, err)
	w.AddSource(store.SourceInfo{Kind: "folder", Path: "p", Detector: "none"})
	for i, name := range []string{"b", "", "a", "b", "c", "a", "", "b"} {
		c := storetest.Crop(0, i)
		c.Identity = name
		_, err := w.Append(c)
		must(t, err)
	}
	must(t, w.Close())
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
	must(t, err)
	defer d.Close()
	g, err := groupRows(t.Context(), d)
	if err != nil || fmt.Sprint(g.rows) != "[0 3 7 2 5 4]" || g.identities != 3 {
		t.Errorf("%+v, %v", g, err)
	}
	if s := mustRun(t, Options{Dataset: dir, To: "recordio", Out: filepath.Join(t.TempDir(), "out")}); s.Rows != 6 || s.LeftOut != 2 {
		t.Errorf("%+v", s)
	}
	empty := buildDataset(t, 0)
	if _, err := Run(t.Context(), Options{Dataset: empty, To: "recordio", Out: filepath.Join(t.TempDir(), "out"), Logger: storetest.Quiet}); err == nil || !strings.Contains(err.Error(), "no crop has an identity") {
		t.Errorf("of nobody: %v", err)
	}
}

func TestArrays(t *testing.T) {
	dataset, out := buildDataset(t, 30), filepath.Join(t.TempDir(), "out")
	s := mustRun(t, Options{Dataset: dataset, To: "npy", Out: out, Teacher: "r50"})
	if s.Files != 7 || s.Rows != 30 {
		t.Errorf("%+v", s)
	}
	half := func(x float32) uint16 { // of the whole numbers and eighths that there are
		bits := math.Float32bits(x)
		if x == 0 {
			return 0
		}
		return uint16(bits>>16&0x8000) | uint16((bits>>23&0xff-112)<<10) | uint16(bits>>13&0x3ff)
	}
	files := contents(t, out)
	array := func(name, header string, size int) []byte {
		data := files[name]
		n := 10 + int(binary.LittleEndian.Uint16(data[8:]))
		if text := string(data[10:n]); n%64 != 0 || !strings.HasPrefix(string(data), "\x93NUMPY\x01\x00") ||
			strings.TrimSpace(text) != header || !strings.HasSuffix(text, "\n") || len(data) != n+size {
			t.Fatalf("%s begins with %q, %d bytes follow", name, data[:n], len(data)-n)
		}
		return data[n:]
	}
	plain := array("embeddings.npy", "{'descr': '<f2', 'fortran_order': False, 'shape': (30, 6), }", 30*6*2)
	mirror := array("embeddings_mirror.npy", "{'descr': '<f2', 'fortran_order': False, 'shape': (30, 6), }", 30*6*2)
	norms := array("norms.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (30,), }", 30*4)
	array("norms_mirror.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (30,), }", 30*4)
	labels := array("labels.npy", "{'descr': '<i4', 'fortran_order': False, 'shape': (30,), }", 30*4)
	ids := array("ids.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (30, 16), }", 30*16)
	keys := strings.Split(string(files["keys.txt"]), "\n")
	for i := range 30 {
		c := storetest.Crop(0, i)
		sum := 0.0
		for k, x := range embedding(i, false) {
			sum += float64(x) * float64(x)
			if got := binary.LittleEndian.Uint16(plain[2*(6*i+k):]); got != half(x) {
				t.Errorf("element %d of row %d is %#x, want %#x", k, i, got, half(x))
			}
		}
		for k, x := range embedding(i, true) {
			if got := binary.LittleEndian.Uint16(mirror[2*(6*i+k):]); got != half(x) {
				t.Errorf("element %d of mirrored row %d is %#x, want %#x", k, i, got, half(x))
			}
		}
		if got := math.Float32frombits(binary.LittleEndian.Uint32(norms[4*i:])); got != float32(math.Sqrt(sum)) {
			t.Errorf("norm of row %d is %g, want %g", i, got, math.Sqrt(sum))
		}
		want := int32(i / 5)
		if c.Identity == "" {
			want = store.NoLabel
		}
		if got := int32(binary.LittleEndian.Uint32(labels[4*i:])); got != want {
			t.Errorf("label of row %d is %d, want %d", i, got, want)
		}
		if store.ID(ids[16*i:]) != c.ID || keys[i] != c.Key {
			t.Errorf("row %d is %x, %s", i, ids[16*i:16*i+16], keys[i])
		}
	}
}

func TestKeyLine(t *testing.T) {
	for key, want := range map[string]string{
		"a/b.jpg": "a/b.jpg", "a\nb": `"a\nb"`, `"quoted"`: `"\"quoted\""`, `mid"dle`: `mid"dle`, "a\u2028b": `"a\u2028b"`,
	} {
		if got := string(npy.AppendKey(nil, key)); got != want+"\n" {
			t.Errorf("%q is the line %q, want %q", key, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for want, o := range map[string]Options{
		"no dataset":        {Out: "o", To: "folder"},
		"no folder":         {Dataset: "d", To: "folder"},
		"drawer":            {Dataset: "d", Out: "o", To: "drawer"},
		"name the teacher":  {Dataset: "d", Out: "o", To: "npy"},
		"takes no teacher":  {Dataset: "d", Out: "o", To: "folder", Teacher: "t"},
		"-1 crops a shard":  {Dataset: "d", Out: "o", To: "webdataset", ShardCrops: -1},
		"folder, npy, reco": {Dataset: "d", Out: "o"},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}

// stopping is a context that is done after a number of looks at it.
type stopping struct {
	context.Context
	left int
}

func (c *stopping) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// What is stopped leaves nothing under the export's name, and the same call then makes
// what an uninterrupted one makes.
func TestStopped(t *testing.T) {
	dataset := buildDataset(t, 20)
	for _, to := range Kinds() {
		o := Options{Dataset: dataset, To: to, Out: filepath.Join(t.TempDir(), "whole"), ShardCrops: 6, Logger: storetest.Quiet}
		if to == "npy" {
			o.Teacher = "r50"
		}
		mustRun(t, o)
		want := contents(t, o.Out)
		for _, left := range []int{0, 1, 7, 15} {
			parent := t.TempDir()
			o.Out = filepath.Join(parent, "out")
			if _, err := Run(&stopping{t.Context(), left}, o); !errors.Is(err, context.Canceled) {
				t.Fatalf("%s after %d: %v", to, left, err)
			}
			if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
				t.Errorf("%s after %d: left %v, %v", to, left, entries, err)
			}
			// As if it had been killed instead.
			rest := filepath.Join(parent, ".out.exporting", "person_00")
			must(t, os.MkdirAll(rest, 0o755))
			must(t, os.WriteFile(filepath.Join(rest, "0000.png"), []byte("half a fi"), 0o644))
			mustRun(t, o)
			if got := contents(t, o.Out); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s after %d: other files than without a stop", to, left)
			}
			if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
				t.Errorf("%s after %d: left %v, %v", to, left, entries, err)
			}
		}
	}
}

func TestOut(t *testing.T) {
	dataset := buildDataset(t, 10)
	o := Options{Dataset: dataset, To: "folder", Logger: storetest.Quiet}

	o.Out = t.TempDir() // empty is as good as new
	first := mustRun(t, o)
	before := contents(t, o.Out)
	if again := mustRun(t, o); !again.Reused || again.Files != first.Files || again.Bytes != first.Bytes || fmt.Sprint(contents(t, o.Out)) != fmt.Sprint(before) {
		t.Errorf("the same export again: %+v after %+v", again, first)
	}
	refused := func(o Options, want string) {
		t.Helper()
		kept := contents(t, o.Out)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), o.Out) {
			t.Errorf("%v, want %q", err, want)
		}
		if fmt.Sprint(contents(t, o.Out)) != fmt.Sprint(kept) {
			t.Errorf("%s changed", o.Out)
		}
	}
	other := o
	other.To = "webdataset"
	refused(other, "another export")
	other = o
	other.Dataset = buildDataset(t, 12)
	refused(other, "another export")

	other = o
	other.Out = t.TempDir()
	must(t, os.WriteFile(filepath.Join(other.Out, "photo.jpg"), []byte("mine"), 0o644))
	refused(other, "not empty")
	must(t, os.WriteFile(filepath.Join(other.Out, markerName), []byte("no JSON"), 0o644))
	refused(other, "another export")

	link := o
	link.Out = filepath.Join(t.TempDir(), "link")
	target := t.TempDir()
	must(t, os.Symlink(target, link.Out))
	mustRun(t, link)
	if len(contents(t, target)) != len(before) {
		t.Error("nothing is where the link leads")
	}
	mount := o
	mount.Out = "/proc/self/fd" // a place that nothing can be renamed to
	if _, err := Run(t.Context(), mount); err == nil {
		t.Error("an export into another file system's folder passes")
	}
}

// Damage of the dataset stops the export, which then leaves nothing.
func TestDamage(t *testing.T) {
	dataset := buildDataset(t, 30)
	for to, name := range map[string]string{"folder": "crops/000001.arrow", "webdataset": "crops/000003.arrow", "recordio": "crops/000004.arrow", "npy": "teachers/r50/000001.arrow"} {
		path := filepath.Join(dataset, name)
		data, err := os.ReadFile(path)
		must(t, err)
		hurt := bytes.Clone(data)
		hurt[len(hurt)/2] ^= 4
		must(t, os.Remove(path))
		must(t, os.WriteFile(path, hurt, 0o644))
		o := Options{Dataset: dataset, To: to, Out: filepath.Join(t.TempDir(), "out"), Logger: storetest.Quiet}
		if to == "npy" {
			o.Teacher = "r50"
		}
		if _, err := Run(t.Context(), o); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", to, err)
		}
		if entries, err := os.ReadDir(filepath.Dir(o.Out)); err != nil || len(entries) > 0 {
			t.Errorf("%s: left %v, %v", to, entries, err)
		}
		must(t, os.WriteFile(path, data, 0o644))
	}
	o := Options{Dataset: dataset, To: "npy", Out: filepath.Join(t.TempDir(), "out"), Teacher: "nobody", Logger: storetest.Quiet}
	if _, err := Run(t.Context(), o); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no such teacher: %v", err)
	}
	must(t, os.Remove(filepath.Join(dataset, "teachers/r50/000001.json")))
	o.Teacher = "r50"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "1 shards are missing") {
		t.Errorf("an incomplete cache: %v", err)
	}
}
