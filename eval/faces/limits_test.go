package faces

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/pickle/pickletest"
)

// What is no crop is told from its beginning, however large the file is.
func TestFolderReadsNoMoreThanCropsTake(t *testing.T) {
	crop := flat(112, 9)
	for _, tt := range []struct {
		name, head, reason string
	}{
		{"film.mp4", "\x00\x00\x00\x18ftypmp42", ""}, // is passed over
		{"sparse.jpg", "", ""},
		{"endless.png", string(crop), "more than the limit of 33554432 for an aligned crop"},
	} {
		dir := t.TempDir()
		for name, data := range map[string]string{"a.png": string(crop), tt.name: tt.head} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Truncate(filepath.Join(dir, tt.name), 4<<30); err != nil {
			t.Skip(err)
		}
		var folder *Folder
		var err error
		alloctest.AtMost(t, 4<<20, func() { folder, err = OpenFolder(t.Context(), dir) })
		switch {
		case tt.reason == "" && (err != nil || folder.Len() != 1):
			t.Errorf("%s: %v", tt.name, err)
		case tt.reason != "" && (err == nil || !strings.Contains(err.Error(), tt.reason) || !strings.Contains(err.Error(), tt.name)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.reason)
		}
	}
}

func TestCropsAreSmall(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "photo.png"), imgcodec.EncodePNG(imgcodec.NewImage(1025, 1025)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "have at most 1024 x 1024") {
		t.Errorf("a folder of photographs: %v", err)
	}
	writeBin := func(t *testing.T, images [][]byte) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "set.bin")
		dialects := pickletest.Dialects()
		if err := os.WriteFile(path, dialects[len(dialects)-1].Dump(images, []bool{true}), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	large := append(flat(112, 1), make([]byte, maxCropBytes)...)
	wide := append(flat(300, 1), make([]byte, maxCropBytes)...)
	if _, err := OpenBin(t.Context(), writeBin(t, [][]byte{wide, flat(112, 1)})); err == nil || !strings.Contains(err.Error(), "is 300 x 300 pixels") {
		t.Errorf("a set with a photograph: %v", err)
	}
	set, err := OpenBin(t.Context(), writeBin(t, [][]byte{large, flat(112, 1)}))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if broken := set.Broken(); len(broken) != 1 || !strings.Contains(broken[0].Err.Error(), "more than the limit") {
		t.Errorf("broken: %v", broken)
	}
}
