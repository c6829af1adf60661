package tensorboard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"facepipe/internal/alloctest"
	"facepipe/internal/tensorboard/tensorboardtest"
)

// upTo keeps the events of the first steps.
func upTo(step int64) func(Event) bool { return func(e Event) bool { return e.Step <= step } }

// session writes a scalar a step.
func session(t *testing.T, dir string, from, to int64, value float64) {
	t.Helper()
	w, err := Open(dir, from, upTo(from-1))
	if err != nil {
		t.Fatal(err)
	}
	for step := from; step < to; step++ {
		e := Event{Step: step, Time: time.Unix(1e9+step, 0), Scalars: []Scalar{{"train/loss", value + float64(step)}, {"train/lr", 0.5}}}
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// point is a scalar as a reader that shares no code with this package finds it.
type point struct {
	tag   string
	step  int64
	value float32
}

// independent reads a folder as the format is documented: framing, checksums and the
// few fields of Event, by hand. It follows the sessions as TensorBoard does: each START
// but the first drops what has its step or a later one.
func independent(t *testing.T, dir string) []point {
	t.Helper()
	var points []point
	starts := 0
	names, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for first := true; len(data) > 0; first = false {
			n := int(binary.LittleEndian.Uint64(data))
			record := data[12 : 12+n]
			for _, c := range []struct{ data, sum []byte }{{data[:8], data[8:12]}, {record, data[12+n : 16+n]}} {
				sum := crc32.Checksum(c.data, crc32.MakeTable(crc32.Castagnoli))
				if binary.LittleEndian.Uint32(c.sum) != ((sum>>15)|(sum<<17))+0xa282ead8 {
					t.Fatalf("%s: a checksum is wrong", name)
				}
			}
			data = data[16+n:]
			event := message(t, record)
			if first != (string(event.bytes[3]) == "brain.Event:2") {
				t.Fatalf("%s: version %q", name, event.bytes[3])
			}
			if seconds := math.Float64frombits(event.numbers[1]); seconds < 9e8 || seconds > 9e9 {
				t.Fatalf("%s: wall time %g", name, seconds)
			}
			step := int64(event.numbers[2])
			if log := event.bytes[7]; log != nil {
				if status := message(t, log).numbers[1]; status != 1 {
					t.Fatalf("%s: session status %d", name, status)
				}
				if starts++; starts > 1 {
					points = slices.DeleteFunc(points, func(p point) bool { return p.step >= step })
				}
			}
			for _, v := range message(t, event.bytes[5]).all[1] {
				value := message(t, v)
				points = append(points, point{string(value.bytes[1]), step, math.Float32frombits(uint32(value.numbers[2]))})
			}
		}
	}
	return points
}

// parsed are a message's fields by their numbers.
type parsed struct {
	numbers map[int]uint64
	bytes   map[int][]byte
	all     map[int][][]byte
}

func message(t *testing.T, data []byte) parsed {
	t.Helper()
	p := parsed{map[int]uint64{}, map[int][]byte{}, map[int][][]byte{}}
	varint := func() uint64 {
		v, n := binary.Uvarint(data)
		if n <= 0 {
			t.Fatal("a number is cut off")
		}
		data = data[n:]
		return v
	}
	for len(data) > 0 {
		key := varint()
		number := int(key >> 3)
		switch key & 7 {
		case 0:
			p.numbers[number] = varint()
		case 1:
			p.numbers[number], data = binary.LittleEndian.Uint64(data), data[8:]
		case 5:
			p.numbers[number], data = uint64(binary.LittleEndian.Uint32(data)), data[4:]
		case 2:
			n := varint()
			p.bytes[number], data = data[:n], data[n:]
			p.all[number] = append(p.all[number], p.bytes[number])
		default:
			t.Fatalf("wire type %d", key&7)
		}
	}
	return p
}

// expected is what the sessions of the tests below amount to.
func expected() []point {
	var points []point
	for step := int64(1); step < 9; step++ {
		value := 100.0
		if step >= 4 {
			value = 200
		}
		if step >= 6 {
			value = 300
		}
		points = append(points, point{"train/loss", step, float32(value + float64(step))}, point{"train/lr", step, 0.5})
	}
	return points
}

// sessions is a run that stopped twice and went on before the place where it stopped.
func sessions(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "tensorboard")
	session(t, dir, 1, 7, 100)
	session(t, dir, 4, 6, 200)
	session(t, dir, 6, 9, 300)
	return dir
}

func TestStepsAreReadOnce(t *testing.T) {
	if got := independent(t, sessions(t)); !slices.Equal(got, expected()) {
		t.Errorf("read %v", got)
	}
}

// A reader that has seen steps before they were cut off drops them at the START. It is
// shown the files as they were.
func TestFollowersPurge(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tensorboard")
	session(t, dir, 1, 7, 100)
	first := filepath.Join(dir, "events.out.tfevents.0000000000.pipe")
	before, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	session(t, dir, 4, 6, 200)
	session(t, dir, 6, 9, 300)
	if err := os.WriteFile(first, before, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := independent(t, dir); !slices.Equal(got, expected()) {
		t.Errorf("read %v", got)
	}
}

// Who has nothing to say leaves no file.
func TestNothingToWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tensorboard")
	session(t, dir, 1, 1, 0)
	if names, err := files(dir); err != nil || len(names) != 0 {
		t.Errorf("files %v, %v", names, err)
	}
}

// What TensorBoard itself makes of the files.
func TestTensorBoardReadsThem(t *testing.T) {
	var got []point
	for _, s := range tensorboardtest.Scalars(t, sessions(t)) {
		got = append(got, point{s.Tag, s.Step, s.Value})
	}
	if !slices.Equal(got, expected()) {
		t.Errorf("TensorBoard read %v", got)
	}
}

// The checksum of RFC 3720, section B.4, for 32 bytes of zeros, masked.
func TestMasked(t *testing.T) {
	const sum = 0x8a9136aa
	var want uint32 = 0xa282ead8
	want += sum>>15 | sum<<17&0xffffffff
	if got := masked(make([]byte, 32)); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

// A file that a kill tore, or that was damaged, is cut where that is.
func TestTornFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tensorboard")
	session(t, dir, 1, 4, 100)
	path := filepath.Join(dir, "events.out.tfevents.0000000000.pipe")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		for name, data := range map[string][]byte{
			"cut off": whole[:n],
			"flipped": slices.Concat(whole[:n], []byte{whole[n] ^ 4}, whole[n+1:]),
		} {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := cut(path, upTo(9)); err != nil {
				t.Fatal(err)
			}
			rest, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(whole, rest) || len(rest) > n {
				t.Fatalf("%s at %d: %d bytes are left", name, n, len(rest))
			}
			if err := Read(bytes.NewReader(rest), func(Event, int64) bool { return true }); err != nil {
				t.Fatalf("%s at %d: %v", name, n, err)
			}
			if err := Read(bytes.NewReader(data), func(Event, int64) bool { return true }); err != nil && !errors.Is(err, ErrFormat) {
				t.Fatalf("%s at %d: %v", name, n, err)
			}
		}
	}
}

func TestReadWhatIsWritten(t *testing.T) {
	want := Event{Step: 7, Time: time.Unix(1e9, 5e8), Scalars: []Scalar{{"a", 1.5}, {"b/c", -2}, {"", 0}}}
	var got []Event
	file := appendRecord(appendRecord(nil, want.encodeScalars()), want.encodeStart())
	if err := Read(bytes.NewReader(file), func(e Event, end int64) bool {
		got = append(got, e)
		return len(got) < 2 || end == int64(len(file))
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !reflect.DeepEqual(got[0], want) || got[1].Scalars != nil {
		t.Errorf("read %+v", got)
	}
}

func FuzzRead(f *testing.F) {
	e := Event{Step: 7, Time: time.Unix(1e9, 5e8), Scalars: []Scalar{{"a", 1.5}}}
	f.Add(appendRecord(appendRecord(appendRecord(nil, e.encodeVersion()), e.encodeStart()), e.encodeScalars()))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Damage rarely passes the checksums, so the bytes are tried as a record, too.
		for _, file := range [][]byte{data, appendRecord(nil, data)} {
			alloctest.AtMost(t, 256*len(file)+1<<17, func() { _ = Read(bytes.NewReader(file), func(Event, int64) bool { return true }) })
			last := int64(0)
			err := Read(bytes.NewReader(file), func(e Event, end int64) bool {
				if end <= last || end > int64(len(file)) {
					t.Errorf("an event of %d bytes ends at %d, the one before at %d", len(file), end, last)
				}
				last = end
				again, err := decode(e.encodeScalars())
				if err != nil || again.Step != e.Step || len(again.Scalars) != len(e.Scalars) {
					t.Errorf("%+v is read back as %+v, %v", e, again, err)
				}
				return true
			})
			if err != nil && !errors.Is(err, ErrFormat) {
				t.Errorf("an error of another kind: %v", err)
			}
		}
	})
}
