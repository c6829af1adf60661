package study

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/seal"
	"facepipe/store/storetest"
)

const rowDigest = "0123456789abcdef"

// auditedStudy is a folder with the files of a study, and of one row that is done.
func auditedStudy(t *testing.T) (dir, row string) {
	t.Helper()
	dir = t.TempDir()
	row = filepath.Join(dir, rowsFolder, "arcface-seed1-0123456789ab")
	if err := os.MkdirAll(row, 0o700); err != nil {
		t.Fatal(err)
	}
	scores := "not looked into"
	storetest.WriteText(t, filepath.Join(row, "scores-faces.npy"), scores)
	storetest.WriteText(t, filepath.Join(row, summaryFile), "{}")
	for path, v := range map[string]any{
		filepath.Join(dir, studyFile):   identity{"study.yaml", "/d", "c"},
		filepath.Join(dir, teacherFile): TeacherCost{"big.onnx", "abc", 0.5},
		filepath.Join(dir, tableJSON):   Result{Teacher: new(TeacherCost), Rows: []RowState{{State: Done, Folder: filepath.Base(row)}}},
		filepath.Join(row, rowFile):     recorded{Group: "arcface", Seed: 1, Digest: rowDigest},
		filepath.Join(row, costFile):    cost{Row: rowDigest, PeakMiB: 7},
		filepath.Join(row, failedFile):  failure{rowDigest, "out of luck"},
		filepath.Join(row, figuresFile): figures{Measured: "m", Scores: map[string]string{"scores-faces.npy": seal.Digits([]byte(scores))}, cost: cost{Row: rowDigest, PeakMiB: 7}},
	} {
		if err := writeJSON(path, v); err != nil {
			t.Fatal(err)
		}
	}
	return dir, row
}

// audited is what [Audit] finds, a problem a line, then the notes.
func audited(t *testing.T, dir string) string {
	t.Helper()
	r, err := Audit(t.Context(), dir)
	if err != nil || r.OK != (len(r.Problems) == 0) {
		t.Fatalf("%+v, %v", r, err)
	}
	text := ""
	for _, p := range r.Problems {
		text += fmt.Sprintf("%s: %s\n", p.File, p.What)
	}
	return text + strings.Join(r.Notes, "\n")
}

// Damage to what a study says of itself, and to its rows, is named with its file.
func TestAudit(t *testing.T) {
	dir, row := auditedStudy(t)
	if !Is(dir) || Is(t.TempDir()) {
		t.Error("which folder is a study")
	}
	killed := filepath.Join(dir, rowsFolder, "arcface-seed2-ba9876543210")
	if err := os.Mkdir(killed, 0o700); err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, filepath.Join(killed, lockFile), "1@host")
	if found := audited(t, dir); found != "" {
		t.Fatalf("a sound study, and a row that a process was killed before it began: %s", found)
	}
	for _, path := range []string{
		filepath.Join(dir, studyFile), filepath.Join(dir, tableJSON), filepath.Join(dir, teacherFile), filepath.Join(row, rowFile),
		filepath.Join(row, costFile), filepath.Join(row, figuresFile), filepath.Join(row, failedFile), filepath.Join(row, "scores-faces.npy"),
	} {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		blamed := func(what string, data []byte) {
			t.Helper()
			storetest.WriteText(t, path, string(data))
			if found := audited(t, dir); !strings.HasPrefix(found, name+": ") || strings.Count(found, "\n") != 1 {
				t.Errorf("%s, %s: %q", name, what, found)
			}
		}
		for at := 0; at < len(was); at += 1 + len(was)/23 {
			data := []byte(string(was))
			data[at] ^= 4
			blamed(fmt.Sprint("byte ", at), data)
		}
		blamed("cut", was[:len(was)-1])
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if found := audited(t, dir); filepath.Base(path) != failedFile && !strings.HasPrefix(found, name+": ") || !Is(dir) {
			t.Errorf("%s, removed: %q", name, found)
		}
		storetest.WriteText(t, path, string(was))
	}
	for path, v := range map[string]any{
		filepath.Join(row, rowFile):     recorded{Group: "arcface", Seed: 1, Digest: "f" + rowDigest},
		filepath.Join(row, costFile):    cost{Row: "f" + rowDigest, PeakMiB: 7},
		filepath.Join(row, failedFile):  failure{"f" + rowDigest, "out of luck"},
		filepath.Join(row, figuresFile): figures{cost: cost{Row: "f" + rowDigest}},
	} {
		was, err := os.ReadFile(path)
		if err == nil {
			err = writeJSON(path, v)
		}
		if err != nil {
			t.Fatal(err)
		}
		if found := audited(t, dir); !strings.Contains(found, filepath.Base(path)+": ") || !strings.Contains(found, "of another row") {
			t.Errorf("%s of another row: %q", filepath.Base(path), found)
		}
		storetest.WriteText(t, path, string(was))
	}
	storetest.WriteText(t, filepath.Join(row, "run.json"), "{")
	if found := audited(t, dir); !strings.HasPrefix(found, "rows/"+filepath.Base(row)+"/run.json: ") {
		t.Error(found)
	}
}

// What a study of before there were seals cannot tell is a note, and no problem.
func TestAuditOfAnOlderStudy(t *testing.T) {
	dir, row := auditedStudy(t)
	for path, text := range map[string]string{
		filepath.Join(dir, studyFile):   `{"file": "study.yaml", "dataset": "/d", "crops_digest": "c"}`,
		filepath.Join(dir, tableJSON):   `{"states": {"done": 1}}`,
		filepath.Join(dir, teacherFile): `{"model": "big.onnx"}`,
		filepath.Join(row, rowFile):     `{"group": "arcface", "seed": 1, "digest": "0123456789abcdef"}`,
		filepath.Join(row, costFile):    `{"peak_mib": 7}`,
		filepath.Join(row, failedFile):  `{"error": "out of luck"}`,
		filepath.Join(row, figuresFile): `{"measured": "m", "tests": {"faces": {"auc": 0.5}}, "peak_mib": 7}`,
	} {
		storetest.WriteText(t, path, text)
	}
	if found, want := audited(t, dir), "8 files are of an older pipe, without a digest"; !strings.HasPrefix(found, want) {
		t.Errorf("%q, want %q", found, want)
	}
	storetest.WriteText(t, filepath.Join(row, costFile), `{"peak_mib": 7, "sebl": "x"}`)
	if found := audited(t, dir); !strings.Contains(found, "cost.json: ") {
		t.Errorf("a member that is not known: %q", found)
	}
}
