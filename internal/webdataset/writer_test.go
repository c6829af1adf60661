package webdataset_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/webdataset"
)

// buffer is an output in memory.
type buffer struct {
	bytes.Buffer
	ended string
	fail  error
}

func (b *buffer) Commit() error { b.ended += "committed"; return b.fail }
func (b *buffer) Abort() error  { b.ended += "aborted"; return b.fail }

func (b *buffer) Write(p []byte) (int, error) {
	if b.fail != nil {
		return 0, b.fail
	}
	return b.Buffer.Write(p)
}

func jpg(data string) webdataset.File { return webdataset.File{Extension: "jpg", Data: []byte(data)} }

func TestWriterRoundTrip(t *testing.T) {
	write := func() []*buffer {
		var shards []*buffer
		w, err := webdataset.NewWriter(2, func(number int) (webdataset.Output, error) {
			if number != len(shards) {
				t.Errorf("shard %d after %d", number, len(shards))
			}
			shards = append(shards, &buffer{})
			return shards[number], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range []string{"000000", "dir/1", "ü/" + strings.Repeat("long", 60), "3", strings.Repeat("d/", 100) + "4"} {
			cls := webdataset.File{Extension: "cls", Data: []byte(fmt.Sprint(i))}
			if err := w.Write(key, jpg("image of "+key), cls); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), w.Close(), w.Abort()); err != nil || w.Shards() != 3 {
			t.Fatalf("%v, %d shards", err, w.Shards())
		}
		return shards
	}
	shards, again := write(), write()
	var got []string
	for i, s := range shards {
		if s.ended != "committed" {
			t.Errorf("shard %d was %s", i, s.ended)
		}
		if !bytes.Equal(s.Bytes(), again[i].Bytes()) {
			t.Errorf("shard %d has other bytes the second time", i)
		}
		got = append(got, walk(t, s.Bytes(), nil)...)
	}
	wantLines(t, got,
		`000000: jpg="image of 000000" cls="0"`,
		`dir/1: jpg="image of dir/1" cls="1"`,
		"ü/"+strings.Repeat("long", 60)+`: jpg="image of ü/longlongl" cls="2"`,
		`3: jpg="image of 3" cls="3"`,
		strings.Repeat("d/", 100)+`4: jpg="image of d/d/d/d/d/d" cls="4"`,
	)
}

func TestWriterOfDurableFiles(t *testing.T) {
	dir := t.TempDir()
	w, err := webdataset.NewWriter(1, func(number int) (webdataset.Output, error) {
		return durable.Create(filepath.Join(dir, fmt.Sprintf("faces-%06d.tar", number)))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write("0", jpg("A")), w.Write("1", jpg("B")), w.Close()); err != nil {
		t.Fatal(err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 2 || filepath.Base(names[1]) != "faces-000001.tar" {
		t.Errorf("%v, %v", names, err)
	}
}

// A shard ends before it gets too large, and a sample is never torn.
func TestWriterEndsLargeShards(t *testing.T) {
	defer webdataset.SetMaxShardBytes(100)()
	dir := t.TempDir()
	w, err := webdataset.NewWriter(1000, func(number int) (webdataset.Output, error) {
		return durable.Create(filepath.Join(dir, fmt.Sprintf("faces-%06d.tar", number)))
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{60, 40, 1, 98, 2, 500, 3} {
		data := webdataset.File{Extension: "jpg", Data: make([]byte, size-1)}
		if err := w.Write(fmt.Sprint(i), data, webdataset.File{Extension: "cls", Data: []byte("7")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var shards [][]string
	for number := range w.Shards() {
		f, err := os.Open(filepath.Join(dir, fmt.Sprintf("faces-%06d.tar", number)))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for r := tar.NewReader(f); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, h.Name)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		shards = append(shards, names)
	}
	want := [][]string{
		{"0.jpg", "0.cls", "1.jpg", "1.cls"}, {"2.jpg", "2.cls", "3.jpg", "3.cls"}, {"4.jpg", "4.cls"}, {"5.jpg", "5.cls"}, {"6.jpg", "6.cls"},
	}
	if !reflect.DeepEqual(shards, want) {
		t.Errorf("%v, want %v", shards, want)
	}
}

func TestWriterRefusals(t *testing.T) {
	w, err := webdataset.NewWriter(10, func(int) (webdataset.Output, error) { return &buffer{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write("0", jpg("A")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ key, want string }{
		{"", "no name"}, {"a/", "no name"}, {"a.b", "dot"}, {"a/.b", "dot"}, {"a/..", "dot"}, {"../a", "plain path"}, {"/a", "plain path"},
		{"a//b", "plain path"}, {"./a", "plain path"}, {"\xff", "not text"}, {"a\x00", "not text"}, {"0", "sample before"},
	}
	for _, tt := range tests {
		if err := w.Write(tt.key, jpg("A")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("key %q: error %v, want one that says %q", tt.key, err, tt.want)
		}
	}
	for _, files := range [][]webdataset.File{
		nil, {jpg("A"), jpg("B")}, {{Extension: ""}}, {{Extension: "JPG"}}, {{Extension: "a/b"}}, {{Extension: "\xff"}},
	} {
		if err := w.Write("1", files...); err == nil {
			t.Errorf("wrote %q", files)
		}
	}
	if err := w.Write("1", jpg("B")); err != nil {
		t.Errorf("after refusals: %v", err)
	}
	if _, err := webdataset.NewWriter(0, nil); err == nil {
		t.Error("made a writer of shards without samples")
	}
}

func TestWriterFailures(t *testing.T) {
	full := errors.New("disk full")
	w, err := webdataset.NewWriter(1, func(int) (webdataset.Output, error) { return nil, full })
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write("0", jpg("A")); !errors.Is(err, full) {
		t.Errorf("no shard: %v", err)
	}
	out := &buffer{}
	if w, err = webdataset.NewWriter(2, func(int) (webdataset.Output, error) { return out, nil }); err != nil {
		t.Fatal(err)
	}
	if err := w.Write("0", jpg("A")); err != nil {
		t.Fatal(err)
	}
	out.fail = full
	if err := w.Write("1", jpg("B")); !errors.Is(err, full) {
		t.Errorf("write: %v", err)
	}
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("close: %v", err)
	}
	out.fail = nil
	if err := w.Abort(); err != nil || out.ended != "aborted" {
		t.Errorf("abort: %v, %s", err, out.ended)
	}
}

func FuzzWriterRoundTrip(f *testing.F) {
	f.Add("0", "jpg", "A", "1")
	f.Add("dir/ü", "left.jpg", "", "dir/v")
	f.Fuzz(func(t *testing.T, key, extension, data, next string) {
		out := &buffer{}
		w, err := webdataset.NewWriter(10, func(int) (webdataset.Output, error) { return out, nil })
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, k := range []string{key, next} {
			if w.Write(k, webdataset.File{Extension: extension, Data: []byte(data)}) == nil {
				want = append(want, fmt.Sprintf("%s: %s=%.20q", k, extension, data))
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if len(want) > 0 {
			wantLines(t, walk(t, out.Bytes(), nil), want...)
		}
	})
}
