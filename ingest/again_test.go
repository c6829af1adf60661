package ingest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"facepipe/ingest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/check"
	"facepipe/store/info"
)

func aligned(seed uint64) []byte { return imgcodec.EncodePNG(photo(seed, 112, 112, 8, 8)) }

// put replaces a file as a copy does that keeps the time.
func put(t *testing.T, path string, data []byte, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		t.Fatal(err)
	}
	when := time.Now().Add(-age)
	if err := errors.Join(os.Chtimes(path+".new", when, when), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// wantRejects checks what a dataset says of its rejects everywhere, and the dataset.
func wantRejects(t *testing.T, dir string, keys ...string) {
	t.Helper()
	listed := rejects(t, dir)
	for _, key := range keys {
		if _, ok := listed[key]; !ok {
			t.Errorf("%s is not among the rejects %v", key, listed)
		}
	}
	about, err := info.Read(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	counted, ofSources := 0, 0
	for _, stage := range about.Rejects {
		counted += stage.Count
	}
	for _, s := range about.Sources {
		ofSources += s.Rejects
	}
	d, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n := len(keys); len(listed) != n || counted != n || ofSources != n || d.Rejects() != n {
		t.Errorf("rejects: %v, info counts %d and %d, the dataset %d, want %q", listed, counted, ofSources, d.Rejects(), keys)
	}
	report, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
	if err != nil || !report.OK {
		t.Errorf("check: %+v, %v", report, err)
	}
}

// What was refused is taken when its file is another, and nothing else is read again.
func TestRunLooksAgainAtReplacedFiles(t *testing.T) {
	root := folder(t, map[string][]byte{
		"Ann/1.png": aligned(1), "Ann/2.png": []byte("no picture"), "Bob/1.png": aligned(2)[:200], "Cid/1.png": []byte("no picture either"),
	})
	out := filepath.Join(t.TempDir(), "faces.ds")
	var log bytes.Buffer
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: out, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	first := mustRun(t, o)
	wantRejects(t, out, "Ann/2.png", "Bob/1.png", "Cid/1.png")
	if again := mustRun(t, o); again.Digest != first.Digest || again.Retried != 0 || again.RejectedBefore != 3 {
		t.Errorf("the same again: %+v", again)
	}
	// A good file, one that is as old as any; another bad one; and the same bytes anew.
	put(t, filepath.Join(root, "Ann/2.png"), aligned(3), 1000*time.Hour)
	put(t, filepath.Join(root, "Bob/1.png"), aligned(2)[:300], 0)
	put(t, filepath.Join(root, "Cid/1.png"), []byte("no picture either"), 0)
	s := mustRun(t, o)
	if s.Retried != 2 || s.Written != 1 || s.Rejected != 1 || s.RejectedBefore != 1 || s.Skipped != 2 || s.Rows != 2 || s.Changed != 0 {
		t.Errorf("after the files were replaced: %+v", s)
	}
	wantRejects(t, out, "Bob/1.png", "Cid/1.png")
	if c, ok := crops(t, out)["Ann/2.png"]; !ok || c.Identity != "Ann" {
		t.Errorf("the mended photograph: %+v", c)
	}
	if again := mustRun(t, o); again.Digest != s.Digest || again.Retried != 0 || again.RejectedBefore != 2 || again.Skipped != 4 {
		t.Errorf("again: %+v", again)
	}
	// A second time, and a duplicate.
	put(t, filepath.Join(root, "Bob/1.png"), aligned(1), 0)
	if s := mustRun(t, o); s.Retried != 1 || s.Duplicates != 1 {
		t.Errorf("a duplicate: %+v", s)
	}
	wantRejects(t, out, "Cid/1.png")
	// All that was refused, though nothing is new.
	o.RetryRejects = true
	all := mustRun(t, o)
	if again := mustRun(t, o); all.Retried != 1 || all.Rejected != 1 || again.Digest != all.Digest || again.RejectedBefore != 0 {
		t.Errorf("all rejects: %+v, then %+v", all, again)
	}
	wantRejects(t, out, "Cid/1.png")
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
	if _, err := store.RebuildIndex(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	wantRejects(t, out, "Cid/1.png")
}

// A photograph that was taken in and is another now is named; one that was only copied is not.
func TestRunNamesChangedFiles(t *testing.T) {
	files := map[string][]byte{}
	for i := range 8 {
		files[fmt.Sprintf("Ann/%d.png", i)] = aligned(uint64(i))
	}
	root := folder(t, files)
	var log bytes.Buffer
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), Logger: slog.New(slog.NewTextHandler(&log, nil))}
	first := mustRun(t, o)
	for i := range 7 {
		data := aligned(uint64(100 + i))
		if i == 3 {
			data = aligned(3)
		}
		put(t, filepath.Join(root, fmt.Sprintf("Ann/%d.png", i)), data, time.Hour)
	}
	s := mustRun(t, o)
	if s.Changed != 6 || s.Skipped != 8 || s.Digest != first.Digest {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{"count=6", "Ann/0.png, Ann/1.png, Ann/2.png, Ann/4.png, Ann/5.png and 1 more", "--key-prefix"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log.String())
		}
	}
	wantRejects(t, o.Out)
}

// A row of a manifest whose file was missing is taken when there is one.
func TestRunTakesFilesThatWereMissing(t *testing.T) {
	root := folder(t, map[string][]byte{"a.png": aligned(1), "list.csv": []byte("path,identity\na.png,Ann\nb.png,Bob\n")})
	o := ingest.Options{Sources: []string{"manifest=" + filepath.Join(root, "list.csv")}, Out: filepath.Join(t.TempDir(), "faces.ds")}
	mustRun(t, o)
	wantRejects(t, o.Out, "b.png")
	put(t, filepath.Join(root, "b.png"), aligned(2), 0)
	if s := mustRun(t, o); s.Retried != 1 || s.Written != 1 || s.Identities != 2 {
		t.Errorf("%+v", s)
	}
	wantRejects(t, o.Out)
}

// A plan's merge knows the files as a single run does, and a merge of datasets carries no reject
// that was mended.
func TestMendedRejectsInPlansAndMerges(t *testing.T) {
	root := folder(t, map[string][]byte{"Ann/1.png": aligned(1), "Ann/2.png": []byte("no picture"), "Bob/1.png": aligned(2), "Bob/2.png": {}})
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), MaxRejectRate: 1}
	job := filepath.Join(t.TempDir(), "job")
	if _, err := ingest.MakePlan(t.Context(), o, job, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := ingest.Work(t.Context(), job, worker.Worker{Count: 1}, ingest.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := ingest.MergePlan(t.Context(), job, ingest.MergeOptions{Options: ingest.Options{MaxRejectRate: 1}}); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "Ann/2.png"), aligned(3), 0)
	put(t, filepath.Join(root, "Bob/1.png"), aligned(4), 0)
	s := mustRun(t, o)
	if s.Retried != 1 || s.Written != 1 || s.Changed != 1 {
		t.Errorf("after a plan's merge: %+v", s)
	}
	wantRejects(t, o.Out, "Bob/2.png")
}

// A run that is killed while it mends rejects, and repeated, gives the bytes of one that is not.
func TestMendingSurvivesInterruptions(t *testing.T) {
	files := map[string][]byte{}
	for i := range 24 {
		files[fmt.Sprintf("%c/%02d.png", 'a'+i/4, i)] = aligned(uint64(i))
		if i%2 == 1 {
			files[fmt.Sprintf("%c/%02d.png", 'a'+i/4, i)] = []byte("no picture")
		}
	}
	root := folder(t, files)
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), ShardRows: 3}
	mustRun(t, o)
	begun := filepath.Join(t.TempDir(), "begun.ds")
	if err := os.CopyFS(begun, os.DirFS(o.Out)); err != nil {
		t.Fatal(err)
	}
	for i := range 24 {
		if i%4 == 1 {
			put(t, filepath.Join(root, fmt.Sprintf("%c/%02d.png", 'a'+i/4, i)), aligned(uint64(100+i)), 0)
		}
	}
	whole := mustRun(t, o)
	want := tree(t, o.Out)
	wantRejects(t, o.Out, "a/03.png", "b/07.png", "c/11.png", "d/15.png", "e/19.png", "f/23.png")
	// A kill leaves the first new shard, which dataset.json does not list.
	o.Out = filepath.Join(t.TempDir(), "killed.ds")
	if err := os.CopyFS(o.Out, os.DirFS(begun)); err != nil {
		t.Fatal(err)
	}
	var document struct{ Shards []json.RawMessage }
	data, err := os.ReadFile(filepath.Join(begun, "dataset.json"))
	if err == nil {
		err = json.Unmarshal(data, &document)
	}
	if err != nil {
		t.Fatal(err)
	}
	next := fmt.Sprintf("%06d", len(document.Shards))
	for name, text := range want {
		if strings.Contains(name, next) {
			path := filepath.Join(o.Out, name)
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s := mustRun(t, o); s.Digest != whole.Digest || s.Retried != 3 {
		t.Errorf("after a kill: %+v, want %+v", s, whole)
	}
	sameTree(t, "after a kill", tree(t, o.Out), want)
}

// A dataset within its own source is no part of it, neither when it is begun nor later.
func TestRunIntoItsOwnSource(t *testing.T) {
	root := folder(t, map[string][]byte{"Ann/1.png": aligned(1), "Bob/1.png": aligned(2)})
	var log bytes.Buffer
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(root, "faces.ds"), Logger: slog.New(slog.NewTextHandler(&log, nil))}
	for i, want := range []ingest.Summary{{Seen: 2, Written: 2}, {Seen: 2, Skipped: 2}} {
		s := mustRun(t, o)
		if s.Seen != want.Seen || s.Written != want.Written || s.Skipped != want.Skipped || s.Rejected != 0 {
			t.Errorf("run %d: %+v", i, s)
		}
	}
	if n := strings.Count(log.String(), "passed over 1 folders in it that are datasets: faces.ds"); n != 2 {
		t.Errorf("said %d times: %s", n, log.String())
	}
}
