package study

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store/storetest"
)

// Damage to what a study says of itself, and to its rows, is named with its file.
func TestAudit(t *testing.T) {
	dir := t.TempDir()
	const row = "rows/arcface-seed1-0123456789ab"
	files := map[string]string{
		"study.json":          `{"file": "study.yaml", "dataset": "/d", "crops_digest": "c"}`,
		"table.json":          `{}`,
		row + "/row.json":     `{"group": "arcface", "seed": 1, "digest": "0123456789abcdef"}`,
		row + "/figures.json": `{"measured": "m"}`,
		row + "/cost.json":    `{}`,
		row + "/failed.json":  `{"error": "out of luck"}`,
	}
	put := func(file, text string) {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		storetest.WriteText(t, path, text)
	}
	for file, text := range files {
		put(file, text)
	}
	blamed := func(want, words string) {
		t.Helper()
		r, err := Audit(t.Context(), dir)
		if err != nil || r.OK != (want == "") {
			t.Errorf("%+v, %v, want %s", r, err, want)
		}
		if want != "" && (len(r.Problems) != 1 || r.Problems[0].File != want || !strings.Contains(r.Problems[0].What, words)) {
			t.Errorf("%+v, want %s: %s", r.Problems, want, words)
		}
	}
	if !Is(dir) || Is(t.TempDir()) {
		t.Error("which folder is a study")
	}
	blamed("", "")
	for file, text := range files {
		put(file, text[:len(text)-1])
		blamed(file, "damaged data")
		put(file, text)
	}
	put(row+"/row.json", `{"digest": "f123456789abcdef"}`)
	blamed(row+"/row.json", "of another row")
	if err := os.Remove(filepath.Join(dir, row, "row.json")); err != nil {
		t.Fatal(err)
	}
	blamed(row+"/row.json", "no such file")
	put(row+"/row.json", files[row+"/row.json"])
	put(row+"/run.json", "{")
	r, err := Audit(t.Context(), dir)
	if err != nil || r.OK || r.Problems[0].File != row+"/run.json" {
		t.Errorf("%+v, %v", r, err)
	}
}
