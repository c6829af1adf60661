package imgcodec

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	stdadler "hash/adler32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

// inflated is what an inflater makes of a stream, which is n bytes; nil if it refuses it.
func inflated(z *inflater, stream []byte, n int) []byte {
	dst := make([]byte, n+inflateSlack)
	if !z.inflate(dst, append(bytes.Clone(stream), make([]byte, inflateSlack)...)) {
		return nil
	}
	return dst[:n]
}

// deflated is a stream of the standard library's.
func deflated(t testing.TB, level int, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := zlib.NewWriterLevel(&buf, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// samples have short and long codes, matches near and far, none, and blocks of every kind.
func samples() map[string][]byte {
	rng := rand.New(rand.NewPCG(31, 32))
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	steep := make([]byte, 200_000) // whose rare bytes have codes of 15 bits
	for i := range steep {
		steep[i] = byte(rng.ExpFloat64() * 6)
	}
	return map[string][]byte{
		"empty": {}, "one byte": {7}, "random": random, "steep": steep,
		"text":  []byte(strings.Repeat("the same words, and others: ", 3000)),
		"zeros": make([]byte, 70_000), "far": append(append(bytes.Clone(random[:32_000]), steep[:500]...), random[:32_000]...),
	}
}

func TestInflate(t *testing.T) {
	z := new(inflater)
	for name, data := range samples() {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, 6, flate.BestCompression} {
			stream := deflated(t, level, data)
			if got := inflated(z, stream, len(data)); got == nil || !bytes.Equal(got, data) {
				t.Errorf("%s, level %d: not what was compressed", name, level)
			}
			if inflated(z, stream, len(data)+1) != nil || len(data) > 0 && inflated(z, stream, len(data)-1) != nil {
				t.Errorf("%s, level %d: another length was taken", name, level)
			}
			for _, cut := range []int{1, 4, 5, len(stream) / 2, len(stream)} {
				if cut <= len(stream) && inflated(z, stream[:len(stream)-cut], len(data)) != nil {
					t.Errorf("%s, level %d: %d bytes are missing and it was taken", name, level, cut)
				}
			}
			if inflated(z, append(stream, 0), len(data)) != nil {
				t.Errorf("%s, level %d: a byte follows and it was taken", name, level)
			}
		}
	}
}

// A flipped bit anywhere is noticed.
func TestInflateRefusesDamage(t *testing.T) {
	z := new(inflater)
	for name, data := range map[string][]byte{"steep": samples()["steep"][:2000], "text": samples()["text"][:2000]} {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 6} {
			stream := deflated(t, level, data)
			for bit := range 8 * len(stream) {
				stream[bit/8] ^= 1 << (bit % 8)
				if got := inflated(z, stream, len(data)); got != nil && !bytes.Equal(got, data) {
					t.Fatalf("%s, level %d: bit %d was flipped and it was taken", name, level, bit)
				}
				stream[bit/8] ^= 1 << (bit % 8)
			}
		}
	}
}

func TestAdler32(t *testing.T) {
	for name, data := range samples() {
		data = append(bytes.Repeat([]byte{255}, 1<<20+9), data...)
		for _, part := range [][]byte{data, data[:len(data)-3], data[1<<20:], nil} {
			if got, want := adler32(part), stdadler.Checksum(part); got != want {
				t.Errorf("%s: %#x, want %#x", name, got, want)
			}
		}
	}
}

// FuzzInflate compares with the standard library: what is taken is what that makes of it.
func FuzzInflate(f *testing.F) {
	for _, data := range samples() {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 6} {
			f.Add(deflated(f, level, data[:min(len(data), 600)]))
		}
	}
	z := new(inflater)
	f.Fuzz(func(t *testing.T, stream []byte) {
		const most = 1 << 16
		want, err := []byte(nil), error(nil)
		if r, e := zlib.NewReader(bytes.NewReader(stream)); e != nil {
			err = e
		} else {
			want, err = io.ReadAll(io.LimitReader(r, most))
		}
		var got []byte
		alloctest.AtMost(t, 2*(len(stream)+len(want))+64<<10, func() { got = inflated(z, stream, len(want)) })
		if got != nil && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("%d bytes were taken, the standard library says %v", len(got), err)
		}
	})
}
