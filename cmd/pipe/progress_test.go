package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A run that is not on a terminal ends with a line that tells all of it, what an earlier run has
// done included, whatever kind of source it reads.
func TestProgressHasAnEnd(t *testing.T) {
	root := alignedFaces(t, 3, 4)
	dir := t.TempDir()
	var rows strings.Builder
	rows.WriteString("path\n")
	files, err := filepath.Glob(filepath.Join(root, "*", "*"))
	if err != nil || len(files) != 12 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, f := range files {
		fmt.Fprintln(&rows, f)
	}
	writeFile(t, filepath.Join(dir, "list.csv"), rows.String())
	for kind, path := range map[string]string{"folder": root, "manifest": filepath.Join(dir, "list.csv")} {
		args := []string{"ingest", "--source", kind + "=" + path, "--out", filepath.Join(dir, kind+".ds")}
		wantLine(t, expect(t, exitDone, args...), `^ingest: 12/12 \(100%\), [0-9.]+ photographs/s$`)
		wantLine(t, expect(t, exitDone, args...), `^ingest: 12/12 \(100%\)$`)
	}
	dataset := filepath.Join(dir, "folder.ds")
	if err := os.WriteFile(filepath.Join(root, "broken.jpg"), []byte("no image"), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"ingest", "--source", "folder=" + root, "--out", dataset, "--min-images", "2", "--max-reject-rate", "1"}
	o := expect(t, exitDone, args...)
	wantLine(t, o, `^count: 13/13 \(100%\), [0-9.]+ photographs/s$`)
	wantLine(t, o, `^ingest: 13/13 \(100%\), [0-9.]+ photographs/s, 1 rejected$`)
	for _, format := range []string{"webdataset", "recordio"} {
		exported := filepath.Join(dir, format)
		o := expect(t, exitDone, "export", dataset, "--to", format, "--out", exported)
		wantLine(t, o, `^export: 12/12 \(100%\), [0-9.]+ crops/s$`)
		o = expect(t, exitDone, "ingest", "--source", format+"="+exported, "--out", filepath.Join(dir, "again-"+format))
		wantLine(t, o, `^ingest: 12/12 \(100%\), [0-9.]+ photographs/s$`)
	}
	wantLine(t, expect(t, exitDone, "check", dataset, "--read-data"), `^check: 12/12 \(100%\), [0-9.]+ rows/s$`)
	if o := expect(t, exitDone, "check", dataset, "--read-data", "--quiet"); o.stderr != "" {
		t.Errorf("--quiet says %q", o.stderr)
	}
	job := filepath.Join(dir, "job")
	o = expect(t, exitDone, "plan", "ingest", "--source", "folder="+root, "--out", filepath.Join(dir, "planned.ds"), "--plan", job, "--task-items", "4")
	wantLine(t, o, `^survey: 13/13 \(100%\), [0-9.]+ photographs/s$`)
	wantLine(t, expect(t, exitDone, "ingest", "--plan", job, "--worker", "1/2"), `^ingest: [0-9]+/([0-9]+) \(100%\), [0-9.]+ photographs/s`)
}

// wantLine is an error unless a line of stderr matches.
func wantLine(t *testing.T, o outcome, pattern string) {
	t.Helper()
	if !regexp.MustCompile("(?m)" + pattern).MatchString(o.stderr) {
		t.Errorf("no line of stderr matches %s:\n%s", pattern, o.stderr)
	}
}
