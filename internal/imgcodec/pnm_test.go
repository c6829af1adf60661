package imgcodec

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestDecodePNM(t *testing.T) {
	tests := []struct{ name, data string }{
		{"pgm", "P5\n2 2\n255\n\x00\x0a\xc8\xff"},
		{"comments", "P5\n# old scanner\n2 # wide\n2\n255\n\x00\x0a\xc8\xff"},
		{"one line", "P5 2 2 255 \x00\x0a\xc8\xff"},
		{"text", "P2\n2 2\n255\n0 10\n200 255\n"},
		{"sixteen bits", "P5\n2 2\n65535\n\x00\x00\x0a\x0a\xc8\xc8\xff\xff"},
		{"ppm", "P6\n2 2\n255\n\x00\x00\x00\x0a\x0a\x0a\xc8\xc8\xc8\xff\xff\xff"},
		{"ppm as text", "P3 2 2 255 0 0 0 10 10 10 200 200 200 255 255 255"},
	}
	want := []byte{0, 0, 0, 10, 10, 10, 200, 200, 200, 255, 255, 255}
	for _, tt := range tests {
		img, format, err := Decode([]byte(tt.data), Limits{})
		if err != nil || format != PNM || img.W != 2 || img.H != 2 || !bytes.Equal(img.Pix, want) {
			t.Errorf("%s: %v, %s, %v", tt.name, img, format, err)
		}
	}
	img, _, err := Decode([]byte("P6\n1 1\n15\n\x00\x03\x0f"), Limits{})
	if err != nil || !bytes.Equal(img.Pix, []byte{0, 51, 255}) {
		t.Errorf("samples up to 15: %v, %v", img, err)
	}
	for _, tt := range []struct {
		name, data string
		want       error
	}{
		{"cut", "P5\n2 2\n255\n\x00\x0a", ErrTruncated},
		{"text cut", "P2\n2 2\n255\n0 10\n", ErrTruncated},
		{"header cut", "P5\n2 2", ErrTruncated},
		{"no number", "P5\ntwo 2\n255\n", ErrCorrupt},
		{"no range", "P5\n2 2\n0\n\x00\x0a\xc8\xff", ErrCorrupt},
		{"a great range", "P5\n2 2\n65536\n\x00\x0a\xc8\xff", ErrCorrupt},
		{"no width", "P5\n0 2\n255\n", ErrCorrupt},
		{"huge", "P5\n60000 60000\n255\n", ErrTooLarge},
		{"a great number", "P5\n99999999999999999999 2\n255\n", ErrCorrupt},
	} {
		if _, _, err := Decode([]byte(tt.data), Limits{}); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestStrayFilesAreNamed(t *testing.T) {
	for data, want := range map[string]string{
		"\n<!DOCTYPE html><html>": "a web page",
		"<html lang=en>":          "a web page",
		"version https://git-lfs.github.com/spec/v1\noid sha256:0": "a Git LFS pointer",
		"some words": "text of an unknown format",
	} {
		if _, err := Inspect([]byte(data)); !errors.Is(err, ErrNotImage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", data, err, want)
		}
	}
}
