package ingest_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/ingest"
	"facepipe/ingest/source"
	"facepipe/internal/recordio"
	"facepipe/internal/synthface"
	"facepipe/store"
)

// facesOf are generated photographs, and what they are as crops.
type facesOf struct {
	manifest  synthface.Manifest
	landmarks *source.Landmarks
	crops     map[string]store.Crop // of the photographs' folder, by key
}

func generatedFaces(t *testing.T, identities, each int) facesOf {
	t.Helper()
	m, err := synthface.WriteFolder(t.Context(), t.TempDir(), synthface.FolderOptions{
		Identities: identities, PerIdentity: each, Size: 160, Seed: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "photos.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"folder=" + m.ImageDir}, Landmarks: m.LandmarksFile, Out: out})
	if s.Written != identities*each {
		t.Fatalf("summary %+v", s)
	}
	l, err := source.OpenLandmarks(m.LandmarksFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return facesOf{manifest: m, landmarks: l, crops: crops(t, out)}
}

// keys are the folder's, in its order.
func (f facesOf) keys() []string { return slices.Sorted(maps.Keys(f.crops)) }

func (f facesOf) photo(t *testing.T, key string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(f.manifest.ImageDir, key))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// pack writes images, of the folder's keys in order, as insightface has them.
func (f facesOf) pack(t *testing.T, image func(key string) []byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "packed")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := recordio.NewWriter(dir, recordio.WriterOptions{
		Images: int64(len(f.crops)), Identities: int64(f.manifest.Identities), Height: 112, Width: 112,
	})
	if err != nil {
		t.Fatal(err)
	}
	person := ""
	for _, key := range f.keys() {
		if f.crops[key].Identity != person {
			person = f.crops[key].Identity
			if _, err := w.Begin(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Add(image(key), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// same compares a dataset of records with the folder's: record n is the folder's nth.
func (f facesOf) same(t *testing.T, got map[string]store.Crop, without ...string) {
	t.Helper()
	if len(got) != len(f.crops)-len(without) {
		t.Errorf("%d crops, want %d", len(got), len(f.crops)-len(without))
	}
	person, label := "", -1
	for i, key := range f.keys() {
		want := f.crops[key]
		if want.Identity != person {
			person = want.Identity
			label++
		}
		record := fmt.Sprint(i + 1)
		if slices.Contains(without, record) {
			continue
		}
		c, ok := got[record]
		if !ok || c.ID != want.ID || c.Identity != fmt.Sprintf("packed/%d", label) {
			t.Errorf("record %s: found %v, id %x of %q; want %x of %d", record, ok, c.ID, c.Identity, want.ID, label)
		}
	}
}

func TestRecordIOGivesTheCropsOfTheFolder(t *testing.T) {
	f := generatedFaces(t, 4, 3)
	aligned := f.pack(t, func(key string) []byte { return f.crops[key].Image })
	out := filepath.Join(t.TempDir(), "faces.ds")
	first := mustRun(t, ingest.Options{Sources: []string{"recordio=" + aligned}, Out: out})
	got := crops(t, out)
	f.same(t, got)
	for key, c := range got {
		if c.HasLandmarks {
			t.Errorf("%s has landmarks", key)
		}
	}

	t.Run("again", func(t *testing.T) {
		s := mustRun(t, ingest.Options{Sources: []string{"recordio=" + aligned}, Out: out})
		if s.Skipped != 12 || s.Digest != first.Digest {
			t.Errorf("summary %+v", s)
		}
	})
	t.Run("one worker, without the index", func(t *testing.T) {
		var log bytes.Buffer
		if err := os.Remove(filepath.Join(aligned, recordio.IndexName)); err != nil {
			t.Fatal(err)
		}
		s := mustRun(t, ingest.Options{
			Sources: []string{"recordio=" + filepath.Join(aligned, recordio.RecordName)}, Out: filepath.Join(t.TempDir(), "faces.ds"),
			Workers: 1, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if s.Digest != first.Digest {
			t.Errorf("digest %s, want %s", s.Digest, first.Digest)
		}
		if !strings.Contains(log.String(), "there is no train.idx") || !strings.Contains(log.String(), `source="recordio=`) {
			t.Errorf("log %q", log.String())
		}
	})
	t.Run("photographs with a list", func(t *testing.T) {
		photos := f.pack(t, func(key string) []byte { return f.photo(t, key) })
		var list strings.Builder
		label, person := -1, ""
		for _, key := range f.keys() {
			if p := f.crops[key].Identity; p != person {
				person = p
				label++
			}
			l, _, ok, err := f.landmarks.Lookup(key)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			fmt.Fprintf(&list, "0\t%s\t%d\t0\t0\t160\t160", key, label)
			for _, p := range l {
				fmt.Fprintf(&list, "\t%v", p.X)
			}
			for _, p := range l {
				fmt.Fprintf(&list, "\t%v", p.Y)
			}
			list.WriteString("\n")
		}
		if err := os.WriteFile(filepath.Join(photos, recordio.ListName), []byte(list.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "faces.ds")
		mustRun(t, ingest.Options{Sources: []string{"recordio=" + photos}, Out: out})
		f.same(t, crops(t, out))
	})
	t.Run("a damaged record", func(t *testing.T) {
		damaged := f.pack(t, func(key string) []byte { return f.crops[key].Image })
		path := filepath.Join(damaged, recordio.RecordName)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		index, err := os.ReadFile(filepath.Join(damaged, recordio.IndexName))
		if err != nil {
			t.Fatal(err)
		}
		entries, err := recordio.ReadIndex(bytes.NewReader(index), int64(len(index)))
		if err != nil {
			t.Fatal(err)
		}
		data[entries[4].Offset+7] ^= 0x80
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "faces.ds")
		s := mustRun(t, ingest.Options{Sources: []string{"recordio=" + damaged}, Out: out})
		if s.Rejected != 1 || s.RejectReasons["read: unreadable"] != 1 {
			t.Errorf("summary %+v", s)
		}
		f.same(t, crops(t, out), "5")
		rejects, err := os.ReadFile(filepath.Join(out, "rejects.jsonl"))
		want := fmt.Sprintf("damaged from byte %d to %d: a frame with the unknown part number 4", entries[4].Offset, entries[5].Offset)
		if err != nil || !strings.Contains(string(rejects), want) {
			t.Errorf("rejects %s, %v; want %q", rejects, err, want)
		}
	})
}
