package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/ingest/align"
	"facepipe/internal/alloctest"
	"facepipe/internal/imgcodec"
)

// frame spells a RecordIO frame byte by byte.
func frame(part byte, body []byte) []byte {
	n := len(body)
	out := append([]byte{0x0a, 0x23, 0xd7, 0xce, byte(n), byte(n >> 8), byte(n >> 16), part << 5}, body...)
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}

// header spells a record's header; more than one label make a vector.
func header(id uint64, labels ...float32) []byte {
	out := make([]byte, 24)
	binary.LittleEndian.PutUint64(out[8:], id)
	if len(labels) == 1 {
		binary.LittleEndian.PutUint32(out[4:], math.Float32bits(labels[0]))
		return out
	}
	binary.LittleEndian.PutUint32(out, uint32(len(labels)))
	for _, l := range labels {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(l))
	}
	return out
}

// photoRecord is a record with bytes that stand for an image.
func photoRecord(id uint64, image string, labels ...float32) []byte {
	return frame(0, append(header(id, labels...), image...))
}

// metadata is a record of insightface's without an image.
func metadata(id uint64, from, to float32) []byte { return frame(0, header(id, from, to)) }

// recFolder is a folder with train.rec, of the records in order, and other files.
type recFolder struct {
	dir     string
	offsets []int
	size    int
}

func records(t testing.TB, frames ...[]byte) recFolder {
	t.Helper()
	f := recFolder{dir: filepath.Join(t.TempDir(), "faces")}
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, b := range frames {
		f.offsets = append(f.offsets, f.size)
		f.size += len(b)
	}
	f.put(t, "train.rec", slices.Concat(frames...))
	return f
}

func (f recFolder) put(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// index writes train.idx, with these keys for the records in order.
func (f recFolder) index(t testing.TB, keys ...uint64) {
	t.Helper()
	var b bytes.Buffer
	for i, key := range keys {
		fmt.Fprintf(&b, "%d\t%d\n", key, f.offsets[i])
	}
	f.put(t, "train.idx", b.Bytes())
}

func (f recFolder) change(t testing.TB, offset int, with ...byte) {
	t.Helper()
	path := filepath.Join(f.dir, "train.rec")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[offset:], with)
	f.put(t, "train.rec", data)
}

// seen is what a walk gave.
type seen struct {
	items   []Item
	lines   []string // key, identity, and the image or why there is none
	notices []string
}

func (f recFolder) open(t testing.TB) Source {
	t.Helper()
	src, err := Spec{Kind: "recordio", Path: f.dir}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

func (f recFolder) walk(t testing.TB) seen {
	t.Helper()
	src := f.open(t)
	first, second := walk(t, src), walk(t, src)
	if !reflect.DeepEqual(first.lines, second.lines) || !reflect.DeepEqual(first.notices, second.notices) {
		t.Errorf("a second walk differs: %q %q and %q %q", first.lines, first.notices, second.lines, second.notices)
	}
	return second
}

func walk(t testing.TB, src Source) (s seen) {
	t.Helper()
	err := src.Walk(t.Context(), func(item Item) error {
		s.items = append(s.items, item)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, item := range s.items { // also after the walk, items can be read
		if keys[item.Key] {
			t.Errorf("key %s is there twice", item.Key)
		}
		keys[item.Key] = true
		data, err := item.Read(nil)
		line := item.Key + " | " + item.Identity + " | " + string(data)
		if err != nil {
			line = item.Key + " | " + item.Identity + " ! " + err.Error()
		}
		s.lines = append(s.lines, line)
	}
	if n, ok := src.(Noticer); ok {
		s.notices = n.Notices()
	}
	return s
}

func (s seen) want(t testing.TB, lines []string, notices ...string) {
	t.Helper()
	if !slices.Equal(s.lines, lines) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(s.lines, "\n  "), strings.Join(lines, "\n  "))
	}
	ok := len(s.notices) == len(notices)
	for i := range min(len(s.notices), len(notices)) {
		ok = ok && strings.Contains(s.notices[i], notices[i])
	}
	if !ok {
		t.Errorf("notices\n  %s\nwant\n  %s", strings.Join(s.notices, "\n  "), strings.Join(notices, "\n  "))
	}
}

const noIndexFrom0, noIndexFrom1 = "there is no train.idx: records have the keys 0, 1", "there is no train.idx: records have the keys 1, 2"

var fourFaces = []string{"1 | faces/0 | a", "2 | faces/0 | b", "3 | faces/7 | c", "4 | faces/8 | d"}

// insightface's layout: record 0 in front, or behind the images as face2rec2 writes it.
func front() [][]byte {
	return [][]byte{
		metadata(0, 5, 8),
		photoRecord(1, "a", 0), photoRecord(2, "b", 0), photoRecord(3, "c", 7, 1), photoRecord(4, "d", 8, 0),
		metadata(5, 1, 3), metadata(6, 3, 4), metadata(7, 4, 5),
	}
}

func behind() [][]byte {
	f := front()
	return slices.Concat(f[1:5], f[:1], f[5:])
}

var frontKeys, behindKeys = []uint64{0, 1, 2, 3, 4, 5, 6, 7}, []uint64{1, 2, 3, 4, 0, 5, 6, 7}

func TestRecordIOLayouts(t *testing.T) {
	im2rec := [][]byte{photoRecord(0, "a", 0), photoRecord(1, "b", 0), photoRecord(2, "c", 7)}
	split := [][]byte{
		slices.Concat(frame(1, append(header(0, 3), "face"...)), frame(3, []byte("tail"))),
		photoRecord(1, "b", 3),
	}
	tests := []struct {
		name   string
		frames [][]byte
		index  []uint64 // nil for no file
		lines  []string
		notice []string
	}{
		{"record 0 in front", front(), frontKeys, fourFaces, nil},
		{"record 0 behind the images", behind(), behindKeys, fourFaces, nil},
		{"record 0 in front, no index", front(), nil, fourFaces, []string{noIndexFrom0}},
		{"record 0 behind the images, no index", behind(), nil, fourFaces, []string{noIndexFrom1}},
		{"im2rec", im2rec, []uint64{0, 1, 2}, []string{"0 | faces/0 | a", "1 | faces/0 | b", "2 | faces/7 | c"}, nil},
		{"im2rec in an order of its own", im2rec, []uint64{20, 5, 11}, []string{"20 | faces/0 | a", "5 | faces/0 | b", "11 | faces/7 | c"}, nil},
		{"im2rec, no index", im2rec, nil, []string{"0 | faces/0 | a", "1 | faces/0 | b", "2 | faces/7 | c"}, []string{noIndexFrom0}},
		{"a record in two parts", split, []uint64{0, 1}, []string{"0 | faces/3 | face\x0a\x23\xd7\xcetail", "1 | faces/3 | b"}, nil},
		{"copied records with ids of their own, no index", [][]byte{photoRecord(70, "a", 1), photoRecord(9, "b", 2)}, nil,
			[]string{"0 | faces/1 | a", "1 | faces/2 | b"}, []string{noIndexFrom0}},
		{"labels that name no one, or are no numbers of classes",
			[][]byte{photoRecord(0, "a", -1), photoRecord(1, "b", 0.5), photoRecord(2, "c", float32(math.NaN())), photoRecord(3, "d", float32(math.Inf(1)), 0)},
			[]uint64{0, 1, 2, 3},
			[]string{"0 |  | a", "1 | faces/0.5 | b", "2 |  ! the label is NaN", "3 |  ! the label is +Inf"}, nil},
		{"records that are none",
			[][]byte{photoRecord(0, "a", 1), photoRecord(1, "", 1), frame(0, []byte("short")), frame(0, header(3, 1, 2, 3)[:28])},
			[]uint64{0, 1, 2, 3},
			[]string{"0 | faces/1 | a", "1 |  ! the record holds no image", "2 |  ! a record of 5 bytes is shorter than a header, which takes 24",
				"3 |  ! a record of 28 bytes is too short for 3 labels"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := records(t, tt.frames...)
			if tt.index != nil {
				f.index(t, tt.index...)
			}
			f.walk(t).want(t, tt.lines, tt.notice...)
		})
	}
}

// An image that lost its bytes looks like a record without an image; its key tells.
func TestRecordIOImageWithoutBytes(t *testing.T) {
	frames := front()
	frames[3] = photoRecord(3, "", 7, 1)
	want := slices.Clone(fourFaces)
	want[2] = "3 |  ! the record holds no image"
	f := records(t, frames...)
	f.walk(t).want(t, want, noIndexFrom0)
	f.index(t, frontKeys...)
	f.walk(t).want(t, want)
}

func TestRecordIOUnsoundIndex(t *testing.T) {
	f := records(t, front()...)
	positions := func(why string) string { return "train.idx is not used: " + why }
	tests := []struct{ name, index, why string }{
		{"empty", "", "is empty"},
		{"no numbers", "hello\n", "line 1:"},
		{"binary", "\x00\xff\x00", "line 1:"},
		{"key twice", "0\t0\n0\t40\n", "key 0 is there twice"},
		{"of another file", "0\t4\n1\t8\n2\t12\n3\t500\n", "3 of 3 entries looked at lead to no record"},
		{"beyond the file", "0\t5000\n1\t6000\n", "0 of 0 entries"},
		{"of an earlier, shorter file", fmt.Sprintf("0\t0\n1\t%d\n2\t%d\n", f.offsets[1], f.offsets[2]), "ends before train.rec"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.put(t, "train.idx", []byte(tt.index))
			f.walk(t).want(t, fourFaces, positions(tt.why))
		})
	}
	if err := errors.Join(os.Remove(filepath.Join(f.dir, "train.idx")), os.Mkdir(filepath.Join(f.dir, "train.idx"), 0o755)); err != nil {
		t.Fatal(err)
	}
	f.walk(t).want(t, fourFaces, positions("not a regular file"))
}

// Entries that lead nowhere are told, and records that they should have led to are kept.
func TestRecordIOIndexWithWrongEntries(t *testing.T) {
	f := records(t, front()...)
	o := f.offsets
	f.put(t, "train.idx", fmt.Appendf(nil, "0\t%d\n1\t%d\n2\t%d\n3\t%d\n4\t%d\n6\t%d\n7\t%d\n", o[0], o[1], o[2]+8, o[3], o[4], o[6], o[7]))
	f.walk(t).want(t, []string{
		fourFaces[0],
		fmt.Sprintf("2 |  ! no record begins at byte %d, where the index has one", o[2]+8),
		fmt.Sprintf("@%d | faces/0 | b", o[2]),
		fourFaces[2], fourFaces[3],
	}, "1 records are not in the index")
}

func TestRecordIODamage(t *testing.T) {
	damage := func(f recFolder, from, to int, why string) string {
		return fmt.Sprintf(" |  ! damaged from byte %d to %d: %s", f.offsets[from], f.offsets[to], why)
	}
	const magic = "0xced7230b instead of the magic word"
	for _, indexed := range []bool{true, false} {
		for _, inFront := range []bool{true, false} {
			t.Run(fmt.Sprintf("index %v, record 0 in front %v", indexed, inFront), func(t *testing.T) {
				frames, keys, first := front(), frontKeys, 1
				notice := []string{noIndexFrom0}
				if !inFront {
					frames, keys, first = behind(), behindKeys, 0
					notice = []string{noIndexFrom1}
				}
				f := records(t, frames...)
				if indexed {
					f.index(t, keys...)
					notice = nil
				}
				// The second and the third image are lost: their magic words are damaged, and
				// the second's length.
				two, three := f.offsets[first+1], f.offsets[first+2]
				f.change(t, two, 0x0b)
				f.change(t, two+5, 0x01)
				f.change(t, three, 0x0b)
				// The first is taken for damaged as well: nothing says where it ends.
				tail := "no record follows at byte " + fmt.Sprint(two)
				d := damage(f, first, first+3, tail)
				want := []string{"1" + d, "2" + d, "3" + d, fourFaces[3]}
				if !indexed {
					// How many records were lost cannot be known: the first image cannot say
					// that ids are keys. What is left is numbered on.
					want = []string{"1" + d, "2 | faces/8 | d"}
					if !inFront {
						want, notice = []string{"0" + d, "1 | faces/8 | d"}, []string{noIndexFrom0}
					}
				}
				f.walk(t).want(t, want, notice...)
			})
		}
	}
	t.Run("ids tell how many were lost", func(t *testing.T) {
		f := records(t, front()...)
		f.change(t, f.offsets[2]+7, 0x80)
		f.change(t, f.offsets[3], 0x0b)
		f.walk(t).want(t, []string{fourFaces[0], "2" + damage(f, 2, 4, "a frame with the unknown part number 4"), fourFaces[3]}, noIndexFrom0)
	})
	t.Run("a damaged id is not believed", func(t *testing.T) {
		f := records(t, front()...)
		f.change(t, f.offsets[2], 0x0b)
		f.change(t, f.offsets[3]+16+6, 0x01)
		f.walk(t).want(t, []string{fourFaces[0], "2" + damage(f, 2, 3, magic), fourFaces[2], fourFaces[3]}, noIndexFrom0)
	})
	t.Run("record 0", func(t *testing.T) {
		f := records(t, front()...)
		f.change(t, 0, 0x0b)
		f.walk(t).want(t, append([]string{"0" + damage(f, 0, 1, magic)}, fourFaces...), noIndexFrom0)
		f.index(t, frontKeys...)
		f.walk(t).want(t, append([]string{"0" + damage(f, 0, 1, magic)}, fourFaces...))
	})
	t.Run("an identity", func(t *testing.T) {
		f := records(t, front()...)
		f.change(t, f.offsets[6], 0x0b)
		f.index(t, frontKeys...)
		f.walk(t).want(t, append(slices.Clone(fourFaces), "6"+damage(f, 6, 7, magic)))
	})
}

func TestRecordIOTruncated(t *testing.T) {
	whole := records(t, front()...)
	file, err := os.ReadFile(filepath.Join(whole.dir, "train.rec"))
	if err != nil {
		t.Fatal(err)
	}
	for n := whole.offsets[2]; n < len(file); n++ {
		f := records(t, file[:n])
		f.offsets = whole.offsets
		for _, indexed := range []bool{false, true} {
			if indexed {
				f.index(t, frontKeys...)
			}
			s := walk(t, f.open(t))
			got := map[string]string{}
			for i, item := range s.items {
				got[item.Key] = s.lines[i]
			}
			for i, want := range fourFaces {
				key := fmt.Sprint(i + 1)
				whole := n >= whole.offsets[i+2]
				switch {
				case whole && got[key] != want:
					t.Fatalf("cut at byte %d, index %v: %q", n, indexed, s.lines)
				case !whole && indexed && !strings.Contains(got[key], "!"), !whole && !indexed && got[key] != "" && !strings.Contains(got[key], "!"):
					t.Fatalf("cut at byte %d, index %v: %q is no reject", n, indexed, got[key])
				}
			}
			if indexed && len(s.items) < 4 {
				t.Fatalf("cut at byte %d: missing images are not told: %q", n, s.lines)
			}
		}
	}
}

// Whatever bit is flipped, images keep the key, the identity and the bytes that they
// had, or a reject or a notice tells; only the flipped byte of an image or a label itself
// may go by.
func TestRecordIOFlippedBits(t *testing.T) {
	whole := records(t, front()...)
	file, err := os.ReadFile(filepath.Join(whole.dir, "train.rec"))
	if err != nil {
		t.Fatal(err)
	}
	whole.index(t, frontKeys...)
	for at := range file { // package recordio flips every bit; here files are written
		bit := 8*at + at*5%8
		flipped := bytes.Clone(file)
		flipped[at] ^= 1 << (bit % 8)
		whole.put(t, "train.rec", flipped)
		s := walk(t, whole.open(t))
		hit := 0
		for hit+1 < len(whole.offsets) && whole.offsets[hit+1] <= at {
			hit++
		}
		for i, item := range s.items {
			if strings.Contains(s.lines[i], "!") || slices.Contains(fourFaces, s.lines[i]) {
				continue
			}
			if item.Key != fmt.Sprint(hit) && !strings.HasPrefix(item.Key, "@") {
				t.Fatalf("bit %d of record %d: %q", bit, hit, s.lines)
			}
		}
		if len(s.items) < 4 {
			t.Fatalf("bit %d of record %d: %d items, images went missing silently: %q", bit, hit, len(s.items), s.lines)
		}
	}
}

func TestRecordIOInexactLabels(t *testing.T) {
	const big = 1 << 24
	t.Run("labels", func(t *testing.T) {
		f := records(t, photoRecord(0, "a", big-1), photoRecord(1, "b", big+1), photoRecord(2, "c", big+2))
		f.index(t, 0, 1, 2)
		f.walk(t).want(t, []string{"0 | faces/16777215 | a", "1 | faces/16777216 | b", "2 | faces/16777218 | c"},
			"2 labels are 16777216 or above")
	})
	t.Run("ranges", func(t *testing.T) {
		// Three people with keys from 2^24-1 on; the second's range ends at 2^24+3, which
		// becomes 2^24+4, and the third's begins there.
		const k = uint64(big)
		end := float32(big + 3)
		f := records(t, metadata(0, big+6, big+9),
			photoRecord(k-1, "a", 0), photoRecord(k, "b", 0), photoRecord(k+1, "c", 1), photoRecord(k+2, "d", 1), photoRecord(k+3, "e", 2), photoRecord(k+4, "f", 2),
			metadata(k+6, big-1, float32(big+1)), metadata(k+7, float32(big+1), end), metadata(k+8, end, big+6))
		f.index(t, 0, k-1, k, k+1, k+2, k+3, k+4, k+6, k+7, k+8)
		f.walk(t).want(t, []string{
			"16777215 | faces/0 | a", "16777216 | faces/0 | b", "16777217 | faces/1 | c",
			"16777218 | faces/1 | d", "16777219 | faces/2 | e", "16777220 | faces/2 | f",
		}, "3 of 3 ranges of keys do not fit the images' labels, 3 of them beyond 16777216")
	})
	t.Run("ranges that are wrong without that", func(t *testing.T) {
		f := front()
		f[5], f[6] = metadata(5, 1, 2), metadata(6, 2, 4)
		r := records(t, f...)
		r.index(t, frontKeys...)
		r.walk(t).want(t, fourFaces, "2 of 3 ranges of keys do not fit the images' labels, 0 of them")
	})
	t.Run("record 0 that promises more", func(t *testing.T) {
		f := front()
		f[0] = metadata(0, 9, 12)
		r := records(t, f[:5]...)
		r.walk(t).want(t, fourFaces, noIndexFrom0, "record 0 says that images have the keys 1 to 8, but the highest key of one is 4")
	})
}

func TestRecordIOPaths(t *testing.T) {
	dir := func(names ...string) string {
		files := map[string][]byte{}
		for _, n := range names {
			files[n] = photoRecord(0, "a", 0)
		}
		return tree(t, files)
	}
	open := func(path string) error {
		src, err := Spec{Kind: "recordio", Path: path}.Open(t.Context())
		if err == nil {
			err = src.Close()
		}
		return err
	}
	two := dir("a.rec", "b.rec")
	for _, path := range []string{dir("train.rec", "other.rec"), dir("any.rec", "notes.txt"), filepath.Join(two, "b.rec"), filepath.Join(dir("records.bin"), "records.bin")} {
		if err := open(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	historic := append([]byte{0x0a, 0x23, 0xd7, 0x3e}, photoRecord(0, "a", 0)[4:]...)
	bad := tree(t, map[string][]byte{
		"text.rec": []byte("not records"), "empty.rec": {}, "only-metadata.rec": metadata(0, 1, 1), "historic.rec": historic,
	})
	for path, want := range map[string]string{
		two: "2 .rec files in it and no train.rec", dir("notes.txt"): "no .rec file in it",
		filepath.Join(bad, "none.rec"): "no such file", filepath.Join(bad, "text.rec"): "no record with an image",
		filepath.Join(bad, "empty.rec"): "no record with an image", filepath.Join(bad, "only-metadata.rec"): "no record with an image",
		filepath.Join(bad, "historic.rec"): "early 2015", "/dev/null": "not a regular file",
	} {
		if err := open(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}

func TestRecordIOWalkStops(t *testing.T) {
	src := records(t, front()...).open(t)
	stop := errors.New("stop")
	visited := 0
	err := src.Walk(t.Context(), func(Item) error { visited++; return stop })
	if !errors.Is(err, stop) || visited != 1 {
		t.Errorf("visited %d, error %v", visited, err)
	}
	if src.Digest() != "" {
		t.Error("a digest of several files")
	}
}

// landmarksOf are what the lists below say: within 150x140 pixels.
var landmarksOf = align.Landmarks{{X: 41.5, Y: 60}, {X: 90, Y: 61}, {X: 66, Y: 85}, {X: 45, Y: 110}, {X: 88, Y: 111}}

const faceFields = "\t20\t30\t120\t135\t41.5\t90\t66\t45\t88\t60\t61\t85\t110\t111"

func TestRecordIOLists(t *testing.T) {
	png := func(w, h int) string { return string(imgcodec.EncodePNG(imgcodec.NewImage(w, h))) }
	photograph, crop := png(150, 140), png(112, 112)
	tests := []struct {
		name     string
		list     string
		property string
		images   [2]string
		ids      [2]uint64
		paths    [2]string
		faces    [2]bool
		notice   string
	}{
		{name: "im2rec", list: "2\t4\tb/2.png\n9\t1\tlost.png\n1\t3\ta\\1.png\n", ids: [2]uint64{2, 1}, paths: [2]string{"b/2.png", `a\\1.png`}},
		{name: "insightface, aligned", list: "1\ta.png\t4" + faceFields + "\n1\tb.png\t3\n", images: [2]string{photograph, crop}, ids: [2]uint64{1, 2}, paths: [2]string{"a.png", "b.png"}},
		{name: "landmarks of photographs, not of crops", list: "0\ta.png\t4" + faceFields + "\n0\tb.png\t3" + faceFields + "\n",
			images: [2]string{photograph, crop}, ids: [2]uint64{1, 2}, paths: [2]string{"a.png", "b.png"}, faces: [2]bool{true, false}},
		{name: "the property file says that these are crops", list: "0\ta.png\t4" + faceFields + "\n", property: "2,140,150\n",
			images: [2]string{photograph, photograph}, ids: [2]uint64{1, 2}, paths: [2]string{"a.png", ""}},
		{name: "landmarks outside the image", list: "0\ta.png\t4" + strings.Replace(faceFields, "\t90", "\t151", 1) + "\n", images: [2]string{photograph, ""}, ids: [2]uint64{1, 2}, paths: [2]string{"a.png", ""}},
		{name: "not an image", list: "0\ta.png\t4" + faceFields + "\n", images: [2]string{"text", ""}, ids: [2]uint64{1, 2}, paths: [2]string{"a.png", ""}},
		{name: "copied records, whose ids are not their keys", list: "1\ta.png\t4\n1\tb.png\t3\n", ids: [2]uint64{5, 5}},
		{name: "of another dataset", list: "1\ta.png\t4\n1\tb.png\t12\n", ids: [2]uint64{1, 2}, paths: [2]string{"a.png", ""}, notice: "the label 12 for key 2, the record has 3"},
		{name: "damaged", list: "1\ta.png\t4\n1\tb.png\n", ids: [2]uint64{1, 2}, paths: [2]string{"a.png", ""}, notice: "line 2: 2 fields"},
		{name: "binary", list: "\x00\xff", ids: [2]uint64{1, 2}, notice: "line 1:"},
		{name: "not in order", list: "7\t1\tx\n" + strings.Repeat("8\t1\ty\n", 5000), ids: [2]uint64{1, 2}, notice: "no line for key 1 within"},
		{name: "empty", ids: [2]uint64{1, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i, image := range tt.images {
				if image == "" {
					tt.images[i] = "any"
				}
			}
			f := records(t, photoRecord(tt.ids[0], tt.images[0], 4), photoRecord(tt.ids[1], tt.images[1], 3))
			keys := []uint64{1, 2}
			if tt.ids == [2]uint64{2, 1} {
				keys = tt.ids[:]
			}
			f.index(t, keys...)
			f.put(t, "train.lst", []byte(tt.list))
			if tt.property != "" {
				f.put(t, "property", []byte(tt.property))
			}
			s := f.walk(t)
			for i, item := range s.items {
				var attributes []Attribute
				if tt.paths[i] != "" {
					attributes = []Attribute{{"path", tt.paths[i]}}
				}
				if !reflect.DeepEqual(item.Attributes, attributes) {
					t.Errorf("record %d: attributes %v, want %v", i, item.Attributes, attributes)
				}
				if !tt.faces[i] {
					if item.Landmarks != nil || item.Box != nil {
						t.Errorf("record %d: landmarks %v, box %v", i, item.Landmarks, item.Box)
					}
				} else if item.Landmarks == nil || *item.Landmarks != landmarksOf || item.Box == nil || *item.Box != (Box{X: 20, Y: 30, W: 100, H: 105}) {
					t.Errorf("record %d: landmarks %v, box %v", i, item.Landmarks, item.Box)
				}
			}
			if got := strings.Join(s.notices, "\n"); (got == "") != (tt.notice == "") || !strings.Contains(got, tt.notice) {
				t.Errorf("notices %q, want %q", got, tt.notice)
			}
		})
	}
}

// What stands in the place of a file beside the records, and is none, is told.
func TestRecordIOIrregular(t *testing.T) {
	for _, name := range []string{"train.lst", "property"} {
		f := records(t, front()...)
		f.index(t, frontKeys...)
		if err := os.Symlink(filepath.Join(f.dir, "lost"), filepath.Join(f.dir, name)); err != nil {
			t.Fatal(err)
		}
		f.walk(t).want(t, fourFaces, name+" is not used: ")
	}
}

func TestRecordIOProperty(t *testing.T) {
	f := records(t, front()...)
	f.index(t, frontKeys...)
	f.put(t, "property", []byte("hello"))
	f.walk(t).want(t, fourFaces, "property is not used: want classes,height,width")
}

// FuzzRecordIO: no bytes of .rec, .idx and .lst make a walk fail, or give a key twice.
func FuzzRecordIO(f *testing.F) {
	f.Add(slices.Concat(front()...), []byte("0\t0\n1\t40\n2\t76\n"), []byte("1\ta.png\t0\n"))
	f.Add(slices.Concat(behind()...), []byte{}, []byte("1\t0\ta.png\n"))
	f.Add(slices.Concat(front()...)[3:], []byte("5\t0\n"), []byte{})
	f.Fuzz(func(t *testing.T, rec, idx, lst []byte) {
		r := records(t, rec)
		r.put(t, "train.idx", idx)
		r.put(t, "train.lst", lst)
		open := func() (Source, error) { return Spec{Kind: "recordio", Path: r.dir}.Open(t.Context()) }
		alloctest.AtMost(t, 1<<20+500*(len(rec)+len(idx)+len(lst)), func() {
			if src, err := open(); err == nil {
				_ = errors.Join(src.Walk(t.Context(), func(Item) error { return nil }), src.Close())
			}
		})
		src, err := open()
		if err != nil {
			return
		}
		defer func() { _ = src.Close() }()
		walk(t, src)
	})
}

func BenchmarkRecordIOWalk(b *testing.B) {
	image := strings.Repeat("x", 6000)
	var frames [][]byte
	for i := range 5000 {
		frames = append(frames, photoRecord(uint64(i), image, float32(i/10)))
	}
	f := records(b, frames...)
	keys := make([]uint64, len(frames))
	for i := range keys {
		keys[i] = uint64(i)
	}
	f.index(b, keys...)
	src := f.open(b)
	b.SetBytes(int64(f.size))
	for b.Loop() {
		if err := src.Walk(b.Context(), func(Item) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
