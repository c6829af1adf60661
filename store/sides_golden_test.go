package store_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"facepipe/store/derived"
	"facepipe/store/storetest"
)

// The bytes of what lies beside a teacher's shards are those that the golden file lists:
// derived from, and imported into, the newest golden dataset.
func TestGoldenSides(t *testing.T) {
	dir := copyGolden(t, goldenV2)
	derived.derive(t, dir, derived.CentresOptions{})
	teacher := storetest.Cache(t, storetest.Open(t, dir), "r50")
	w, err := derived.CreateClassifier(teacher, derived.ClassifierInfo{Origin: "weight.npy", OriginDigest: "d1", DType: "float64", Prefix: "person_"}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		weights := make([]float32, teacher.info.Dim)
		for k := range weights {
			weights[k] = float32(i+1) / float32(k+1)
		}
		if err := w.Append(fmt.Sprintf("person_%d", i), weights); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	storetest.CleanCheck(t, dir)

	var got bytes.Buffer
	for _, side := range []string{derived.CentresFolder, derived.ClassifierFolder} {
		err := fs.WalkDir(os.DirFS(teacher.folder), side, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(filepath.Join(teacher.folder, name))
			fmt.Fprintf(&got, "%x  %s\n", sha256.Sum256(data), name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	golden := filepath.Join("testdata", "sides.txt")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the files are\n%s\nwant\n%s", got.Bytes(), want)
	}
}
