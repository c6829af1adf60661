package webdataset_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/internal/webdataset"
)

// entry is a member of an archive that a test writes.
type entry struct{ name, data string }

// pack is an archive as archive/tar writes it.
func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		add(t, w, tar.Header{Name: e.name}, e.data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func add(t testing.TB, w *tar.Writer, h tar.Header, data string) {
	t.Helper()
	h.Mode, h.Size = 0o644, int64(len(data))
	err := w.WriteHeader(&h)
	if err == nil {
		_, err = io.WriteString(w, data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func compressed(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// saved is a file of the bytes.
func saved(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shard.tar")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// walk writes down what is in an archive, a line for a sample or damage. Members that are
// held are marked with a star.
func walk(t testing.TB, data []byte, hold func(*webdataset.Member) bool) []string {
	t.Helper()
	if hold == nil {
		hold = func(*webdataset.Member) bool { return true }
	}
	shard, err := webdataset.Open(saved(t, data))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	err = shard.Walk(t.Context(), webdataset.Visitor{
		Hold: hold,
		Sample: func(s webdataset.Sample) error {
			line := s.Key + ":"
			for i := range s.Members {
				data, err := shard.Read(&s.Members[i], nil)
				line += fmt.Sprintf(" %s=%.20q", s.Members[i].Extension, data)
				if err != nil {
					line += "(" + err.Error() + ")"
				}
			}
			if s.Fault != nil {
				line += " fault: " + s.Fault.Error()
			}
			lines = append(lines, line)
			return nil
		},
		Damage: func(d webdataset.Damage) error {
			lines = append(lines, fmt.Sprintf("damage at %d, %d bytes: %v", d.Offset, d.Length, d.Err))
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestSamples(t *testing.T) {
	archive := pack(t,
		entry{"README", "no extension"},
		entry{"0.jpg", "A"}, entry{"0.cls", "7"},
		entry{"1.cls", "8"}, entry{"1.LEFT.Jpg", "B"}, entry{"1.right.jpg", "C"},
		entry{"dir/", ""},
		entry{"./dir//1.jpg", "D"}, entry{"dir/1.json", "{}"},
		entry{"other/1.jpg", "E"},
		entry{".hidden.jpg", "F"}, entry{"._0.jpg", "G"},
		entry{"2.png", "H"},
	)
	want := []string{
		`README: ="no extension"`,
		`0: jpg="A" cls="7"`,
		`1: cls="8" left.jpg="B" right.jpg="C"`,
		`dir/1: jpg="D" json="{}"`,
		`other/1: jpg="E"`,
		`2: png="H"`,
	}
	wantLines(t, walk(t, archive, nil), want...)
	wantLines(t, walk(t, archive, func(*webdataset.Member) bool { return false }), want...)
	wantLines(t, walk(t, compressed(t, archive), nil), want...)
	wantLines(t, walk(t, compressed(t, archive), func(m *webdataset.Member) bool { return m.Extension == "cls" }), want...)
}

func TestNamesThatLeadOut(t *testing.T) {
	wantLines(t, walk(t, pack(t,
		entry{"../../etc/0.jpg", "A"}, entry{"/abs/0.jpg", "B"}, entry{"a/../../b.jpg", "C"}, entry{"..jpg", "D"}, entry{"a..b/0.jpg", "E"},
	), nil),
		`../../etc/0: jpg=""(has a name that leads out of the archive)`,
		`/abs/0: jpg=""(has an absolute name)`,
		`a/../../b: jpg=""(has a name that leads out of the archive)`,
		`a..b/0: jpg="E"`,
	)
}

func TestMembersThatAreNoFiles(t *testing.T) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add(t, w, tar.Header{Name: "0.jpg", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, "")
	add(t, w, tar.Header{Name: "1.jpg", Typeflag: tar.TypeLink, Linkname: "0.jpg"}, "")
	add(t, w, tar.Header{Name: "2.jpg", Typeflag: tar.TypeFifo}, "")
	add(t, w, tar.Header{Name: "3.jpg", Typeflag: tar.TypeChar}, "")
	add(t, w, tar.Header{Name: "4.jpg", Typeflag: tar.TypeDir}, "")
	add(t, w, tar.Header{Name: "5.jpg"}, "fine")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	wantLines(t, walk(t, buf.Bytes(), nil),
		`0: jpg=""(is a symbolic link)`,
		`1: jpg=""(is a hard link to another member)`,
		`2: jpg=""(is a named pipe)`,
		`3: jpg=""(is a device)`,
		`5: jpg="fine"`,
	)
}

// block is a header of one's own making.
func block(name string, size int64, kind byte, change func([]byte)) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[124:], fmt.Sprintf("%011o", size))
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	if change != nil {
		change(b)
	}
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// padded fills the last block of data.
func padded(data string) []byte {
	return append([]byte(data), make([]byte, -len(data)&511)...)
}

var endMarker = make([]byte, 1024)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestOddHeaders(t *testing.T) {
	long := strings.Repeat("d/", 80) + "x"
	pax := func(records string) []byte {
		return join(block("pax", int64(len(records)), 'x', nil), padded(records))
	}
	tests := []struct {
		name    string
		archive []byte
		want    []string
	}{
		{"before POSIX", join(block("0.jpg", 1, 0, func(b []byte) { copy(b[257:], make([]byte, 8)) }), padded("A")), []string{`0: jpg="A"`}},
		{"folder before POSIX", join(block("0.jpg/", 0, 0, nil)), nil},
		{"contiguous", join(block("0.jpg", 1, '7', nil), padded("A")), []string{`0: jpg="A"`}},
		{"unknown type", join(block("0.jpg", 1, 'Z', nil), padded("A")), []string{`0: jpg=""(is a member of unknown type 'Z')`}},
		{"size of base 256", join(block("0.jpg", 0, '0', func(b []byte) { copy(b[124:], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01") }), padded("A")), []string{`0: jpg="A"`}},
		{"size with spaces", join(block("0.jpg", 0, '0', func(b []byte) { copy(b[124:], "         1 \x00") }), padded("A")), []string{`0: jpg="A"`}},
		{"prefix", join(block("0.jpg", 1, '0', func(b []byte) { copy(b[345:], "some/dir") }), padded("A")), []string{`some/dir/0: jpg="A"`}},
		{"GNU long name", join(block("././@LongLink", 165, 'L', func(b []byte) { copy(b[257:], "ustar  \x00") }), padded(long+".jpg\x00"), block("cut", 1, '0', nil), padded("A")), []string{long + `: jpg="A"`}},
		{"GNU long link", join(block("././@LongLink", 165, 'K', nil), padded(long+".jpg\x00"), block("0.jpg", 1, '0', nil), padded("A")), []string{`0: jpg="A"`}},
		{"pax name", join(pax("17 path=ü/0.jpg\n"), block("cut", 1, '0', nil), padded("A")), []string{`ü/0: jpg="A"`}},
		{"pax size", join(pax("10 size=1\n"), block("0.jpg", 0, '0', nil), padded("A")), []string{`0: jpg="A"`}},
		{"pax for one member only", join(pax("14 path=0.jpg\n"), block("cut.jpg", 1, '0', nil), padded("A"), block("2.jpg", 1, '0', nil), padded("B")),
			[]string{`0: jpg="A"`, `2: jpg="B"`}},
		{"pax global", join(block("pax", 15, 'g', nil), padded("15 path=0.jpg\n\n"), block("1.jpg", 1, '0', nil), padded("A")), []string{`1: jpg="A"`}},
		{"pax sparse", join(pax("22 GNU.sparse.major=1\n"), block("0.jpg", 1, '0', nil), padded("A")), []string{`0: jpg=""(is a sparse file)`}},
		{"GNU sparse", join(block("0.jpg", 1, 'S', func(b []byte) { b[482] = 1 }), func() []byte { b := make([]byte, 512); b[504] = 1; return b }(), make([]byte, 512), padded("A"), block("1.jpg", 1, '0', nil), padded("B")),
			[]string{`0: jpg=""(is a sparse file)`, `1: jpg="B"`}},
	}
	for _, tt := range tests {
		got := walk(t, join(tt.archive, endMarker), nil)
		if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s: got\n  %s\nwant\n  %s", tt.name, strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
		}
	}
}

func TestDamage(t *testing.T) {
	z := join(block("z.cls", 1, '0', nil), padded("6"), block("z.jpg", 1, '0', nil), padded("Z"))
	a := join(block("0.cls", 1, '0', nil), padded("7"), block("0.jpg", 1, '0', nil), padded("A"))
	b := join(block("1.cls", 1, '0', nil), padded("8"), block("1.jpg", 1, '0', nil), padded("B"))
	c := join(block("2.cls", 1, '0', nil), padded("9"), block("2.jpg", 1, '0', nil), padded("C"))
	flipped := func(data []byte, at int) []byte {
		data = bytes.Clone(data)
		data[at] ^= 0x10
		return data
	}
	zeroed := func(data []byte, from, to int) []byte {
		data = bytes.Clone(data)
		clear(data[from:to])
		return data
	}
	sampleZ := `z: cls="6" jpg="Z"`
	sampleA, sampleB, sampleC := `0: cls="7" jpg="A"`, `1: cls="8" jpg="B"`, `2: cls="9" jpg="C"`
	huge := block("1.jpg", 1<<32, '0', nil)
	tests := []struct {
		name    string
		archive []byte
		want    []string
	}{
		{"none", join(a, b, c, endMarker), []string{sampleA, sampleB, sampleC}},
		{"padding behind the end", join(a, b, c, endMarker, make([]byte, 9000)), []string{sampleA, sampleB, sampleC}},
		{"first header of a sample", join(z, a, flipped(b, 3), c, endMarker), []string{
			sampleZ, sampleA, "damage at 4096, 1024 bytes: no tar header",
			`1: jpg="B" fault: archive is damaged next to it: no tar header`, sampleC}},
		{"second header of a sample", join(a, flipped(b, 1024+3), c, endMarker), []string{
			sampleA, `1: cls="8" fault: archive is damaged next to it: no tar header`,
			"damage at 3072, 1024 bytes: no tar header", sampleC}},
		{"no sample to compare with", join(a, flipped(b, 3), c, endMarker), []string{
			sampleA + " fault: archive is damaged next to it: no tar header", "damage at 2048, 1024 bytes: no tar header",
			`1: jpg="B" fault: archive is damaged next to it: no tar header`, sampleC}},
		{"first header of all", join(flipped(a, 3), b, c, endMarker), []string{
			"damage at 0, 1024 bytes: no tar header",
			`0: jpg="A" fault: archive is damaged next to it: no tar header`, sampleB, sampleC}},
		{"a hole", join(z, a, zeroed(b, 0, 1030), c, endMarker), []string{
			sampleZ, sampleA, "damage at 4096, 2048 bytes: has data behind its end marker", sampleC}},
		{"a hole of whole members", join(a, zeroed(b, 0, 1024), c, endMarker), []string{sampleA, `1: jpg="B"`, sampleC}},
		{"lost bytes", join(a, b[:700], c, endMarker), []string{
			sampleA, `1: cls="8" fault: archive is damaged next to it: no tar header`,
			"damage at 3072, 700 bytes: no tar header",
			`2: jpg="C" fault: archive is damaged next to it: no tar header`}},
		{"lost bytes in a header", join(a, b[:1024+100], c, endMarker), []string{
			sampleA, `1: cls="8" fault: archive is damaged next to it: no tar header`,
			"damage at 3072, 100 bytes: no tar header", sampleC}},
		{"no end marker", join(a, b), []string{sampleA, sampleB, "damage at 4096, 0 bytes: ends without an end marker, as if it was cut short"}},
		{"cut between the members of a sample", join(a, b[:1024]), []string{
			sampleA, `1: cls="8" fault: archive is damaged next to it: ends without an end marker, as if it was cut short`,
			"damage at 3072, 0 bytes: ends without an end marker, as if it was cut short"}},
		{"cut in a header", join(z, a, b[:100]), []string{sampleZ, sampleA, "damage at 4096, 100 bytes: is cut short in a header"}},
		{"one block of the end marker", join(a, endMarker[:512]), []string{sampleA}},
		{"archives behind each other", join(a, endMarker, make([]byte, 8192), b, endMarker, c, endMarker), []string{sampleA, sampleB, sampleC}},
		{"text behind the end", join(z, a, endMarker, []byte("hello")), []string{sampleZ, sampleA, "damage at 4096, 1029 bytes: has data behind its end marker"}},
		{"a size beyond the file", join(a, huge, padded("B"), c, endMarker), []string{
			sampleA, `1: jpg=""(is cut short) fault: archive is damaged next to it: is cut short`,
			"damage at 2048, 1024 bytes: is cut short", sampleC}},
		{"no archive", []byte(strings.Repeat("no archive\n", 1000)), []string{"damage at 0, 11000 bytes: no tar header"}},
		{"empty", nil, []string{"damage at 0, 0 bytes: ends without an end marker, as if it was cut short"}},
		{"only an end", endMarker, nil},
		{"a pax header of nothing", join(block("pax", 4, 'x', nil), padded("abcd"), a, endMarker), []string{
			"damage at 0, 1024 bytes: malformed pax header: a record of no length", sampleA + " fault: archive is damaged next to it: malformed pax header: a record of no length"}},
		{"an endless pax header", join(block("pax", 1<<30, 'x', nil), a, endMarker), []string{
			"damage at 0, 512 bytes: malformed pax header: has 1073741824 bytes, more than the limit of 1048576", sampleA + " fault: archive is damaged next to it: malformed pax header: has 1073741824 bytes, more than the limit of 1048576"}},
		{"a name with NUL", join(block("pax", 14, 'x', nil), padded("14 path=0\x00jpg\n"), a, endMarker), []string{
			"damage at 0, 1024 bytes: malformed pax header: a name with NUL", sampleA + " fault: archive is damaged next to it: malformed pax header: a name with NUL"}},
	}
	for _, tt := range tests {
		got := walk(t, tt.archive, nil)
		if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s: got\n  %s\nwant\n  %s", tt.name, strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
		}
	}
}

// many is an archive of samples whose images are longer than a block.
func many(t testing.TB, n int) (archive []byte, want map[string]string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	want = map[string]string{}
	var entries []entry
	for i := range n {
		data := make([]byte, 200+rng.IntN(700))
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		key := fmt.Sprintf("s%03d", i)
		entries = append(entries, entry{key + ".cls", fmt.Sprint(i)}, entry{key + ".jpg", string(data)})
		want[key] = fmt.Sprintf("%d|%s", i, data)
	}
	return pack(t, entries...), want
}

// sound reads the samples that have no fault.
func sound(t testing.TB, path string) (got map[string]string, damages int) {
	t.Helper()
	shard, err := webdataset.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got = map[string]string{}
	err = shard.Walk(t.Context(), webdataset.Visitor{
		Hold: func(m *webdataset.Member) bool { return m.Extension == "cls" },
		Sample: func(s webdataset.Sample) error {
			var parts []string
			for i := range s.Members {
				data, err := shard.Read(&s.Members[i], nil)
				if err != nil {
					return nil
				}
				parts = append(parts, string(data))
			}
			if s.Fault == nil {
				got[s.Key] = strings.Join(parts, "|")
			}
			return nil
		},
		Damage: func(webdataset.Damage) error { damages++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, damages
}

func TestTruncatedAnywhere(t *testing.T) {
	archive, want := many(t, 4)
	for _, data := range [][]byte{archive, compressed(t, archive)} {
		path := saved(t, data)
		before := len(want)
		for n := len(data) - 1; n >= 0; n-- {
			if err := os.Truncate(path, int64(n)); err != nil {
				t.Fatal(err)
			}
			got, damages := sound(t, path)
			for key, value := range got {
				if want[key] != value {
					t.Fatalf("the first %d bytes gave another %s", n, key)
				}
			}
			if len(got) > before {
				t.Fatalf("the first %d bytes gave %d samples, more gave %d", n, len(got), before)
			}
			// Without a part of the end marker, an archive is whole.
			if before = len(got); damages == 0 && before < len(want) {
				t.Fatalf("the first %d bytes gave %d samples and no damage", n, before)
			}
			if n == len(data)-1 && before != len(want) {
				t.Errorf("only %d samples before the last byte", before)
			}
		}
	}
}

// flips runs check with every seventh bit of a file flipped, one at a time: of every byte
// another.
func flips(t *testing.T, data []byte, check func(path string, bit int)) {
	t.Helper()
	path := saved(t, data)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for bit := 0; bit < 8*len(data); bit += 7 {
		at := int64(bit / 8)
		if _, err := file.WriteAt([]byte{data[at] ^ 1<<(bit%8)}, at); err != nil {
			t.Fatal(err)
		}
		check(path, bit)
		if _, err := file.WriteAt(data[at:at+1], at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFlippedBits(t *testing.T) {
	archive, want := many(t, 4)
	flips(t, archive, func(path string, bit int) {
		got, damages := sound(t, path)
		wrong := 0
		for key, value := range want {
			if got[key] != value {
				wrong++
			}
		}
		if wrong > 2 || damages > 1 {
			t.Fatalf("bit %d cost %d samples and %d damages", bit, wrong, damages)
		}
	})
	flips(t, compressed(t, archive), func(path string, bit int) {
		// A bit that fills up a byte may be anything.
		if got, damages := sound(t, path); damages == 0 && !maps.Equal(got, want) {
			t.Fatalf("bit %d changed the samples and went unnoticed", bit)
		}
	})
}

func TestDamagedGzip(t *testing.T) {
	archive, want := many(t, 40)
	z := compressed(t, archive)
	z[len(z)-5] ^= 1 // of the checksum
	got, damages := sound(t, saved(t, z))
	if len(got) != len(want) || damages != 1 {
		t.Errorf("a false checksum: %d samples, %d damages", len(got), damages)
	}
	z = compressed(t, archive)
	clear(z[len(z)/2 : len(z)/2+100])
	if got, damages = sound(t, saved(t, z)); len(got) == 0 || len(got) == len(want) || damages == 0 {
		t.Errorf("a hole: %d samples, %d damages", len(got), damages)
	}
	wantLines(t, walk(t, []byte("\x1f\x8bhello"), nil), "damage at 0, 7 bytes: is cut short")
	wantLines(t, walk(t, []byte("\x1f\x8bhello, hello"), nil), "damage at 0, 14 bytes: gzip: invalid header")
}

// TestAgreesWithArchiveTar reads what archive/tar writes as it does itself.
func TestAgreesWithArchiveTar(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	letters := []string{"a", "b", "ü", "/", "0", "_", "long_part_of_a_name_", "\xff"}
	for range 200 {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for i := range 1 + rng.IntN(6) {
			name := fmt.Sprint(i)
			for range rng.IntN(20) {
				name += letters[rng.IntN(len(letters))]
			}
			format := []tar.Format{tar.FormatUnknown, tar.FormatPAX, tar.FormatGNU}[rng.IntN(3)]
			if strings.Contains(name, "\xff") {
				format = tar.FormatGNU
			}
			add(t, w, tar.Header{Name: name + "z.jpg", Format: format}, strings.Repeat("x", rng.IntN(2000)))
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var want []string
		for r := tar.NewReader(bytes.NewReader(buf.Bytes())); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(h.Name, ".jpg")
			for strings.Contains(name, "//") {
				name = strings.ReplaceAll(name, "//", "/")
			}
			want = append(want, fmt.Sprintf("%s: jpg=%.20q", name, data))
		}
		wantLines(t, walk(t, buf.Bytes(), nil), want...)
	}
}

func TestManyMembersOfOneSample(t *testing.T) {
	var entries []entry
	for i := range 300 {
		entries = append(entries, entry{fmt.Sprintf("0.%d.jpg", i), "A"})
	}
	lines := walk(t, pack(t, entries...), nil)
	if len(lines) != 2 || strings.Count(strings.Join(lines, ""), "jpg=") != 300 {
		t.Fatalf("%d samples", len(lines))
	}
	for _, line := range lines {
		if !strings.HasSuffix(line, "fault: sample has more than 256 members") {
			t.Error(line)
		}
	}
}

// TestMemory reads archives that say or hold much more than they are.
func TestMemory(t *testing.T) {
	const large = 256 << 20
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	write := func(data []byte) {
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	write(block("0.jpg", large, '0', nil))
	for range large >> 20 {
		write(zeros)
	}
	write(join(block("1.jpg", 1, '0', nil), padded("B"), endMarker))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	claims := block("0.jpg", 0, '0', func(b []byte) { copy(b[124:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff") })
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"a member of 256 MiB", bomb.Bytes(), "0: 268435456 no fault; 1: 1 no fault"},
		{"a claim of 8 EiB", join(claims, endMarker), "0: 9223372036854775807 is cut short; damage is cut short"},
		{"a compressed claim of 8 EiB", compressed(t, join(claims, endMarker)), "0: 9223372036854775807 is cut short; damage is cut short"},
		{"a name of 2 GiB", compressed(t, block("x", 2<<30, 'L', nil)), "damage malformed pax header: has 2147483648 bytes, more than the limit of 1048576"},
	}
	for _, tt := range tests {
		var before, after runtime.MemStats
		path := saved(t, tt.data)
		runtime.ReadMemStats(&before)
		var got []string
		shard, err := webdataset.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		err = shard.Walk(t.Context(), webdataset.Visitor{
			Hold: func(*webdataset.Member) bool { return true },
			Sample: func(s webdataset.Sample) error {
				fault := "no fault"
				if s.Members[0].Fault != nil {
					fault = s.Members[0].Fault.Error()
				}
				got = append(got, fmt.Sprintf("%s: %d %s", s.Key, s.Members[0].Size, fault))
				return nil
			},
			Damage: func(d webdataset.Damage) error { got = append(got, "damage "+d.Err.Error()); return nil },
		})
		runtime.ReadMemStats(&after)
		if err != nil || strings.Join(got, "; ") != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
			t.Errorf("%s: %d KiB allocated", tt.name, grown>>10)
		}
	}
}

func TestWalkStops(t *testing.T) {
	archive, _ := many(t, 10)
	broken := bytes.Clone(archive)
	broken[3] ^= 1
	enough := errors.New("enough")
	for name, data := range map[string][]byte{"plain": archive, "compressed": compressed(t, archive), "damaged": broken} {
		shard, err := webdataset.Open(saved(t, data))
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		v := webdataset.Visitor{
			Hold:   func(*webdataset.Member) bool { return true },
			Sample: func(webdataset.Sample) error { seen++; return enough },
			Damage: func(webdataset.Damage) error { seen++; return enough },
		}
		if err := shard.Walk(t.Context(), v); !errors.Is(err, enough) || seen != 1 {
			t.Errorf("%s: after the visitor's error: %v, %d visits", name, err, seen)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		seen = 0
		if err := shard.Walk(ctx, v); !errors.Is(err, context.Canceled) || seen != 0 {
			t.Errorf("%s: after cancelling: %v, %d visits", name, err, seen)
		}
	}
}

func TestChangedArchive(t *testing.T) {
	archive, _ := many(t, 2)
	path := saved(t, archive)
	shard, err := webdataset.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var member webdataset.Member
	v := webdataset.Visitor{
		Hold:   func(*webdataset.Member) bool { return false },
		Sample: func(s webdataset.Sample) error { member = s.Members[1]; return nil },
		Damage: func(webdataset.Damage) error { return nil },
	}
	if err := shard.Walk(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if _, err := shard.Read(&member, nil); err != nil {
		t.Errorf("before: %v", err)
	}
	if err := os.WriteFile(path, archive[:len(archive)-512], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := shard.Read(&member, nil); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("afterwards: %v", err)
	}
	if err := shard.Walk(t.Context(), v); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("walk afterwards: %v", err)
	}
	if _, err := webdataset.Open(filepath.Dir(path)); err == nil {
		t.Error("opened a folder")
	}
	if _, err := webdataset.Open(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzShard(f *testing.F) {
	archive := pack(f, entry{"0.jpg", "A"}, entry{"0.cls", "7"}, entry{strings.Repeat("n", 120) + ".jpg", "B"}, entry{"ü.png", "C"})
	f.Add(archive)
	f.Add(compressed(f, archive))
	f.Add(join(block("0.jpg", 1, 'S', func(b []byte) { b[482] = 1 }), endMarker))
	f.Add(join(block("pax", 22, 'x', nil), padded("22 GNU.sparse.major=1\n"), block("0.jpg", 9, '0', nil)))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "shard")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		shard, err := webdataset.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		// A compressed archive may hold a thousand times its bytes, and zstd takes a window.
		limit := 1<<20 + 64*len(data)
		if shard.Compressed() {
			limit = 384<<20 + 1<<14*len(data)
		}
		alloctest.AtMost(t, limit, func() {
			_ = shard.Walk(t.Context(), webdataset.Visitor{
				Hold:   func(*webdataset.Member) bool { return true },
				Sample: func(webdataset.Sample) error { return nil },
				Damage: func(webdataset.Damage) error { return nil },
			})
		})
		err = shard.Walk(t.Context(), webdataset.Visitor{
			Hold: func(m *webdataset.Member) bool { return m.Extension == "cls" },
			Sample: func(s webdataset.Sample) error {
				for i := range s.Members {
					m := &s.Members[i]
					if m.Fault != nil || m.Size > 1<<20 {
						continue
					}
					got, err := shard.Read(m, nil)
					if err != nil || int64(len(got)) != m.Size {
						t.Fatalf("%q: %d bytes of %d, %v", m.Name, len(got), m.Size, err)
					}
				}
				return nil
			},
			Damage: func(d webdataset.Damage) error {
				if d.Offset < 0 || d.Length < 0 || d.Err == nil {
					t.Fatalf("%+v", d)
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// A member whose name no file system has is left out, and what lies beside it is taken: it misses
// nothing.
func TestEndlessNames(t *testing.T) {
	long := strings.Repeat("n", 20<<10)
	record := fmt.Sprintf("%d path=%s\n", len(long)+len("20000 path=\n"), long)
	for name, extension := range map[string][]byte{
		"GNU": join(block("././@LongLink", int64(len(long)), 'L', nil), padded(long)),
		"pax": join(block("pax", int64(len(record)), 'x', nil), padded(record)),
	} {
		got := walk(t, join(block("0.jpg", 1, '0', nil), padded("A"), extension, block("cut.jpg", 1, '0', nil), padded("?"), pack(t, entry{"1.jpg", "B"})), nil)
		if len(got) != 3 || got[0] != `0: jpg="A"` || !strings.Contains(got[1], "a name of 20480 bytes, more than the limit of 16384") || got[2] != `1: jpg="B"` {
			t.Errorf("%s: %q", name, got)
		}
	}
}
