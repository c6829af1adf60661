package faces

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/internal/pickle/pickletest"
)

// flat is a grey crop of a side, as PNG.
func flat(side int, grey byte) []byte {
	img := imgcodec.NewImage(side, side)
	for i := range img.Pix {
		img.Pix[i] = grey
	}
	return imgcodec.EncodePNG(img)
}

// writeBin writes a set of images in pairs.
func writeBin(t *testing.T, images [][]byte, same ...bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "set.bin")
	if err := os.WriteFile(path, pickletest.Dialects()[0].Dump(images, same), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Equal pictures are one face, and chains of same pairs one person.
func TestBin(t *testing.T) {
	a, b, c, d := flat(112, 1), flat(112, 2), flat(112, 3), flat(112, 4)
	broken := slices.Clone(d[:len(d)/2])
	path := writeBin(t, [][]byte{a, b, b, c, a, d, d, broken}, true, true, false, true)
	set, err := OpenBin(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if set.Len() != 4 || set.Identities() != 2 {
		t.Errorf("%d faces of %d people", set.Len(), set.Identities())
	}
	if labels, _ := set.Labels(t.Context()); !slices.Equal(labels, []int32{0, 0, 0, 1}) {
		t.Errorf("labels %v", labels)
	}
	for key, want := range map[string]int{"000000": 0, "000001": 1, "000002": 1, "000004": 0, "000006": 3, "000007": -1, "000008": -1, "0": -1, "-00001": -1, "x": -1} {
		if place, ok, err := set.Find(key); err != nil || ok != (want >= 0) || ok && place != want {
			t.Errorf("%s is at %d, %v (%v), want %d", key, place, ok, err, want)
		}
	}
	if broken := set.Broken(); len(broken) != 1 || broken[0].Key != "000007" || broken[0].Err == nil {
		t.Errorf("broken %v", broken)
	}
	rgb := make([]byte, 3*112*112)
	if err := set.Decode(2, rgb); err != nil || rgb[0] != 3 {
		t.Errorf("decoded %d (%v)", rgb[0], err)
	}
	if d := set.Describe(); d.Path != path || len(d.Digest) != 64 || d.Kind != KindBin || d.Contract.CropSize != 112 {
		t.Errorf("%+v", d)
	}
	if numbers, err := Numbers(set, []int{3, 0}); err != nil || !slices.Equal(numbers, []int32{1, 0}) {
		t.Errorf("numbers %v (%v)", numbers, err)
	}
}

func TestBinRefusals(t *testing.T) {
	small := flat(96, 1)
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "lfw.bin")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := flat(112, 1)
	for name, c := range map[string]struct{ path, want string }{
		"another size":      {writeBin(t, [][]byte{a, a, small, a}, true, false), "image 000002 is 96 x 96 pixels, want aligned crops of 112 x 112 (1 of 4 images differ): align them with pipe ingest --source bin="},
		"a web page":        {write("<!DOCTYPE html><html>"), "is a web page"},
		"empty":             {write(""), "the file is empty"},
		"cut short":         {write("\x80\x02(U\x01AU\x01Bl(\x88l"), "ends in the middle"},
		"one flag too many": {writeBin(t, [][]byte{a, a}, true, false), "2 images and 2 flags"},
		"absent":            {"none.bin", "no such file"},
		"a folder":          {t.TempDir(), "not a regular file"},
	} {
		_, err := OpenBin(t.Context(), c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
