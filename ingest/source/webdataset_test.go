package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"facepipe/ingest/align"
	"facepipe/internal/alloctest"
	"facepipe/internal/imgcodec"
)

// tarOf is an archive of members, given as name and content in turn.
func tarOf(t testing.TB, members ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(members); i += 2 {
		err := w.WriteHeader(&tar.Header{Name: members[i], Mode: 0o644, Size: int64(len(members[i+1]))})
		if err == nil {
			_, err = io.WriteString(w, members[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// shardFolder writes files into a new folder called faces.
func shardFolder(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces")
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openedShards(t testing.TB, path string) Source {
	t.Helper()
	src, err := Spec{Kind: "webdataset", Path: path}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

func TestWebDataset(t *testing.T) {
	plain := tarOf(t, "0.cls", "7\n", "0.jpg", "A", "dir/1.JPEG", "B", "dir/1.cls", " 012", "2.webp", "C", "3.left.png", "D", "3.right.bmp", "E", "3.cls", "-1", "note.txt", "x")
	dir := shardFolder(t, map[string][]byte{
		"b-1.tar": plain, "a.tar.gz": gzipped(t, plain), "c.TGZ": gzipped(t, tarOf(t, "0.jpg", "F")),
		"readme.md": []byte("x"), ".hidden.tar": plain,
	})
	shard := func(name string) []string {
		return []string{
			name + "/0.jpg | faces/7 | A",
			name + "/dir/1.JPEG | faces/12 | B",
			name + "/2.webp |  | C",
			name + "/3.left.png |  | D",
			name + "/3.right.bmp |  | E",
		}
	}
	all := append(append(shard("a"), shard("b-1")...), "c/0.jpg |  | F")
	walk(t, openedShards(t, dir)).want(t, all)
	walk(t, openedShards(t, filepath.Join(dir, "b-1.tar"))).want(t, shard("b-1"))
	walk(t, openedShards(t, filepath.Join(dir, "a.tar.gz"))).want(t, shard("a"))
	walk(t, openedShards(t, filepath.Join(dir, "{c.TGZ,b-{1..1}.tar}"))).want(t, append([]string{"c/0.jpg |  | F"}, shard("b-1")...))
}

func TestWebDatasetDigest(t *testing.T) {
	data := tarOf(t, "0.jpg", "A")
	dir := shardFolder(t, map[string][]byte{"a.tar": data})
	sum := sha256.Sum256(data)
	if got := openedShards(t, filepath.Join(dir, "a.tar")).Digest(); got != hex.EncodeToString(sum[:]) {
		t.Errorf("digest of a file: %q", got)
	}
	for _, path := range []string{dir, filepath.Join(dir, "{a,b}.tar")} {
		if got := openedShards(t, path).Digest(); got != "" {
			t.Errorf("digest of %s: %q", path, got)
		}
	}
}

func TestWebDatasetPatterns(t *testing.T) {
	dir := shardFolder(t, map[string][]byte{
		"train-08.tar": tarOf(t, "0.jpg", "A"), "train-09.tar": []byte("no archive"), "train-11.tar": tarOf(t, "0.jpg", "B", "0.cls", "1"),
		"x/0.tar": tarOf(t, "0.jpg", "C"), "y/0.tar": tarOf(t, "0.jpg", "D"),
		"odd{1,2}.tar": tarOf(t, "0.jpg", "E"),
	})
	walk(t, openedShards(t, filepath.Join(dir, "train-{08..11}.tar"))).want(t, []string{
		"train-08/0.jpg |  | A",
		"train-09/@0 |  ! is cut short in a header; 10 bytes passed over",
		"train-10/ |  ! open: no such file or directory",
		"train-11/0.jpg | faces/1 | B",
	})
	walk(t, openedShards(t, filepath.Join(dir, "{x,y}", "0.tar"))).want(t, []string{"x/0/0.jpg |  | C", "y/0/0.jpg |  | D"})
	walk(t, openedShards(t, filepath.Join(dir, "odd{1,2}.tar"))).want(t, []string{"odd{1,2}/0.jpg |  | E"})
}

func TestWebDatasetRefusals(t *testing.T) {
	dir := shardFolder(t, map[string][]byte{
		"a.tar": tarOf(t, "0.jpg", "A"), "a.tar.gz": nil, "text.tar": tarOf(t, "0.txt", "A"), "bad.tar": []byte("x"),
		"labels.tar": tarOf(t, "0.cls", "1"),
	})
	empty := shardFolder(t, map[string][]byte{"a.zip": nil})
	tests := []struct{ path, want string }{
		{filepath.Join(dir, "none.tar"), "no such file or directory"},
		{dir, "would have the same keys"},
		{filepath.Join(dir, "{a,a}.tar"), "would have the same keys"},
		{empty, "no .tar, .tar.gz or .tar.zst in it (1 files"},
		{filepath.Join(dir, "{x,y}.tar"), "no image that can be read in 2 shards; first x/: open: no such file or directory"},
		{filepath.Join(dir, "text.tar"), "no image in it (1 shards"},
		{filepath.Join(dir, "bad.tar"), "first bad/@0: is cut short in a header"},
		{filepath.Join(dir, "labels.tar"), "sample has a label and no image"},
		{filepath.Join(dir, "{a,b.tar"), "brace that is not closed"},
		{filepath.Join(dir, "{0..99999999}.tar"), "more than 131072 names"},
		{filepath.Join(dir, "a.tar", "b.tar"), "not a directory"},
		{filepath.Join(dir, "{nested,nested/b}.tar"), "may have the same keys"},
	}
	for _, tt := range tests {
		_, err := Spec{Kind: "webdataset", Path: tt.path}.Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
			t.Errorf("%s: error %v, want one that says %q", tt.path, err, tt.want)
		}
	}
}

func TestWebDatasetDamagedSamples(t *testing.T) {
	long := strings.Repeat("x", maxLabelBytes+1)
	dir := shardFolder(t, map[string][]byte{"a.tar": tarOf(t,
		"ok.jpg", "A", "ok.cls", "1",
		"word.jpg", "B", "word.cls", "Alice",
		"twice.jpg", "C", "twice.cls", "1", "twice.CLS", "2",
		"differ.cls", "1", "differ.jpg", "D", "differ.json", `{"label": 2}`,
		"json.jpg", "E", "json.json", "[1]",
		"long.jpg", "F", "long.cls", long,
		"caption.jpg", "G", "caption.txt", long,
		"only.cls", "1", "only.npy", "H",
		"../out.jpg", "I", "/abs.jpg", "J",
		"n\xfcme.jpg", "K",
		"ok.jpg", "L", "ok.cls", "1",
	)})
	s := walk(t, openedShards(t, filepath.Join(dir, "a.tar")))
	s.want(t, []string{
		"a/ok.jpg | faces/1 | A",
		`a/word.jpg |  ! its .cls: label "Alice" is not an integer`,
		"a/twice.jpg |  ! sample has two members .cls",
		"a/differ.jpg | faces/1 ! its .json: label is 2, another member says 1",
		"a/json.jpg |  ! its .json: is not a JSON object",
		"a/long.jpg |  ! its .cls: has 1048577 bytes, more than the limit of 1048576",
		"a/caption.jpg |  ! its .txt: has 1048577 bytes, more than the limit of 1048576",
		"a/only.cls |  ! sample has a label and no image",
		"a/../out.jpg |  ! has a name that leads out of the archive",
		"a//abs.jpg |  ! has an absolute name",
		`a/n\xfcme.jpg |  | K`,
		"a/ok.jpg@" + fmt.Sprint(offsetOf(t, s, "a/ok.jpg@")) + " | faces/1 ! its name is in the archive twice",
	})
}

// offsetOf is the number at the end of the key that begins with prefix.
func offsetOf(t testing.TB, s seen, prefix string) (offset int) {
	t.Helper()
	for _, item := range s.items {
		if rest, ok := strings.CutPrefix(item.Key, prefix); ok {
			if _, err := fmt.Sscan(rest, &offset); err != nil || offset%512 != 0 {
				t.Errorf("key %s: %v", item.Key, err)
			}
		}
	}
	return offset
}

func TestWebDatasetJSON(t *testing.T) {
	points := align.Landmarks{{X: 1, Y: 2}, {X: 3, Y: 4}, {X: 5, Y: 6}, {X: 7, Y: 8}, {X: 9, Y: 1e1}}
	tests := []struct {
		name, json string
		want       Item
		fault      string
	}{
		{"nothing", `{}`, Item{}, ""},
		{"a name", `{"identity": "Ann"}`, Item{Identity: "Ann"}, ""},
		{"a number", `{"identity": 7}`, Item{Identity: "faces/7"}, ""},
		{"a label", ` {"label" : 7 } `, Item{Identity: "faces/7"}, ""},
		{"a label that is a name", `{"label": "Ann"}`, Item{Identity: "Ann"}, ""},
		{"both", `{"label": 7, "identity": "Ann"}`, Item{Identity: "Ann", Attributes: []Attribute{{"label", "7"}}}, ""},
		{"a negative label", `{"label": -1}`, Item{}, ""},
		{"nulls", `{"label": null, "identity": null, "landmarks": null, "box": null, "split": null, "x": null}`, Item{}, ""},
		{"landmarks", `{"landmarks": [1,2,3,4,5,6,7,8,9,1e1]}`, Item{Landmarks: &points}, ""},
		{"pairs of landmarks", `{"landmarks": [[1,2],[3,4],[5,6],[7,8],[9,10]]}`, Item{Landmarks: &points}, ""},
		{"a box", `{"box": [1,2,3.5,4], "split": "val"}`, Item{Box: &Box{1, 2, 3.5, 4}, Split: "val"}, ""},
		{"attributes", `{"b": "ü\n", "a": 1.50, "c": true, "d": {"e": 1}, "f": [1]}`,
			Item{Attributes: []Attribute{{"b", "ü\n"}, {"a", "1.50"}, {"c", "true"}}}, ""},
		{"a broken number", `{"label": 1.5}`, Item{}, `label "1.5" is not an integer`},
		{"a label that is a list", `{"label": [1]}`, Item{}, "label is neither"},
		{"an identity that is true", `{"identity": true}`, Item{}, "identity is neither"},
		{"a field twice", `{"a": 1, "a": 2}`, Item{}, `"a" is there twice`},
		{"a known field twice", `{"label": 1, "label": 2}`, Item{}, `"label" is there twice`},
		{"the text's field", `{"txt": "a"}`, Item{Attributes: []Attribute{{"txt", "a"}}}, ""},
		{"too few landmarks", `{"landmarks": [1,2]}`, Item{}, "landmarks: 2 numbers, want 10"},
		{"landmarks of text", `{"landmarks": ["1"]}`, Item{}, "landmarks: not a list of numbers"},
		{"landmarks beyond numbers", `{"landmarks": [1e999,2,3,4,5,6,7,8,9,10]}`, Item{}, "landmarks: number 1e999"},
		{"a short box", `{"box": [1,2,3]}`, Item{}, "box: 3 numbers, want 4"},
		{"an empty box", `{"box": [1,2,0,4]}`, Item{}, "box: 0 by 4 pixels"},
		{"a split that is a number", `{"split": 1}`, Item{}, "split is not a string"},
		{"cut short", `{"a": 1`, Item{}, "does not end"},
		{"cut short in a name", `{"a`, Item{}, "does not end"},
		{"cut short in a value", `{"a": [1,`, Item{}, "does not end"},
		{"more behind it", `{} {}`, Item{}, "text behind"},
		{"no JSON", `{a}`, Item{}, "invalid character"},
		{"not UTF-8", "{\"a\": \"\xff\"}", Item{}, "UTF-8"},
		{"empty", "", Item{}, "not a JSON object"},
		{"deep", `{"a":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + "}", Item{}, "depth"},
	}
	var members []string
	for i, tt := range tests {
		members = append(members, fmt.Sprintf("%03d.jpg", i), "A", fmt.Sprintf("%03d.json", i), tt.json)
	}
	members = append(members, "caption.txt", "a face\\\n", "caption.jpg", "B", "odd.txt", "\xff", "odd.jpg", "C", "txt.json", `{"txt": "a"}`, "txt.txt", "b", "txt.jpg", "D")
	dir := shardFolder(t, map[string][]byte{"a.tar": tarOf(t, members...)})
	items := walk(t, openedShards(t, filepath.Join(dir, "a.tar"))).items
	for i, tt := range tests {
		_, err := items[i].Read(nil)
		if tt.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fault) || !strings.Contains(err.Error(), "its .json: ") {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.fault)
			}
			continue
		}
		got := items[i]
		got.Key, got.Read = "", nil
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	rest := items[len(tests):]
	if a := rest[0].Attributes; !reflect.DeepEqual(a, []Attribute{{"txt", "a face\\\n"}}) {
		t.Errorf("caption: %q", a)
	}
	if a := rest[1].Attributes; !reflect.DeepEqual(a, []Attribute{{"txt", `\xff`}}) {
		t.Errorf("odd caption: %q", a)
	}
	if _, err := rest[2].Read(nil); err == nil || !strings.Contains(err.Error(), `its .txt: "txt" is there twice`) {
		t.Errorf("two captions: %v", err)
	}
}

// TestWebDatasetKeepsLargeImagesInTheFile reads an image that is too large to be handed
// over with its item.
func TestWebDatasetKeepsLargeImagesInTheFile(t *testing.T) {
	large := strings.Repeat("large ", 1<<20)
	dir := shardFolder(t, map[string][]byte{"a.tar.gz": gzipped(t, tarOf(t, "0.jpg", "A", "1.jpg", large, "2.jpg", "B"))})
	walk(t, openedShards(t, filepath.Join(dir, "a.tar.gz"))).want(t, []string{"a/0.jpg |  | A", "a/1.jpg |  | " + large, "a/2.jpg |  | B"})
}

func TestWebDatasetHugeMember(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := tar.NewWriter(file)
	const size = imgcodec.MaxBytes + 1
	if err := w.WriteHeader(&tar.Header{Name: "0.jpg", Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(size+511, io.SeekCurrent); err != nil { // a hole
		t.Fatal(err)
	}
	if _, err := file.Write(tarOf(t, "1.jpg", "A")); err != nil {
		t.Skip(err)
	}
	walk(t, openedShards(t, path)).want(t, []string{
		"a/0.jpg |  ! has 1073741825 bytes, more than the limit of 1073741824",
		"a/1.jpg |  | A",
	})
}

func TestWebDatasetStops(t *testing.T) {
	data := tarOf(t, "0.jpg", "A", "1.jpg", "B")
	dir := shardFolder(t, map[string][]byte{"a.tar": data, "b.tar": data})
	src := openedShards(t, dir)
	enough := errors.New("enough")
	seen := 0
	if err := src.Walk(t.Context(), func(Item) error { seen++; return enough }); !errors.Is(err, enough) || seen != 1 {
		t.Errorf("after the visitor's error: %v, %d items", err, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen = 0
	if err := src.Walk(ctx, func(Item) error { seen++; cancel(); return nil }); !errors.Is(err, context.Canceled) || seen > 2 {
		t.Errorf("after cancelling: %v, %d items", err, seen)
	}
}

func FuzzSampleLabels(f *testing.F) {
	f.Add(`{"label": 7, "landmarks": [[1,2],[3,4],[5,6],[7,8],[9,10]], "box": [1,2,3,4], "a": "b"}`, "7")
	f.Add(`{"identity": "Ann", "split": "val", "a": {"b": [1, null]}}`, "-1\n")
	f.Fuzz(func(t *testing.T, object, class string) {
		var l labels
		var failed bool
		alloctest.AtMost(t, 1<<20+200*(len(object)+len(class)), func() {
			l = labels{}
			failed = l.object([]byte(object), "faces") != nil || l.number(strings.TrimSpace(class), "faces") != nil
		})
		if failed {
			return
		}
		seen := map[string]bool{}
		for _, a := range l.item.Attributes {
			if seen[a.Name] || strings.ToValidUTF8(a.Name+a.Value, "") != a.Name+a.Value {
				t.Fatalf("%q gave %q", object, l.item.Attributes)
			}
			seen[a.Name] = true
		}
		if b := l.item.Box; b != nil && !(b.W > 0 && b.H > 0) {
			t.Fatalf("%q gave %+v", object, b)
		}
	})
}

// Names with dots of their own keep their labels, and so do the parts of a sample.
func TestWebDatasetNamesWithDots(t *testing.T) {
	dir := shardFolder(t, map[string][]byte{"a.tar": tarOf(t,
		"x_0.25.jpg", "A", "x_0.25.cls", "1", "x_0.50.cls", "2", "x_0.50.jpg", "B",
		"pair.cls", "3", "pair.left.jpg", "C", "pair.right.jpg", "D", "pair.right.cls", "4", "pair.left.json", `{"split":"val"}`,
		"str.json", `{"identity":"17.0"}`, "str.jpg", "E",
		"neg.json", `{"identity":"-1"}`, "neg.jpg", "F",
		"float.json", `{"label":17.0}`, "float.jpg", "G",
		"half.json", `{"label":17.5}`, "half.jpg", "H",
	)})
	s := walk(t, openedShards(t, filepath.Join(dir, "a.tar")))
	s.want(t, []string{
		"a/x_0.25.jpg | faces/1 | A", "a/x_0.50.jpg | faces/2 | B",
		"a/pair.left.jpg | faces/3 | C", "a/pair.right.jpg | faces/4 | D",
		"a/str.jpg | faces/17 | E", "a/neg.jpg |  | F", "a/float.jpg | faces/17 | G",
		`a/half.jpg |  ! its .json: label "17.5" is not an integer`,
	})
	if s.items[2].Split != "val" || s.items[3].Split != "" {
		t.Errorf("splits %q and %q of a sample's parts", s.items[2].Split, s.items[3].Split)
	}
}

// What is held in memory is told, so that it can be bounded.
func TestWebDatasetTellsWhatItHolds(t *testing.T) {
	data := tarOf(t, "0.jpg", strings.Repeat("A", 1000))
	dir := shardFolder(t, map[string][]byte{"a.tar": data, "b.tar.gz": gzipped(t, data)})
	items := walk(t, openedShards(t, dir)).items
	if items[0].Held != 0 || items[1].Held != 1000 {
		t.Errorf("holds %d bytes of a plain shard and %d of a compressed one, want 0 and 1000", items[0].Held, items[1].Held)
	}
}
