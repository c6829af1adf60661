package recordio

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

func TestParseHeader(t *testing.T) {
	scalar := "\x00\x00\x00\x00" + "\x00\x00\xe0\x40" + "\x09\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x80"
	vector := "\x02\x00\x00\x00" + "\x00\x00\x00\x00" + "\x09\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x40\x40" + "\x00\x00\x80\x3f"
	tests := []struct {
		name   string
		record string
		want   Header
		label  float32
	}{
		{"scalar", scalar + "JPEG!", Header{Scalar: 7, ID: 9, ID2: 1<<63 | 1, ImageSize: 5}, 7},
		{"scalar, no image", scalar, Header{Scalar: 7, ID: 9, ID2: 1<<63 | 1}, 7},
		{"vector", vector + "JPEG!", Header{Flag: 2, ID: 9, Labels: []float32{3, 1}, ImageSize: 5}, 3},
		{"vector, no image", vector, Header{Flag: 2, ID: 9, Labels: []float32{3, 1}}, 3},
	}
	for _, tt := range tests {
		got, err := ParseHeader([]byte(tt.record), int64(len(tt.record)))
		if err != nil || !reflect.DeepEqual(got, tt.want) || got.Label() != tt.label {
			t.Errorf("%s: %+v, %v, label %v; want %+v", tt.name, got, err, got.Label(), tt.want)
		}
		if again := string(got.appendTo(nil)); again != tt.record[:len(tt.record)-int(tt.want.ImageSize)] {
			t.Errorf("%s: written %q", tt.name, again)
		}
		from, to, ok := got.Range()
		if want := tt.name == "vector, no image"; ok != want || want && (from != 3 || to != 1) {
			t.Errorf("%s: range %v %v %v", tt.name, from, to, ok)
		}
		for n := range HeaderSize {
			if _, err := ParseHeader([]byte(tt.record[:n]), int64(n)); err == nil || !strings.Contains(err.Error(), "shorter than a header") {
				t.Errorf("%s, cut to %d bytes: %v", tt.name, n, err)
			}
		}
	}
	for n := HeaderSize; n < len(vector); n++ {
		if _, err := ParseHeader([]byte(vector[:n]), int64(n)); err == nil || !strings.Contains(err.Error(), "too short for 2 labels") {
			t.Errorf("vector cut to %d bytes: %v", n, err)
		}
	}
	absurd := "\xff\xff\xff\xff" + scalar[4:]
	if _, err := ParseHeader([]byte(absurd), int64(len(absurd))); err == nil {
		t.Error("four thousand million labels were accepted")
	}
	// Of a long record the prefix is enough, however long its vector is.
	if h, err := ParseHeader([]byte(absurd+"\x00\x00\x40\x40"), 1<<40); err != nil || h.Label() != 3 || h.ImageSize != 1<<40-24-4*math.MaxUint32 {
		t.Errorf("%+v, %v", h, err)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(strings.Repeat("\x00", 24)+"JPEG"), int64(28))
	f.Add([]byte("\x02"+strings.Repeat("\x00", 31)), int64(32))
	f.Fuzz(func(t *testing.T, record []byte, more int64) {
		length := int64(len(record)) + max(0, min(more, 1<<40))
		alloctest.AtMost(t, 2*len(record)+1<<16, func() { _, _ = ParseHeader(record, length) })
		h, err := ParseHeader(record, length)
		if err != nil {
			return
		}
		if h.ImageSize < 0 || h.ImageSize > length-HeaderSize || len(h.Labels) > len(record)/4 || len(h.Labels) > int(h.Flag) {
			t.Fatalf("%+v of %d bytes", h, length)
		}
		h.Label()
		h.Range()
	})
}
