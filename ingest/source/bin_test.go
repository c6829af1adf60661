package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/pickle/pickletest"
)

func binFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lfw.bin")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func openedBin(t testing.TB, content string) (*verificationBin, error) {
	t.Helper()
	src, err := Spec{Kind: "bin", Path: binFile(t, content)}.Open(t.Context())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = src.Close() })
	return src.(*verificationBin), nil
}

func pairsOf(t testing.TB, src PairLister) (lines []string) {
	t.Helper()
	err := src.Pairs(t.Context(), func(a, b string, same bool) error {
		lines = append(lines, fmt.Sprint(a, " ", b, " ", same))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestBin(t *testing.T) {
	images := [][]byte{[]byte("\xff\xd8a"), []byte("\xff\xd8'\\\n"), []byte("\x89PNG\r\n\x1a\n"), []byte("BM")}
	for _, d := range pickletest.Dialects() {
		content := string(d.Dump(images, []bool{true, false}))
		src, err := openedBin(t, content)
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
			continue
		}
		var want []string
		for i, image := range images {
			want = append(want, fmt.Sprintf("%06d |  | %s", i, image))
		}
		walk(t, src).want(t, want)
		if got := pairsOf(t, src); !slices.Equal(got, []string{"000000 000001 true", "000002 000003 false"}) {
			t.Errorf("%s: pairs %q", d.Name, got)
		}
		if sum := sha256.Sum256([]byte(content)); src.Digest() != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: digest %s", d.Name, src.Digest())
		}
	}
}

func TestBinFlags(t *testing.T) {
	b1 := "cnumpy\ndtype\n(U\x02b1K\x00K\x01tR"
	tests := []struct{ name, flags, want string }{
		{"booleans", "(\x88\x89l", "true false"},
		{"numbers", "(K\x00K\x01l", "false true"},
		{"a tuple", "\x88\x88\x86", "true true"},
		{"an array", "cnumpy.core.numeric\n_frombuffer\n(U\x02\x01\x00" + b1 + "K\x02\x85U\x01CtR", "true false"},
	}
	for _, tt := range tests {
		src, err := openedBin(t, "(U\x01AU\x01BU\x01CU\x01Dl"+tt.flags+"\x86.")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for _, line := range pairsOf(t, src) {
			got = append(got, line[strings.LastIndexByte(line, ' ')+1:])
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
}

// What Python writes is read, whatever the types of images and flags and the protocol.
func TestBinAsPythonWritesIt(t *testing.T) {
	var want []string
	for i, image := range pythonImages {
		want = append(want, fmt.Sprintf("%06d |  | %s", i, image))
	}
	for _, b := range pythonBins {
		src, err := openedBin(t, b.pickle)
		if err != nil {
			t.Errorf("%s: %v", b.by, err)
			continue
		}
		walk(t, src).want(t, want)
		if got := pairsOf(t, src); !slices.Equal(got, []string{"000000 000001 true", "000002 000003 false"}) {
			t.Errorf("%s: pairs %q", b.by, got)
		}
	}
}

// Flags that are no booleans are refused, whatever type their numbers have.
func TestBinFlagsBeyondOne(t *testing.T) {
	array := func(code, order, data string) string {
		return fmt.Sprintf("cnumpy.core.numeric\n_frombuffer\n(U%c%scnumpy\ndtype\n(U\x02%sK\x00K\x01tR(K\x03U\x01%sNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbK\x01\x85U\x01CtR", len(data), data, code, order)
	}
	tests := []struct{ flags, want string }{
		{array("i2", "<", "\x01\x00"), ""},
		{array("i2", ">", "\x01\x00"), "flag 0 is 256, want 0 or 1"},
		{array("i1", "|", "\xff"), "flag 0 is -1, want 0 or 1"},
		{array("u8", "<", "\xff\xff\xff\xff\xff\xff\xff\xff"), "flag 0 is -1, want 0 or 1"},
		{array("i8", "<", "\x00\x00\x00\x00\x01\x00\x00\x00"), "flag 0 is 4294967296, want 0 or 1"},
		{array("i4", "<", "\x00\x00"), "int32 array of shape [1], made of 2 bytes"},
		{array("f8", "<", "\x00\x00\x00\x00\x00\x00\x00\x00"), `numpy dtype "f8"; if you trust the file, write it again`},
	}
	for _, tt := range tests {
		_, err := openedBin(t, "(U\x01AU\x01Bl"+tt.flags+"\x86.")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.flags, err, tt.want)
		}
	}
}

// TestBinImagesThatAreNone keeps the numbers of the others.
func TestBinImagesThatAreNone(t *testing.T) {
	u1 := "cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
	b1 := "cnumpy\ndtype\n(U\x02b1K\x00K\x01tR"
	array := func(dtype, shape string) string {
		return "cnumpy.core.numeric\n_frombuffer\n(U\x04abcd" + dtype + shape + "U\x01CtR"
	}
	content := "(" + array(u1, "K\x04K\x01\x86") + array(u1, "K\x02K\x02\x86") + array(b1, "K\x04\x85") +
		"K\x05" + "X\x02\x00\x00\x00é" + "S'\\x4'\n" + "l(\x88\x88\x88l\x86."
	src, err := openedBin(t, content)
	if err != nil {
		t.Fatal(err)
	}
	walk(t, src).want(t, []string{
		"000000 |  | abcd",
		"000001 |  ! is a uint8 array of shape [2 2], want the bytes of a file",
		"000002 |  ! is a bool array of shape [4], want the bytes of a file",
		"000003 |  ! is an integer, want bytes",
		"000004 |  ! is a text, want bytes",
		"000005 |  ! malformed pickle: an escape is cut short",
	})
}

func TestBinRefusals(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"os.system", "cos\nsystem\n(S'false'\ntR.", `refused: global "os.system"; if you trust the file, write it again`},
		{"a function among the images", "(U\x01Ac__builtin__\neval\nl(\x88l\x86.", `global "__builtin__.eval"`},
		{"a zip archive", "PK\x03\x04...", "is a zip archive"},
		{"compressed", "\x1f\x8b\x08\x00...", "decompress it first, with gunzip"},
		{"records", "\x0a\x23\xd7\xce...", "give it as recordio=FILE"},
		{"not a pickle", "hello", "malformed pickle"},
		{"empty", "", "malformed pickle"},
		{"cut short", "\x80\x02(U\x01AU\x01Bl(\x88l", "ends in the middle"},
		{"one part", "(U\x01AU\x01Bl\x85.", "holds a tuple of 1, want a tuple of images and flags"},
		{"a number", "K\x05.", "holds an integer"},
		{"images that are a number", "K\x05(\x88l\x86.", "images are an integer, want a list"},
		{"flags that are a number", "(U\x01AU\x01BlK\x05\x86.", "flags are an integer, want a list"},
		{"flags of another kind", "(U\x01AU\x01Bl(U\x01Al\x86.", "flag 0 is a byte string"},
		{"flags that are numbers", "(U\x01AU\x01Bl(K\x02l\x86.", "flag 0 is an integer, want a boolean, 0 or 1"},
		{"flags in an array of numbers", "(U\x01AU\x01Blcnumpy.core.numeric\n_frombuffer\n(U\x01\x02cnumpy\ndtype\n(U\x02u1K\x00K\x01tRK\x01\x85U\x01CtR\x86.", "flag 0 is 2, want 0 or 1"},
		{"an odd image", "(U\x01AU\x01BU\x01Cl(\x88l\x86.", "3 images and 1 flags: want two images a flag"},
		{"a flag too many", "(U\x01AU\x01Bl(\x88\x88l\x86.", "2 images and 2 flags"},
		{"nothing", "]]\x86.", "no image in it"},
	}
	for _, tt := range tests {
		_, err := openedBin(t, tt.content)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "lfw.bin") {
			t.Errorf("%s: error %v, want one that names the file and says %q", tt.name, err, tt.want)
		}
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none.bin")} {
		if _, err := (Spec{Kind: "bin", Path: path}).Open(t.Context()); err == nil {
			t.Errorf("opened %s", path)
		}
	}
}

func TestBinStops(t *testing.T) {
	path := binFile(t, "(U\x01AU\x01BU\x01CU\x01Dl(\x88\x89l\x86.")
	src, err := Spec{Kind: "bin", Path: path}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	enough := errors.New("enough")
	if err := src.Walk(t.Context(), func(Item) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("after the visitor's error: %v", err)
	}
	pairs := src.(PairLister)
	if err := pairs.Pairs(t.Context(), func(string, string, bool) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("after the visitor's error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	if err := src.Walk(ctx, func(Item) error { seen++; cancel(); return nil }); !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("after cancelling: %v, %d items", err, seen)
	}
	if err := pairs.Pairs(ctx, func(string, string, bool) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancelling: %v", err)
	}
	if _, err := (Spec{Kind: "bin", Path: path}).Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("opened after cancelling: %v", err)
	}
}
