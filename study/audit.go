package study

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"facepipe/store/check"
	"facepipe/student"
)

// Is is whether a folder holds a study.
func Is(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, studyFile))
	return err == nil
}

// Audit looks for damage in a study's folder: what it says of itself, and its rows, each a run. It
// goes on after it finds some, and changes nothing. An error is the context's.
func Audit(ctx context.Context, dir string) (check.Report, error) {
	f := check.NewFindings(dir)
	wanted(f, filepath.Join(dir, studyFile), new(identity))
	optional(f, filepath.Join(dir, tableJSON), new(Result))
	rows := filepath.Join(dir, rowsFolder)
	entries, err := os.ReadDir(rows)
	if !errors.Is(err, os.ErrNotExist) {
		f.Fault(rows, err)
	}
	for _, e := range entries {
		if err := auditRow(ctx, f, filepath.Join(rows, e.Name())); err != nil {
			return f.Report(), err
		}
	}
	return f.Report(), nil
}

// auditRow looks at the folder of a row.
func auditRow(ctx context.Context, f *check.Findings, dir string) error {
	var row recorded
	path := filepath.Join(dir, rowFile)
	if wanted(f, path, &row) && !strings.HasSuffix(dir, "-"+row.Digest[:min(12, len(row.Digest))]) {
		f.Fault(path, fmt.Errorf("is of another row than its folder, with digest %.12s…", row.Digest))
	}
	optional(f, filepath.Join(dir, costFile), new(cost))
	optional(f, filepath.Join(dir, figuresFile), new(figures))
	optional(f, filepath.Join(dir, failedFile), new(failure))
	if !student.IsRun(dir) {
		return ctx.Err()
	}
	r, err := student.Audit(ctx, dir)
	f.Include(dir, r)
	return err
}

// wanted reads a file that must be there; read is whether it could be.
func wanted(f *check.Findings, path string, into any) (read bool) {
	err := readJSON(path, into)
	f.Fault(path, err)
	return err == nil
}

// optional reads a file that need not be there.
func optional(f *check.Findings, path string, into any) {
	if err := readJSON(path, into); !errors.Is(err, os.ErrNotExist) {
		f.Fault(path, err)
	}
}
