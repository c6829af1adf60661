package imgcodec

import (
	"bytes"

	"facepipe/internal/regular"
)

// Format names how the bytes of an image are encoded. Its values are written
// into datasets and never change.
type Format string

// The decoded formats.
const (
	JPEG Format = "jpeg"
	PNG  Format = "png"
	WebP Format = "webp"
	BMP  Format = "bmp"
	// PNM is PGM and PPM, as bytes or as text.
	PNM Format = "pnm"
	// Raw is no file format: interleaved 8-bit RGB rows of a size that is known
	// from elsewhere. [Sniff] never returns it.
	Raw Format = "raw"
)

// Formats that are recognised so that the refusal can name them.
const (
	Unknown Format = ""
	GIF     Format = "gif"
	TIFF    Format = "tiff"
	HEIF    Format = "heif"
	AVIF    Format = "avif"
	JPEGXL  Format = "jpegxl"
)

// signature is a byte pattern at the start of a file; '?' matches any byte.
type signature struct {
	format  Format
	pattern string
}

var signatures = []signature{
	{JPEG, "\xff\xd8\xff"},
	{PNG, pngMagic},
	{WebP, "RIFF????WEBP"},
	{GIF, "GIF87a"},
	{GIF, "GIF89a"},
	{TIFF, "II*\x00"},
	{TIFF, "MM\x00*"},
	{JPEGXL, "\xff\x0a"},
	{JPEGXL, "\x00\x00\x00\x0cJXL "},
	{AVIF, "????ftypavif"},
	{AVIF, "????ftypavis"},
	{HEIF, "????ftyphei"},
	{HEIF, "????ftyphev"},
	{HEIF, "????ftypmif1"},
	{HEIF, "????ftypmsf1"},
	// Two letters prove little, so in a BMP the reserved words must be zero, too.
	{BMP, "BM????\x00\x00\x00\x00"},
	{PNM, "P2\n"}, {PNM, "P2\r"}, {PNM, "P2 "}, {PNM, "P2\t"},
	{PNM, "P3\n"}, {PNM, "P3\r"}, {PNM, "P3 "}, {PNM, "P3\t"},
	{PNM, "P5\n"}, {PNM, "P5\r"}, {PNM, "P5 "}, {PNM, "P5\t"},
	{PNM, "P6\n"}, {PNM, "P6\r"}, {PNM, "P6 "}, {PNM, "P6\t"},
}

// SniffLen is the number of leading bytes that decide [Sniff].
const SniffLen = 12

// Sniff recognises an image by its first [SniffLen] bytes. It is Unknown if these are of no
// known format. It says nothing about the bytes that follow.
func Sniff(data []byte) Format {
	for _, s := range signatures {
		if s.matches(data) {
			return s.format
		}
	}
	return Unknown
}

func (s signature) matches(data []byte) bool {
	if len(data) < len(s.pattern) {
		return false
	}
	for i := range len(s.pattern) {
		if s.pattern[i] != '?' && s.pattern[i] != data[i] {
			return false
		}
	}
	return true
}

// describe says what bytes are that are no image, for the refusal.
func describe(data []byte) string {
	if stray := regular.Stray(data); stray != "" {
		return stray
	}
	head := data[:min(len(data), SniffLen)]
	if bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r > '~' }) {
		return "binary data of an unknown format"
	}
	return "text of an unknown format"
}
