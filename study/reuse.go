package study

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/durable"
	"facepipe/internal/plain"
	"facepipe/internal/regular"
	"facepipe/student/checkpoint"
)

// reuse takes over a row that another study has trained with the same settings and inputs, by
// the digest of both. Its files are copied, last what says that the run is finished and that it is
// measured: a copy that is killed is a run that goes on.
func (r *runner) reuse(row *Row) error {
	for _, other := range r.o.Reuse {
		from := *row
		if err := findFolders(other, []*Row{&from}); err != nil {
			return err
		}
		var was recorded
		if _, err := readJSON(from.file(rowFile), &was); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		_, finished, err := from.trained()
		if err != nil {
			return err
		}
		if was.Digest != row.Digest || !finished {
			continue
		}
		plain.Fprintf(r.o.Progress, "%s is taken over from %s\n", row.Name(), from.dir)
		return copyRun(from.dir, row.dir)
	}
	return nil
}

// copyRun copies a run's files but for its locks and what failed of it: each after those that it
// speaks of, so last the checkpoints, the summary and the figures.
func copyRun(from, to string) error {
	last := []string{summaryFile, figuresFile}
	var names, checkpoints []string
	err := fs.WalkDir(os.DirFS(from), ".", func(name string, e fs.DirEntry, err error) error {
		hidden := name != "." && strings.HasPrefix(e.Name(), ".")
		switch {
		case err != nil:
			return err
		case e.IsDir() && hidden:
			return fs.SkipDir
		case e.IsDir():
			return durable.MkdirAll(filepath.Join(to, name), 0o755)
		case hidden, name == rowFile, name == failedFile, slices.Contains(last, name):
		case filepath.Dir(name) == filepath.Base(checkpoint.Folder(from)):
			checkpoints = append(checkpoints, name)
		default:
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(names, checkpoints, last) {
		err := copyFile(filepath.Join(from, name), filepath.Join(to, name))
		if err != nil && !(name == figuresFile && errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	f, err := regular.OpenOwnUpTo(from, checkpoint.MaxBytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return durable.WriteFrom(to, f, 0o644)
}
