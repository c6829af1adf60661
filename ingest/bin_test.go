package ingest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"facepipe/ingest"
	"facepipe/internal/pickle/pickletest"
)

func TestBinGivesTheCropsOfTheFolder(t *testing.T) {
	f := generatedFaces(t, 4, 3)
	var images [][]byte
	for _, key := range f.keys() {
		images = append(images, f.crops[key].Image)
	}
	for _, d := range pickletest.Dialects() {
		path := filepath.Join(t.TempDir(), "faces.bin")
		if err := os.WriteFile(path, d.Dump(images, make([]bool, len(images)/2)), 0o644); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "faces.ds")
		s := mustRun(t, ingest.Options{Sources: []string{"bin=" + path}, Out: out})
		if s.Written != len(images) || s.Identities != 0 {
			t.Errorf("%s: summary %+v", d.Name, s)
		}
		got := crops(t, out)
		for i, key := range f.keys() {
			if c, want := got[fmt.Sprintf("%06d", i)], f.crops[key]; c.ID != want.ID || c.Identity != "" {
				t.Errorf("%s: image %d: id %x of %q, want %x", d.Name, i, c.ID, c.Identity, want.ID)
			}
		}
	}
}
