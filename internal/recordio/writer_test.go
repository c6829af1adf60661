package recordio

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writer(t testing.TB, o WriterOptions) (*Writer, string) {
	t.Helper()
	if o.Height == 0 {
		o.Height, o.Width = 112, 112
	}
	dir := t.TempDir()
	w, err := NewWriter(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return w, dir
}

// fill gives a writer identities with so many images each.
func fill(t testing.TB, w *Writer, identities ...int) {
	t.Helper()
	for i, n := range identities {
		if label, err := w.Begin(); err != nil || label != int64(i) {
			t.Fatalf("identity %d: label %d, %v", i, label, err)
		}
		for j := range n {
			if _, err := w.Add(fmt.Appendf(nil, "image %d of %d", j, i), fmt.Sprintf("p%d/%d.jpg", i, j)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func content(t testing.TB, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The layout byte by byte, as insightface's face2rec2 leaves it.
func TestWriterLayout(t *testing.T) {
	w, dir := writer(t, WriterOptions{Images: 3, Identities: 2, List: true})
	fill(t, w, 2, 1)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	id := func(n byte) string { return string(n) + strings.Repeat("\x00", 15) }
	const zero, one = "\x00\x00\x00\x00", "\x00\x00\x80\x3f"
	const three, four, six = "\x00\x00\x40\x40", "\x00\x00\x80\x40", "\x00\x00\xc0\x40"
	want := bytes.Join([][]byte{
		frame(0, zero+zero+id(1)+"image 0 of 0"),
		frame(0, zero+zero+id(2)+"image 1 of 0"),
		frame(0, zero+one+id(3)+"image 0 of 1"),
		frame(0, "\x02\x00\x00\x00"+zero+id(0)+four+six),
		frame(0, "\x02\x00\x00\x00"+zero+id(4)+one+three),
		frame(0, "\x02\x00\x00\x00"+zero+id(5)+three+four),
	}, nil)
	if got := content(t, dir, RecordName); got != string(want) {
		t.Errorf("train.rec\n%q\nwant\n%q", got, want)
	}
	for name, want := range map[string]string{
		IndexName:    "1\t0\n2\t44\n3\t88\n0\t132\n4\t172\n5\t212\n",
		ListName:     "1\t0\tp0/0.jpg\n2\t0\tp0/1.jpg\n3\t1\tp1/0.jpg\n",
		PropertyName: "2,112,112\n",
	} {
		if got := content(t, dir, name); got != want {
			t.Errorf("%s\n%q\nwant\n%q", name, got, want)
		}
	}
}

func TestWriterPlainLayout(t *testing.T) {
	w, dir := writer(t, WriterOptions{Images: 2, Identities: 1, Plain: true})
	fill(t, w, 2)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := content(t, dir, IndexName), "0\t0\n1\t44\n"; got != want {
		t.Errorf("index %q, want %q", got, want)
	}
	if n := len(content(t, dir, RecordName)); n != 88 {
		t.Errorf("train.rec has %d bytes, want 88", n)
	}
	if _, err := os.Stat(filepath.Join(dir, ListName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a list that nobody asked for: %v", err)
	}
}

// A range of keys is written only if float32 holds it.
func TestWriterLeavesOutInexactRanges(t *testing.T) {
	for _, tt := range []struct {
		images, identities int64
		plain              bool
	}{
		{MaxExact - 11, 10, false}, {MaxExact - 10, 10, true}, {MaxExact, MaxExact, true}, {1 << 40, 10, true},
	} {
		w, _ := writer(t, WriterOptions{Images: tt.images, Identities: tt.identities})
		if w.plain != tt.plain {
			t.Errorf("%d images of %d: plain is %v", tt.images, tt.identities, w.plain)
		}
		if last := float32(tt.images + tt.identities + 1); !tt.plain && int64(last) != tt.images+tt.identities+1 {
			t.Errorf("%v was rounded", last)
		}
		if err := w.Abort(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriterMistakes(t *testing.T) {
	for _, o := range []WriterOptions{
		{Images: 0, Identities: 0, Height: 1, Width: 1}, {Images: 1, Identities: 0, Height: 1, Width: 1},
		{Images: 1, Identities: 2, Height: 1, Width: 1}, {Images: 1, Identities: 1, Height: 0, Width: 1},
		{Images: 1, Identities: 1, Height: 1, Width: -1}, {Images: MaxExact + 1, Identities: MaxExact + 1, Height: 1, Width: 1},
	} {
		if _, err := NewWriter(t.TempDir(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if _, err := NewWriter(filepath.Join(t.TempDir(), "none"), WriterOptions{Images: 1, Identities: 1, Height: 1, Width: 1}); err == nil {
		t.Error("a missing folder was accepted")
	}

	w, dir := writer(t, WriterOptions{Images: 2, Identities: 2})
	fails := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", what, err, want)
		}
	}
	_, err := w.Add([]byte("x"), "")
	fails("image without identity", err, "before any identity")
	fill(t, w, 1)
	_, err = w.Add(nil, "")
	fails("image without bytes", err, "without bytes")
	_, err = w.Add(make([]byte, maxRecord-HeaderSize+1), "")
	fails("huge image", err, "more than")
	if _, err := w.Begin(); err != nil {
		t.Fatal(err)
	}
	_, err = w.Begin()
	fails("identity without images", err, "identity 1 has no image")
	if _, err := w.Add([]byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	_, err = w.Add([]byte("x"), "")
	fails("more images", err, "more than 2 images")
	_, err = w.Begin()
	fails("more identities", err, "more than 2 identities")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, []byte(content(t, dir, RecordName))); len(got) != 5 {
		t.Errorf("%d records, want 5", len(got))
	}
	fails("second close", w.Close(), "was closed")
	_, err = w.Add([]byte("x"), "")
	fails("image after close", err, "was closed")
	_, err = w.Begin()
	fails("identity after close", err, "was closed")
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	content(t, dir, PropertyName) // still there
}

func TestWriterLeavesNothingUnfinished(t *testing.T) {
	empty := func(dir string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 0 {
			t.Errorf("%v, %v are left", entries, err)
		}
	}
	w, dir := writer(t, WriterOptions{Images: 3, Identities: 2, List: true})
	fill(t, w, 2)
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "2 images of 1 identities, not 3 of 2 as announced") {
		t.Errorf("error %v", err)
	}
	empty(dir)
	w, dir = writer(t, WriterOptions{Images: 3, Identities: 2})
	fill(t, w, 2)
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	empty(dir)
}

func TestWriterEscapesPaths(t *testing.T) {
	for path, want := range map[string]string{
		"a b/ü.jpg": "a b/ü.jpg", "a\tb\nc\r.jpg": `a\x09b\x0ac\x0d.jpg`, `a\b`: `a\x5cb`, "\xff\x7f": "\xff\\x7f", "": "",
	} {
		if got := escapePath(path); got != want {
			t.Errorf("%q is written %q, want %q", path, got, want)
		}
	}
}

// What is written is read, magic words in images included.
func TestWriterRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const identities, each = 20, 10
	w, dir := writer(t, WriterOptions{Images: identities * each, Identities: identities, List: true})
	var want [][]byte
	for range identities {
		if _, err := w.Begin(); err != nil {
			t.Fatal(err)
		}
		for range each {
			image := sprinkled(rng, 1+rng.IntN(5000))
			want = append(want, image)
			if key, err := w.Add(image, "x"); err != nil || key != int64(len(want)) {
				t.Fatal(key, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := []byte(content(t, dir, RecordName))
	index, err := readIndex(content(t, dir, IndexName))
	if err != nil {
		t.Fatal(err)
	}
	got := scan(t, file)
	if len(got) != len(index) || len(got) != len(want)+1+identities {
		t.Fatalf("%d records, %d in the index", len(got), len(index))
	}
	for i, g := range got {
		h, err := ParseHeader([]byte(g.data), int64(len(g.data)))
		if err != nil || index[i] != (Entry{h.ID, g.at.Offset}) {
			t.Fatalf("record %d: %+v, %v, in the index %+v", i, h, err, index[i])
		}
		if i >= len(want) {
			if _, _, ok := h.Range(); !ok {
				t.Errorf("record %d: %+v", i, h)
			}
			continue
		}
		if h.Label() != float32(i/each) || g.data[len(g.data)-int(h.ImageSize):] != string(want[i]) {
			t.Errorf("record %d is not what was written: %+v", i, h)
		}
	}
}
