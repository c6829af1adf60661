package ingest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/ingest"
	"facepipe/internal/durable"
	"facepipe/internal/webdataset"
	"facepipe/store"
)

// shards writes the folder's photographs as two WebDataset shards: whole photographs with
// their landmarks, or the aligned crops.
func (f facesOf) shards(t *testing.T, aligned bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "packed")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := webdataset.NewWriter((len(f.crops)+1)/2, func(number int) (webdataset.Output, error) {
		return durable.Create(filepath.Join(dir, fmt.Sprintf("train-%06d.tar", number)))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range f.keys() {
		var files []webdataset.File
		if aligned {
			files = []webdataset.File{{Extension: "png", Data: f.crops[key].Image}, {Extension: "cls", Data: []byte(f.number(key))}}
		} else {
			files = []webdataset.File{{Extension: "json", Data: f.label(t, key)}, {Extension: "jpg", Data: f.photo(t, key)}}
		}
		if err := w.Write(strings.TrimSuffix(key, ".jpg"), files...); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// number is the number of a key's person.
func (f facesOf) number(key string) string { return fmt.Sprint(f.crops[key].Label) }

func (f facesOf) label(t *testing.T, key string) []byte {
	t.Helper()
	points, _, ok, err := f.landmarks.Lookup(key)
	if err != nil || !ok {
		t.Fatalf("landmarks of %s: %v, %v", key, ok, err)
	}
	var flat []float64
	for _, p := range points {
		flat = append(flat, p.X, p.Y)
	}
	data, err := json.Marshal(map[string]any{"identity": f.crops[key].Identity, "landmarks": flat})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sameInShards compares a dataset of shards with the folder's.
func (f facesOf) sameInShards(t *testing.T, got map[string]store.Crop, extension string, identity func(key string) string) {
	t.Helper()
	if len(got) != len(f.crops) {
		t.Errorf("%d crops, want %d", len(got), len(f.crops))
	}
	for i, key := range f.keys() {
		name := fmt.Sprintf("train-%06d.tar", 2*i/len(f.crops))
		sharded := strings.TrimSuffix(name, ".tar") + "/" + strings.TrimSuffix(key, "jpg") + extension
		c, ok := got[sharded]
		if want := f.crops[key]; !ok || c.ID != want.ID || c.Identity != identity(key) {
			t.Errorf("%s: found %v, id %x of %q; want %x of %q", sharded, ok, c.ID, c.Identity, want.ID, identity(key))
		}
	}
}

func TestWebDatasetGivesTheCropsOfTheFolder(t *testing.T) {
	f := generatedFaces(t, 4, 3)
	ingested := func(t *testing.T, o ingest.Options) ingest.Summary {
		t.Helper()
		o.Out = filepath.Join(t.TempDir(), "faces.ds")
		s := mustRun(t, o)
		if s.Written != len(f.crops) || s.Rejected != 0 {
			t.Errorf("summary %+v", s)
		}
		return s
	}
	photos, aligned := f.shards(t, false), f.shards(t, true)
	s := ingested(t, ingest.Options{Sources: []string{"webdataset=" + photos}})
	f.sameInShards(t, crops(t, s.Dataset), "jpg", func(key string) string { return f.crops[key].Identity })

	s = ingested(t, ingest.Options{Sources: []string{"webdataset=" + aligned}})
	numbered := func(key string) string { return "packed/" + f.number(key) }
	f.sameInShards(t, crops(t, s.Dataset), "png", numbered)

	t.Run("again", func(t *testing.T) {
		again := mustRun(t, ingest.Options{Sources: []string{"webdataset=" + aligned}, Out: s.Dataset})
		if again.Skipped != len(f.crops) || again.Digest != s.Digest {
			t.Errorf("summary %+v", again)
		}
	})
	t.Run("compressed, by a pattern, one worker", func(t *testing.T) {
		for i := range 2 {
			path := filepath.Join(aligned, fmt.Sprintf("train-%06d.tar", i))
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var buf bytes.Buffer
			z := gzip.NewWriter(&buf)
			_, err = z.Write(data)
			if err := errors.Join(err, z.Close(), os.WriteFile(path+".gz", buf.Bytes(), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		pattern := filepath.Join(aligned, "train-{000000..000001}.tar.gz")
		one := ingested(t, ingest.Options{Sources: []string{"webdataset=" + pattern}, Workers: 1})
		f.sameInShards(t, crops(t, one.Dataset), "png", numbered)
		if many := ingested(t, ingest.Options{Sources: []string{"webdataset=" + pattern}, Workers: 5}); many.Digest != one.Digest {
			t.Errorf("digest %s of five workers, %s of one", many.Digest, one.Digest)
		}
	})
}

// TestWebDatasetDamageCostsOneSample leaves a shard out and damages another.
func TestWebDatasetDamageCostsOneSample(t *testing.T) {
	f := generatedFaces(t, 2, 4)
	dir := f.shards(t, true)
	path := filepath.Join(dir, fmt.Sprintf("train-%06d.tar", 1))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("id_0001_0003.png"))] ^= 1
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "faces.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"webdataset=" + filepath.Join(dir, "train-{000000..000002}.tar")}, Out: out})
	// The missing shard, the damage, and the sample that has lost its image to it.
	if s.Written != len(f.crops)-1 || s.Rejected != 3 {
		t.Errorf("summary %+v", s)
	}
}
