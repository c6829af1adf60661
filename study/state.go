package study

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/durable"
)

// State is how far a row is, as its files tell.
type State string

// The states of a row.
const (
	New     State = "new"
	Running State = "running" // another process holds it
	Begun   State = "begun"   // a process that is gone began it
	Done    State = "done"
	Failed  State = "failed"
)

// The files of a study, and those that a row has beside its run's own.
const (
	studyFile   = "study.json"
	rowsFolder  = "rows"
	rowFile     = "row.json"
	figuresFile = "figures.json"
	failedFile  = "failed.json"
	lockFile    = ".row.lock" // beside that of the run, which a row holds while it trains
)

// recorded is row.json: which row a folder is of.
type recorded struct {
	Group    string            `json:"group"`
	Seed     uint64            `json:"seed"`
	Digest   string            `json:"digest"`
	Settings map[string]string `json:"settings"`
}

// failure is failed.json.
type failure struct {
	Error string `json:"error"`
}

// folder is where a row is trained.
func (r *Row) folder(study string) string {
	return filepath.Join(study, rowsFolder, fmt.Sprintf("%s-seed%d-%s", slug(r.Group), r.Seed, r.Outlook.Digest[:12]))
}

// slug is a name as part of a file's.
func slug(name string) string {
	const longest = 60
	text := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '=', c == '+':
			return c
		}
		return '_'
	}, strings.ReplaceAll(name, " ", ""))
	return strings.TrimLeft(text[:min(len(text), longest)], ".")
}

// state looks at a row's files.
func (r *Row) state(study string) (State, error) {
	dir := r.folder(study)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return New, nil
	}
	for file, state := range map[string]State{figuresFile: Done, failedFile: Failed} {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return state, nil
		}
	}
	lock, err := durable.TryLock(filepath.Join(dir, lockFile))
	if errors.Is(err, durable.ErrLocked) {
		return Running, nil
	}
	if err != nil {
		return "", err
	}
	return Begun, lock.Unlock()
}

// stale are the folders of rows that the study has no more: whose settings or inputs changed,
// by the names of the rows, and whose rows are gone.
func stale(study string, rows []*Row) (changed, gone []string, err error) {
	entries, err := os.ReadDir(filepath.Join(study, rowsFolder))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	current, named := map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		current[filepath.Base(r.folder(study))], named[r.Name()] = true, true
	}
	for _, e := range entries {
		if current[e.Name()] {
			continue
		}
		path := filepath.Join(study, rowsFolder, e.Name())
		var was recorded
		if err := readJSON(filepath.Join(path, rowFile), &was); err != nil {
			continue // nothing was begun in it
		}
		name := (&Row{Group: was.Group, Seed: was.Seed}).Name()
		if named[name] {
			changed = append(changed, name)
		} else {
			gone = append(gone, name)
		}
	}
	return changed, gone, nil
}

// readJSON reads a file that the study wrote.
func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s is damaged: %w; remove it, and the row is measured again", path, err)
	}
	return nil
}

// writeJSON writes one.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'), 0o644)
}

// claimStudy makes a folder this study's. One that holds another is an error.
func (s *Study) claimStudy(dir string) error {
	type identity struct {
		File    string `json:"file"`
		Dataset string `json:"dataset"`
	}
	file, err := filepath.Abs(s.Path)
	if err != nil {
		return err
	}
	dataset, err := filepath.Abs(s.Dataset)
	if err != nil {
		return err
	}
	now := identity{filepath.Base(file), dataset}
	path := filepath.Join(dir, studyFile)
	var was identity
	switch err := readJSON(path, &was); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	case was != now:
		return fmt.Errorf("%w: %s holds the study %s on %s: choose another --out", ErrUsage, dir, was.File, was.Dataset)
	default:
		return nil
	}
	if err := refuseForeign(dir); err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Join(dir, rowsFolder), 0o755); err != nil {
		return err
	}
	return writeJSON(path, now)
}

// refuseForeign is an error for a folder that holds something else.
func refuseForeign(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != rowsFolder && !strings.HasPrefix(e.Name(), ".") {
			return fmt.Errorf("%w: %s is no study and not empty (%s): choose another --out", ErrUsage, dir, e.Name())
		}
	}
	return nil
}
