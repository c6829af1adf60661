// Package sourcetest holds every kind of source to the same measure: whatever container
// generated faces lie in, the same crops of the same people come out of it.
package sourcetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"facepipe/ingest"
	"facepipe/ingest/source"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// Kind is a kind of source that is tested.
type Kind struct {
	// Name is the KIND of KIND=PATH.
	Name string
	// LayOut writes faces, in their order, into a container below dir and returns the
	// PATH that leads to it.
	LayOut func(t testing.TB, dir string, faces []Face) string
	// Nameless containers cannot say who is in a picture.
	Nameless bool
}

// Conform tests that a kind of source yields [Faces]: through whole runs, and walked by
// itself.
func Conform(t *testing.T, k Kind) {
	spec, err := source.ParseSpec(k.Name + "=" + k.LayOut(t, t.TempDir(), Faces()))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("ingest", func(t *testing.T) { sameCrops(t, k, spec) })
	s, err := spec.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	t.Run("walk again", func(t *testing.T) { sameWalks(t, s) })
	t.Run("stop", func(t *testing.T) { stoppedWalks(t, s) })
	t.Run("read together", func(t *testing.T) { concurrentReads(t, s) })
}

// sameCrops ingests the source and compares ids, and who is whom, with the faces.
func sameCrops(t *testing.T, k Kind, spec source.Spec) {
	out := filepath.Join(t.TempDir(), "faces.ds")
	s, err := ingest.Run(t.Context(), ingest.Options{Sources: []string{spec.String()}, Out: out, ShardRows: 64})
	if err != nil {
		t.Fatal(err)
	}
	people := People
	if k.Nameless {
		people = 0
	}
	if s.Written != len(Faces()) || s.Rejected != 0 || s.Duplicates != 0 || s.Identities != people {
		t.Errorf("%d faces of %d people gave %+v", len(Faces()), people, s)
	}
	want, d := map[store.ID]int{}, openDataset(t, out)
	for _, f := range Faces() {
		img, _, err := imgcodec.Decode(f.Data, imgcodec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want[store.CropID(d.Contract(), img.Pix)] = f.Number
	}
	labels := map[int]int32{} // of the persons
	for id, label := range labelsOf(t, d) {
		person, known := want[id]
		if !known {
			t.Errorf("crop %v is none of the faces", id)
			continue
		}
		delete(want, id)
		if before, met := labels[person]; met && before != label {
			t.Errorf("person %d has the labels %d and %d", person, before, label)
		}
		labels[person] = label
	}
	if len(want) > 0 {
		t.Errorf("%d faces are missing", len(want))
	}
}

func openDataset(t *testing.T, dir string) *store.Dataset {
	t.Helper()
	d, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// labelsOf are the crops of a dataset with their labels.
func labelsOf(t *testing.T, d *store.Dataset) map[store.ID]int32 {
	t.Helper()
	labels := map[store.ID]int32{}
	for i := range d.Shards() {
		s, err := d.CropShard(i)
		if err != nil {
			t.Fatal(err)
		}
		for row := range s.Rows() {
			c, err := s.Crop(row)
			if err != nil {
				t.Fatal(err)
			}
			labels[c.ID] = c.Label
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return labels
}

// items walks the source to its end.
func items(t *testing.T, s source.Source) []source.Item {
	t.Helper()
	var all []source.Item
	var before int64
	measured, _ := s.(source.Measured)
	err := s.Walk(t.Context(), func(item source.Item) error {
		all = append(all, item)
		if measured != nil {
			passed, size := measured.Position()
			if passed < before || passed <= 0 || passed > size {
				t.Errorf("at item %d byte %d of %d is passed, after %d", len(all), passed, size, before)
			}
			before = passed
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	counter, counts := s.(source.Counter)
	if !counts && measured == nil {
		t.Error("the source does not tell how much there is")
	}
	if counts {
		if n, err := counter.Count(t.Context()); err != nil || n != len(all) && n != -1 {
			t.Errorf("it counts %d items (%v), the walk met %d", n, err, len(all))
		}
	}
	if len(all) != len(Faces()) {
		t.Fatalf("the walk met %d items, want %d", len(all), len(Faces()))
	}
	return all
}

// sameWalks compares two walks; keys must be fit for a dataset and different.
func sameWalks(t *testing.T, s source.Source) {
	first, second := items(t, s), items(t, s)
	keys := map[string]bool{}
	for i, a := range first {
		if b := second[i]; a.Key != b.Key || a.Identity != b.Identity || a.Split != b.Split || !slices.Equal(a.Attributes, b.Attributes) {
			t.Errorf("item %d is %+v, then %+v", i, a, b)
		}
		if err := store.ValidKey(a.Key); err != nil {
			t.Error(err)
		}
		if keys[a.Key] {
			t.Errorf("key %q is there twice", a.Key)
		}
		keys[a.Key] = true
	}
}

// stoppedWalks ends walks early, by an error and by the context.
func stoppedWalks(t *testing.T, s source.Source) {
	const after = 7
	enough := errors.New("enough")
	met := 0
	err := s.Walk(t.Context(), func(source.Item) error {
		if met++; met == after {
			return enough
		}
		return nil
	})
	if err != enough || met != after {
		t.Errorf("the walk went on to item %d and returned %v", met, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	met = 0
	err = s.Walk(ctx, func(source.Item) error {
		if met++; met == after {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || met == len(Faces()) {
		t.Errorf("cancelled at item %d, the walk met %d and returned %v", after, met, err)
	}
}

// concurrentReads reads all items from several goroutines at once, after the walk, and
// compares them with the faces.
func concurrentReads(t *testing.T, s source.Source) {
	const readers = 4
	want := map[[sha256.Size]byte]bool{}
	for _, f := range Faces() {
		want[sha256.Sum256(f.Data)] = true
	}
	all := items(t, s)
	var group sync.WaitGroup
	read := make([]map[[sha256.Size]byte]bool, readers)
	for r := range readers {
		read[r] = map[[sha256.Size]byte]bool{}
		group.Go(func() {
			for i := range all {
				item := all[(i+r*len(all)/readers)%len(all)]
				data, err := item.Read(nil)
				if err != nil {
					t.Errorf("%s: %v", item.Key, err)
				}
				read[r][sha256.Sum256(data)] = true
			}
		})
	}
	group.Wait()
	for r := range readers {
		if !maps.Equal(read[r], want) {
			t.Errorf("reader %d got %d different files, not the %d that were laid out", r, len(read[r]), len(want))
		}
	}
}
