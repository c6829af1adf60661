package recordio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// frame spells a frame byte by byte, apart from the writer.
func frame(part byte, body string) []byte {
	n := len(body)
	out := []byte{0x0a, 0x23, 0xd7, 0xce, byte(n), byte(n >> 8), byte(n >> 16), part<<5 | byte(n>>24)}
	out = append(out, body...)
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}

const magicText = "\x0a\x23\xd7\xce"

// records of the fixture, and the frames of each: of all lengths of padding, empty,
// and with magic words that are left out, and one, not at a multiple of 4, that is not.
var fixture = []struct {
	record string
	frames [][]byte
}{
	{"abcd", [][]byte{frame(0, "abcd")}},
	{"abcde", [][]byte{frame(0, "abcde")}},
	{"", [][]byte{frame(0, "")}},
	{"abcd" + magicText + "efghij", [][]byte{frame(1, "abcd"), frame(3, "efghij")}},
	{"abcdefg", [][]byte{frame(0, "abcdefg")}},
	{magicText + magicText + "12345678" + magicText, [][]byte{frame(1, ""), frame(2, ""), frame(2, "12345678"), frame(3, "")}},
	{"xy" + magicText + "z", [][]byte{frame(0, "xy"+magicText+"z")}},
	{"abcdefghijklmnopqrstuvwxyz", [][]byte{frame(0, "abcdefghijklmnopqrstuvwxyz")}},
}

// fixtureFile is the fixture as a file, and where its records lie.
func fixtureFile() (data []byte, at []Record) {
	for _, f := range fixture {
		begin := int64(len(data))
		data = append(data, bytes.Join(f.frames, nil)...)
		at = append(at, Record{Offset: begin, End: int64(len(data)), Length: int64(len(f.record))})
	}
	return data, at
}

// scanned is one result of a scanner.
type scanned struct {
	at     Record
	data   string
	damage *DamageError
}

// scan reads a whole file and checks what holds for all: that records and damage cover
// it without a gap, that prefixes are right, and that only a file that a writer could
// have written gives records.
func scan(t testing.TB, file []byte) []scanned {
	t.Helper()
	r := bytes.NewReader(file)
	s := NewScanner(r, int64(len(file)), 0)
	var out []scanned
	var end int64
	for {
		at, err := s.Next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, ErrHistoric) {
			return nil
		}
		var damage *DamageError
		if errors.As(err, &damage) {
			if damage.From != end || damage.To <= end || damage.Reason == "" {
				t.Fatalf("damage %+v behind byte %d", damage, end)
			}
			end = damage.To
			out = append(out, scanned{damage: damage})
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := Read(r, at)
		if err != nil {
			t.Fatal(err)
		}
		if at.Offset != end || int64(len(data)) != at.Length {
			t.Fatalf("record %+v of %d bytes behind byte %d", at, len(data), end)
		}
		if want := data[:min(len(data), PrefixSize)]; !bytes.Equal(s.Prefix(), want) {
			t.Fatalf("prefix %q of %q", s.Prefix(), data)
		}
		if again := appendFrames(nil, data); !bytes.Equal(again, file[at.Offset:at.End]) {
			t.Fatalf("bytes %q are no record, but were taken for %q", file[at.Offset:at.End], data)
		}
		end = at.End
		out = append(out, scanned{at: at, data: string(data)})
	}
	if end != int64(len(file)) {
		t.Fatalf("scan ended at byte %d of %d", end, len(file))
	}
	return out
}

// dmlcRead reads a sound file the way dmlc-core does: an independent reader.
func dmlcRead(t testing.TB, file []byte) []string {
	t.Helper()
	var out []string
	for len(file) > 0 {
		var record []byte
		for {
			if binary.LittleEndian.Uint32(file) != 0xced7230a {
				t.Fatalf("no magic at %q", file[:8])
			}
			word := binary.LittleEndian.Uint32(file[4:])
			n := word & (1<<29 - 1)
			record = append(record, file[8:8+n]...)
			file = file[8+(n+3)/4*4:]
			if part := word >> 29; part == 0 || part == 3 {
				break
			}
			record = append(record, magicText...)
		}
		out = append(out, string(record))
	}
	return out
}

// sprinkled is n random bytes with magic words at random places.
func sprinkled(rng *rand.Rand, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	for range rng.IntN(6) {
		if n >= 4 {
			copy(out[rng.IntN(n-3):], magicText)
			copy(out[rng.IntN(n-3)/4*4:], magicText)
		}
	}
	return out
}
