// Package facestest makes tiny datasets, lists and embeddings for the tests of eval.
package facestest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/store"
	"facepipe/store/storetest"
)

// Crop is picture number of a person: the person's own pattern with some noise.
func Crop(key string, person, number int) store.Crop {
	pattern := rand.New(rand.NewPCG(uint64(person), 1))
	noise := rand.New(rand.NewPCG(uint64(person), uint64(number)+2))
	img := imgcodec.NewImage(storetest.Contract.CropSize, storetest.Contract.CropSize)
	for i := range img.Pix {
		img.Pix[i] = byte(60 + pattern.IntN(100) + noise.IntN(80))
	}
	return storetest.Raw(storetest.Contract, img.Pix, key, fmt.Sprintf("P%02d", person))
}

// Key names a picture as LFW does.
func Key(person, number int, ext string) string {
	return fmt.Sprintf("P%02d/P%02d_%04d%s", person, person, number, ext)
}

// WriteDataset stores crops in several small shards.
func WriteDataset(t *testing.T, crops []store.Crop) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	source := store.SourceInfo{Kind: "folder", Path: "photos", Detector: "test detector 256", DetectorDigest: strings.Repeat("ab", 32)}
	storetest.Write(t, dir, storetest.Contract, 7, source, crops)
	return dir
}

// Faces has so many people and pictures of each.
const People, Pictures = 10, 4

// Faces writes a dataset of People with several Pictures each.
func Faces(t *testing.T) string {
	t.Helper()
	var crops []store.Crop
	for p := range People {
		for n := range Pictures {
			crops = append(crops, Crop(Key(p, n+1, ".png"), p, n+1))
		}
	}
	return WriteDataset(t, crops)
}

// LFWList is a list of ten sets in LFW's format on faces: set s has the pictures of
// person s as same pairs, and pairs with the next people as different ones.
func LFWList() string {
	var b strings.Builder
	b.WriteString("10\t3\n")
	for s := range People {
		for n := 2; n <= Pictures; n++ {
			fmt.Fprintf(&b, "P%02d\t1\t%d\n", s, n)
		}
		for n := 1; n < Pictures; n++ {
			fmt.Fprintf(&b, "P%02d\t%d\tP%02d\t%d\n", s, n, (s+n)%People, n)
		}
	}
	return b.String()
}

// WriteFile writes a file into a folder of its own.
func WriteFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Embeddings are the same direction for all pictures of a person, as strongly as signal
// says, and noise. names are those of pictures, as [Key] gives them.
func Embeddings(names []string, seed uint64, signal float64) [][]float32 {
	rng := rand.New(rand.NewPCG(seed, 5))
	embeddings := make([][]float32, len(names))
	for i, name := range names {
		person := rand.New(rand.NewPCG(seed, uint64(name[1])<<8|uint64(name[2])))
		embeddings[i] = make([]float32, 32)
		for k := range embeddings[i] {
			embeddings[i][k] = float32(signal*person.NormFloat64() + rng.NormFloat64())
		}
	}
	return embeddings
}
