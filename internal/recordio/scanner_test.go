package recordio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

func TestScannerReadsEveryRecord(t *testing.T) {
	file, at := fixtureFile()
	got := scan(t, file)
	if len(got) != len(fixture) {
		t.Fatalf("%d results, want %d", len(got), len(fixture))
	}
	for i, f := range fixture {
		if got[i].data != f.record || got[i].at != at[i] {
			t.Errorf("record %d: %q at %+v, want %q at %+v", i, got[i].data, got[i].at, f.record, at[i])
		}
		written := appendFrames(nil, []byte(f.record))
		if !bytes.Equal(written, bytes.Join(f.frames, nil)) {
			t.Errorf("record %d is written %q", i, written)
		}
	}
}

func TestScannerFromAnOffset(t *testing.T) {
	file, at := fixtureFile()
	s := NewScanner(bytes.NewReader(file), int64(len(file)), at[3].Offset)
	if got, err := s.Next(); err != nil || got != at[3] {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestScannerNothing(t *testing.T) {
	if got := scan(t, nil); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestScannerAcrossWindows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var file []byte
	var want []string
	sizes := []int{windowSize - 8, windowSize - 12, windowSize, windowSize + 4, 3*windowSize + 1, 0, 1, 2*windowSize - 8}
	for range 60 {
		sizes = append(sizes, rng.IntN(windowSize/8))
	}
	for _, n := range sizes {
		record := sprinkled(rng, n)
		want = append(want, string(record))
		file = appendFrames(file, record)
	}
	if !slices.Equal(dmlcRead(t, file), want) {
		t.Fatal("dmlc's reader would read something else than was written")
	}
	got := scan(t, file)
	for i, g := range got {
		if g.data != want[i] {
			t.Fatalf("record %d of %d bytes is not what was written: %+v", i, len(want[i]), g.damage)
		}
	}
}

func TestScannerDamage(t *testing.T) {
	one, two, three := frame(0, "the first"), frame(0, "the second one"), frame(0, "the third")
	split := slices.Concat(frame(1, "abcd"), frame(2, "efgh"), frame(3, "ij"))
	file := slices.Concat(one, two, three)
	change := func(file []byte, at int, with ...byte) []byte {
		out := bytes.Clone(file)
		copy(out[at:], with)
		return out
	}
	begin := func(frames ...[]byte) int { return len(slices.Concat(frames...)) }
	whole := "abcd" + magicText + "efgh" + magicText + "ij"
	tests := []struct {
		name   string
		file   []byte
		want   []string // records that are left
		reason string   // of the first damage
	}{
		{"magic word of the middle record", change(file, begin(one), 0x0b), []string{"the first", "the third"}, "0xced7230b instead of the magic word"},
		{"magic word of the first record", change(file, 0, 0), []string{"the second one", "the third"}, "instead of the magic word"},
		{"part number of the middle record", change(file, begin(one)+7, 0x80), []string{"the first", "the third"}, "unknown part number 4"},
		{"record grown over the next one", change(file, 4, byte(len(one)-8+len(two))), []string{"the second one", "the third"}, "another frame begins within it"},
		{"record grown beyond the file", change(file, begin(one)+6, 0xff), []string{"the first", "the third"}, "behind the end of the file"},
		{"record cut short", change(file, begin(one)+4, 4), []string{"the first", "the third"}, "no record follows at byte 32"},
		{"record cut short in its padding", change(file, begin(one)+4, 13), []string{"the first", "the third"}, "padding behind it is not zero"},
		{"padding", change(file, begin(one)-1, 1), []string{"the second one", "the third"}, "padding behind it is not zero"},
		{"bytes before", slices.Concat([]byte("junkjunk"), file), []string{"the first", "the second one", "the third"}, "instead of the magic word"},
		{"bytes that shift the rest off its alignment", slices.Concat(one, []byte("!"), two), nil, "no record follows"},
		{"zeros between", slices.Concat(one, make([]byte, 4096), two), []string{"the second one"}, "no record follows at byte 20"},
		{"bytes behind", slices.Concat(file, []byte("junkjunk")), []string{"the first", "the second one"}, "no record follows"},
		{"cut in the head of the last record", file[:begin(one, two)+7], []string{"the first", "the second one"}, "ends in the head"},
		{"cut in the magic word of the last record", file[:begin(one, two)+3], []string{"the first", "the second one"}, "ends in the head"},
		{"middle part gone", slices.Concat(one, frame(1, "abcd"), three, one), []string{"the first", "the third", "the first"}, "part number 0 out of turn"},
		{"first part gone", slices.Concat(one, frame(2, "efgh"), frame(3, "ij"), three, one), []string{"the third", "the first"}, "a part of a record follows"},
		{"last part gone", slices.Concat(one, frame(1, "abcd"), frame(2, "efgh")), []string{"the first"}, "ends in the head"},
		{"middle part became a record", change(slices.Concat(split, one), len(frame(1, "abcd"))+7, 0), []string{"the first"}, "out of turn"},
		{"first part became a record", change(slices.Concat(split, one), 7, 0), []string{"the first"}, "a part of a record follows"},
		{"last part became a first one", change(slices.Concat(split, one), 2*12+7, 1<<5), []string{"the first"}, "out of turn"},
		{"first part of an odd length", change(slices.Concat(split, one), 4, 3), []string{"the first"}, "a frame of 3 bytes goes on"},
		{"nothing wrong", slices.Concat(split, one), []string{whole, "the first"}, ""},
		{"a length only, without bytes", frame(0, "")[:8], []string{""}, ""},
		{"only damage", []byte("these are no records at all"), nil, "instead of the magic word"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var records []string
			reason := ""
			for _, g := range scan(t, tt.file) {
				if g.damage == nil {
					records = append(records, g.data)
				} else if reason == "" {
					reason = g.damage.Reason
				}
			}
			if !slices.Equal(records, tt.want) {
				t.Errorf("records %q, want %q", records, tt.want)
			}
			if (reason == "") != (tt.reason == "") || !strings.Contains(reason, tt.reason) {
				t.Errorf("reason %q, want %q", reason, tt.reason)
			}
		})
	}
}

func TestDamageErrorNamesTheBytes(t *testing.T) {
	err := &DamageError{From: 8, To: 20, Reason: "reason"}
	if err.Error() != "damaged from byte 8 to 20: reason" {
		t.Error(err)
	}
}

// Wherever a file is cut, the records before are read and the rest is reported.
func TestScannerTruncatedAtEveryByte(t *testing.T) {
	file, at := fixtureFile()
	for n := range file {
		got := scan(t, file[:n])
		sound := 0
		for sound < len(at) && at[sound].End <= int64(n) {
			if got[sound].data != fixture[sound].record || got[sound].damage != nil {
				t.Fatalf("cut at byte %d: record %d is %+v", n, sound, got[sound])
			}
			sound++
		}
		for _, g := range got[sound:] {
			if g.damage == nil {
				t.Fatalf("cut at byte %d: the rest gave %+v", n, g)
			}
		}
		if sound > 0 && at[sound-1].End == int64(n) != (len(got) == sound) {
			t.Fatalf("cut at byte %d: %d results", n, len(got))
		}
	}
}

// A flipped bit costs at most its own record and the one before, which cannot be told
// from a record with a damaged length; it never changes a record's bytes, except that
// very bit among them and zeros at their end.
func TestScannerFlippedAtEveryBit(t *testing.T) {
	file, at := fixtureFile()
	for bit := range 8 * len(file) {
		flipped := bytes.Clone(file)
		flipped[bit/8] ^= 1 << (bit % 8)
		hit := slices.IndexFunc(at, func(r Record) bool { return int64(bit/8) < r.End })
		got := map[int64]scanned{}
		for _, g := range scan(t, flipped) {
			if g.damage == nil {
				got[g.at.Offset] = g
			}
		}
		for i, r := range at {
			g, found := got[r.Offset]
			delete(got, r.Offset)
			want := fixture[i].record
			switch {
			case found && g.data == want:
			case !found && (i == hit || i == hit-1):
			case found && i == hit && (differInOneBit(g.data, want) || strings.TrimRight(g.data, "\x00") == strings.TrimRight(want, "\x00")):
			default:
				t.Fatalf("bit %d, in record %d: record %d is %q, found %v", bit, hit, i, g.data, found)
			}
		}
		for offset, g := range got {
			// A frame's body may have become a magic word that makes a frame of what
			// follows it; the fixture is chosen such that none does.
			t.Fatalf("bit %d: a record at byte %d that was never written: %q", bit, offset, g.data)
		}
	}
}

func differInOneBit(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	bits := 0
	for i := range len(a) {
		for x := a[i] ^ b[i]; x != 0; x &= x - 1 {
			bits++
		}
	}
	return bits == 1
}

func TestScannerRefusesTheHistoricFormat(t *testing.T) {
	file := append([]byte{0x0a, 0x23, 0xd7, 0x3e, 4, 0, 0, 0}, "abcd"...)
	_, err := NewScanner(bytes.NewReader(file), int64(len(file)), 0).Next()
	if !errors.Is(err, ErrHistoric) {
		t.Errorf("error %v", err)
	}
}

// counter counts the bytes that are read, and fails from a place on.
type counter struct {
	io.ReaderAt
	read int64
	fail int64
}

var errDisk = errors.New("the disk fails")

func (c *counter) ReadAt(b []byte, offset int64) (int, error) {
	if c.fail > 0 && offset+int64(len(b)) > c.fail {
		return 0, errDisk
	}
	c.read += int64(len(b))
	return c.ReaderAt.ReadAt(b, offset)
}

func TestScannerFailingDisk(t *testing.T) {
	file := appendFrames(nil, make([]byte, 100))
	file = appendFrames(file, make([]byte, 4*windowSize))
	r := &counter{ReaderAt: bytes.NewReader(file), fail: 2 * windowSize}
	s := NewScanner(r, int64(len(file)), 0)
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and it stays so
		if _, err := s.Next(); !errors.Is(err, errDisk) {
			t.Fatalf("error %v", err)
		}
	}
	s = NewScanner(bytes.NewReader(file[:50]), int64(len(file)), 0)
	if _, err := s.Next(); err == nil || !strings.Contains(err.Error(), "became shorter") {
		t.Errorf("error %v", err)
	}
}

// Whatever is in a file, it is read a few times at most, and little memory is taken.
func TestScannerIsLinear(t *testing.T) {
	const size = 1 << 20
	repeat := func(unit []byte) []byte { return bytes.Repeat(unit, size/len(unit)) }
	leading := func() []byte { // every word looks like a damaged head that leads far ahead
		out := make([]byte, size)
		for i := 0; i+8 <= size; i += 8 {
			copy(out[i:], frame(0, "")[:4])
			if i%16 == 8 {
				out[i] ^= 1
				binary.LittleEndian.PutUint32(out[i+4:], uint32(size-i-8))
			}
		}
		return out
	}
	absurd := []byte{0x0a, 0x23, 0xd7, 0xce, 0xff, 0xff, 0xff, 0x1f}
	tests := map[string][]byte{
		"heads of absurd lengths":   repeat(absurd),
		"magic words":               repeat([]byte(magicText)),
		"first parts":               repeat(frame(1, "")),
		"one endless record":        append(frame(1, "abcd"), repeat(frame(2, ""))...),
		"many unfinished records":   repeat(append(frame(1, "abcd"), bytes.Repeat(frame(2, ""), 1000)...)),
		"magic words off alignment": repeat([]byte("x" + magicText + "yz!")),
		"heads that lead far ahead": leading(),
		"empty records":             repeat(frame(0, "")),
		"a long record":             frame(0, strings.Repeat("x", size)),
	}
	for name, file := range tests {
		t.Run(name, func(t *testing.T) {
			r := &counter{ReaderAt: bytes.NewReader(file)}
			s := NewScanner(r, int64(len(file)), 0)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			n := uint64(0)
			for ; ; n++ {
				if _, err := s.Next(); err == io.EOF {
					break
				}
			}
			runtime.ReadMemStats(&after)
			if r.read > 6*int64(len(file)) {
				t.Errorf("read %d bytes of a file of %d", r.read, len(file))
			}
			// Errors are handed out and forgotten; nothing else may take memory.
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20+512*n {
				t.Errorf("took %d bytes for %d results", taken, n)
			}
		})
	}
}

func TestWindowIsNoLargerThanTheFile(t *testing.T) {
	if w := newWindow(nil, 100); cap(w.buf) != 100 {
		t.Errorf("a window of %d bytes", cap(w.buf))
	}
}

func TestReadNoticesAChangedFile(t *testing.T) {
	file, at := fixtureFile()
	for i, r := range at {
		for bit := 8 * r.Offset; bit < 8*r.End; bit++ {
			changed := bytes.Clone(file)
			changed[bit/8] ^= 1 << (bit % 8)
			got, err := Read(bytes.NewReader(changed), r)
			if err != nil && !strings.Contains(err.Error(), "was changed") {
				t.Fatal(err)
			}
			if err == nil && int64(len(got)) != r.Length {
				t.Fatalf("record %d, bit %d: %q", i, bit, got)
			}
		}
		if _, err := Read(bytes.NewReader(file[:r.End-1]), r); err == nil || !strings.Contains(err.Error(), "became shorter") {
			t.Errorf("record %d, cut off: %v", i, err)
		}
	}
}

func TestBeginsAt(t *testing.T) {
	file, at := fixtureFile()
	for offset := int64(0); offset <= int64(len(file))+8; offset += 4 {
		want := slices.ContainsFunc(at, func(r Record) bool { return r.Offset == offset })
		got, err := BeginsAt(bytes.NewReader(file), offset)
		if err != nil || got != want {
			t.Errorf("at %d: %v, %v", offset, got, err)
		}
	}
	if _, err := BeginsAt(&counter{ReaderAt: bytes.NewReader(file), fail: 4}, 8); !errors.Is(err, errDisk) {
		t.Errorf("error %v", err)
	}
}

func FuzzScanner(f *testing.F) {
	file, _ := fixtureFile()
	f.Add(file)
	f.Add(file[:len(file)-3])
	f.Add([]byte("junk" + string(file)))
	f.Add([]byte{0x0a, 0x23, 0xd7, 0xce, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x0a, 0x23, 0xd7, 0x3e, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, file []byte) {
		alloctest.AtMost(t, 256*len(file)+windowSize+1<<20, func() { scan(t, file) })
	})
}

func FuzzFrames(f *testing.F) {
	for _, r := range fixture {
		f.Add([]byte(r.record), []byte(r.record))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		file := appendFrames(appendFrames(nil, a), b)
		want := []string{string(a), string(b)}
		got := scan(t, file)
		if len(got) != 2 || got[0].data != want[0] || got[1].data != want[1] {
			t.Fatalf("got %+v", got)
		}
		if !slices.Equal(dmlcRead(t, file), want) {
			t.Fatal("dmlc's reader would read something else")
		}
	})
}

func BenchmarkScanner(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 4))
	var file []byte
	for len(file) < 64<<20 {
		record := make([]byte, 5000+rng.IntN(4000))
		for i := range record {
			record[i] = byte(rng.Uint32())
		}
		file = appendFrames(file, record)
	}
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		s := NewScanner(bytes.NewReader(file), int64(len(file)), 0)
		for {
			if _, err := s.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// A head is the beginning of a record's first frame.
func TestReadHead(t *testing.T) {
	file, at := fixtureFile()
	for i, r := range at {
		for _, n := range []int64{0, 1, 5, 1 << 20} {
			got, err := ReadHead(bytes.NewReader(file), r, n)
			whole := fixture[i].record
			if err != nil || int64(len(got)) > n || !strings.HasPrefix(whole, string(got)) || len(got) == 0 && n > 0 && !strings.HasPrefix(whole, string(magicBytes[:])) && whole != "" {
				t.Errorf("record %d, %d bytes: %q, %v", i, n, got, err)
			}
		}
		if _, err := ReadHead(bytes.NewReader(file[4:]), r, 8); err == nil {
			t.Errorf("record %d: no error where another head is", i)
		}
	}
}
