package export_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"facepipe/ingest"
	"facepipe/ingest/source/sourcetest"
	"facepipe/store/export"
)

// What is exported can be ingested again: the same crops of the same people.
func TestExportsConform(t *testing.T) {
	for _, c := range []struct{ to, kind, path string }{
		{"folder", "folder", ""},
		{"recordio", "recordio", "train.rec"},
		{"webdataset", "webdataset", "{000000..000003}.tar"},
	} {
		t.Run(c.to, func(t *testing.T) {
			sourcetest.Conform(t, sourcetest.Kind{Name: c.kind, LayOut: func(t testing.TB, dir string, faces []sourcetest.Face) string {
				out := filepath.Join(dir, "out")
				_, err := export.Run(t.Context(), export.Options{
					Dataset: datasetOf(t, dir, faces), To: c.to, Out: out, ShardCrops: 60, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
				})
				if err != nil {
					t.Fatal(err)
				}
				return filepath.Join(out, c.path)
			}})
		})
	}
}

// datasetOf ingests faces from folders named after the people.
func datasetOf(t testing.TB, dir string, faces []sourcetest.Face) string {
	t.Helper()
	photos, out := filepath.Join(dir, "photos"), filepath.Join(dir, "faces.ds")
	for _, f := range faces {
		path := filepath.Join(photos, f.Person, f.File)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ingest.Run(t.Context(), ingest.Options{Sources: []string{"folder=" + photos}, Out: out, ShardRows: 64}); err != nil {
		t.Fatal(err)
	}
	return out
}
