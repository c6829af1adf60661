package filedigest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"facepipe/internal/filedigest"
)

func TestDigests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "abc")
	if err := os.WriteFile(path, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2
	if got, err := filedigest.Of(path); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := filedigest.OfReader(iotest.OneByteReader(strings.NewReader("abc"))); err != nil || got != want {
		t.Errorf("byte by byte: %s, %v", got, err)
	}
	if _, err := filedigest.Of(path + ".not"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	broken := errors.New("broken")
	if _, err := filedigest.OfReader(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
}
