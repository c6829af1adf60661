package derived_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"facepipe/store/derived"
	"facepipe/store/storetest"
)

var update = flag.Bool("update", false, "write golden files anew")

// The bytes of what lies beside a teacher's shards are those that the golden file lists:
// derived from, and imported into, the newest golden dataset.
func TestGoldenSides(t *testing.T) {
	dir := storetest.Copy(t, "../testdata/golden-v2/faces.ds")
	derive(t, dir, derived.CentresOptions{})
	deriveNeighbours(t, dir, derived.NeighboursOptions{K: 4})
	teacher := storetest.Cache(t, storetest.Open(t, dir), "r50")
	w, err := derived.CreateClassifier(teacher, derived.ClassifierInfo{Origin: "weight.npy", OriginDigest: "d1", DType: "float64", Prefix: "person_"}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		weights := make([]float32, teacher.Info().Dim)
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
	for _, side := range []string{"centres", "classifier", "neighbours"} {
		err := fs.WalkDir(os.DirFS(teacher.Folder()), side, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(filepath.Join(teacher.Folder(), name))
			fmt.Fprintf(&got, "%x  %s\n", sha256.Sum256(data), name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	storetest.Golden(t, "../testdata/sides.txt", got.Bytes(), *update)
}
