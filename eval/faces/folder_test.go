package faces

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What is no image is passed over, and never waited for or read whole, whatever it is.
func TestFolderOfAnything(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	var picture bytes.Buffer
	if err := errors.Join(
		png.Encode(&picture, image.NewRGBA(image.Rect(0, 0, 4, 4))),
		os.Mkdir(at("ann"), 0o700), os.WriteFile(at("ann/1.png"), picture.Bytes(), 0o600), os.WriteFile(at("elsewhere"), picture.Bytes(), 0o600),
		os.Symlink("../elsewhere", at("ann/2.png")),
		unix.Mkfifo(at("ann/pipe.png"), 0o600), os.Symlink("/dev/zero", at("ann/zeros.png")), os.Symlink("..", at("ann/up")),
		os.WriteFile(at("film.mp4"), nil, 0o600), os.Truncate(at("film.mp4"), 1<<40),
	); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFolder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ann/1.png", "ann/2.png", "elsewhere"}; !slices.Equal(f.keys, want) {
		t.Errorf("%q, want %q", f.keys, want)
	}
	rgb := make([]byte, 4*4*3)
	if err := f.Decode(1, rgb); err != nil {
		t.Error(err)
	}
	if err := errors.Join(os.Remove(at("ann/1.png")), unix.Mkfifo(at("ann/1.png"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := f.Decode(0, rgb); err == nil {
		t.Error("a pipe was decoded")
	}
	if err := os.Remove(at("elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("elsewhere"), slices.Concat(picture.Bytes(), make([]byte, 8)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(at("elsewhere"), maxCropBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(t.Context(), dir); err == nil {
		t.Error("an image without end was read")
	}
}
