package study

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/onnx"
	"facepipe/store/check"
	"facepipe/student"
)

// Is is whether a folder holds a study, also one that has lost its study.json.
func Is(dir string) bool {
	for _, name := range []string{studyFile, tableJSON} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Audit looks for damage in a study's folder: what it says of itself, and its rows, each a run. It
// goes on after it finds some, and changes nothing. An error is the context's.
func Audit(ctx context.Context, dir string) (check.Report, error) {
	a := &audit{Findings: check.NewFindings(dir), dir: dir}
	a.wanted(filepath.Join(dir, studyFile), new(identity))
	var table Result
	tabled := a.optional(filepath.Join(dir, tableJSON), &table)
	rows := filepath.Join(dir, rowsFolder)
	entries, err := os.ReadDir(rows)
	if !errors.Is(err, os.ErrNotExist) {
		a.Fault(rows, err)
	}
	for _, e := range entries {
		if err := a.row(ctx, filepath.Join(rows, e.Name())); err != nil {
			return a.Report(), err
		}
	}
	if len(entries) > 0 && tabled == missing {
		a.Fault(filepath.Join(dir, tableJSON), errors.New("missing: compare writes it anew"))
	}
	if teacher := a.optional(filepath.Join(dir, teacherFile), new(TeacherCost)); teacher == missing && table.Teacher != nil {
		a.Fault(filepath.Join(dir, teacherFile), errors.New("missing: compare measures the teacher anew"))
	}
	for _, row := range table.Rows {
		path := filepath.Join(rows, filepath.Base(row.Folder), figuresFile)
		if _, err := os.Lstat(path); row.State == Done && errors.Is(err, os.ErrNotExist) {
			a.Fault(path, errors.New("missing: compare measures the row anew"))
		}
	}
	if a.unsealed > 0 {
		a.Note("%d files are of an older pipe, without a digest: whether they are what was written cannot be told", a.unsealed)
	}
	return a.Report(), nil
}

// audit is one look at a study's folder.
type audit struct {
	*check.Findings
	dir      string
	unsealed int // files
}

// reading is what became of reading a file.
type reading int

const (
	missing reading = iota
	faulty
	sound
)

// row looks at the folder of a row.
func (a *audit) row(ctx context.Context, dir string) error {
	if !begun(dir) {
		return nil
	}
	var row recorded
	path := filepath.Join(dir, rowFile)
	if a.wanted(path, &row) == sound && !strings.HasSuffix(dir, "-"+row.Digest[:min(12, len(row.Digest))]) {
		a.Fault(path, fmt.Errorf("is of another row than its folder, with digest %.12s…", row.Digest))
	}
	var f figures
	var took cost
	figured, costs := a.optional(filepath.Join(dir, figuresFile), &f), a.optional(filepath.Join(dir, costFile), &took)
	var failed failure
	a.optional(filepath.Join(dir, failedFile), &failed)
	for _, file := range []struct{ name, row string }{{figuresFile, f.Row}, {costFile, took.Row}, {failedFile, failed.Row}} {
		if file.row != "" && row.Digest != "" && file.row != row.Digest {
			a.Fault(filepath.Join(dir, file.name), errors.New("is of another row"))
		}
	}
	if f.Measured != "" {
		a.measured(dir, &f, costs)
	} else if figured == sound {
		a.Note("%s is being measured, or was when a process was stopped", filepath.Base(dir))
	}
	if !student.IsRun(dir) {
		return ctx.Err()
	}
	r, err := student.Audit(ctx, dir)
	a.Include(dir, r)
	return err
}

// begun is whether a row's folder holds more than locks and what a killed process left of a file.
func begun(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), ".") })
}

// measured looks at the files that a row with figures has.
func (a *audit) measured(dir string, f *figures, costs reading) {
	for _, name := range slices.Sorted(maps.Keys(f.Scores)) {
		if _, err := f.scores(dir, filepath.Base(name)); err != nil {
			a.Fault(filepath.Join(dir, filepath.Base(name)), fmt.Errorf("%w: remove %s, and compare measures the row anew", err, figuresFile))
		}
	}
	if f.Scores == nil {
		a.unsealed += len(f.Tests) // each has a file of scores
	}
	if f.PeakMiB > 0 && costs == missing {
		a.Fault(filepath.Join(dir, costFile), fmt.Errorf("missing: %s has what it said", figuresFile))
	}
	need := []string{summaryFile}
	if f.Step > 0 {
		need = append(need, bestStudent)
	}
	for _, name := range need {
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			a.Fault(filepath.Join(dir, name), fmt.Errorf("missing: remove %s, and compare makes it anew", figuresFile))
		}
	}
	if f.Step > 0 {
		path := filepath.Join(dir, bestStudent)
		if _, err := onnx.ReadFile(path); !errors.Is(err, os.ErrNotExist) {
			a.Fault(path, err)
		}
	}
}

// wanted reads a file that must be there.
func (a *audit) wanted(path string, into any) reading {
	r := a.optional(path, into)
	if r == missing {
		a.Fault(path, errors.New("missing: compare writes it anew"))
	}
	return r
}

// optional reads a file that need not be there.
func (a *audit) optional(path string, into any) reading {
	sealed, err := readJSON(path, into)
	if errors.Is(err, os.ErrNotExist) {
		return missing
	}
	if a.Fault(path, err); err != nil {
		return faulty
	}
	if !sealed {
		a.unsealed++
	}
	return sound
}
