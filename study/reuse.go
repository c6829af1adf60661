package study

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/durable"
	"facepipe/internal/plain"
	"facepipe/internal/regular"
)

// reuse takes over a row that another study has trained with the same settings and inputs, by
// the digest of both. Its files are copied, what says that the run is finished last: a copy that
// is killed is a run that goes on.
func (r *runner) reuse(row *Row) error {
	for _, other := range r.o.Reuse {
		from := *row
		if err := findFolders(other, []*Row{&from}); err != nil {
			return err
		}
		var was recorded
		if err := readJSON(from.file(rowFile), &was); err != nil && !errors.Is(err, os.ErrNotExist) {
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

// mostOfRun is the most bytes of a run's file that are copied.
const mostOfRun = 8 << 30

// copyRun copies a run's files but for its locks, and the summary last.
func copyRun(from, to string) error {
	var names []string
	err := fs.WalkDir(os.DirFS(from), ".", func(name string, e fs.DirEntry, err error) error {
		hidden := name != "." && strings.HasPrefix(e.Name(), ".")
		switch {
		case err != nil:
			return err
		case e.IsDir() && hidden:
			return fs.SkipDir
		case e.IsDir():
			return durable.MkdirAll(filepath.Join(to, name), 0o755)
		case !hidden && name != summaryFile && name != rowFile:
			names = append(names, name)
		}
		return nil
	})
	for _, name := range append(names, summaryFile) {
		if err != nil {
			return err
		}
		var data []byte
		if data, err = regular.ReadOwn(filepath.Join(from, name), mostOfRun); err == nil {
			err = durable.WriteFile(filepath.Join(to, name), data, 0o644)
		}
	}
	return err
}
