package study

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"facepipe/internal/durable"
	"facepipe/internal/regular"
	"facepipe/internal/seal"
	"facepipe/store"
	"facepipe/student"
)

// State is how far a row is, as its files tell.
type State string

// The states of a row.
const (
	New     State = "new"
	Stale   State = "stale"   // it was trained with other settings or inputs, and is to be anew
	Running State = "running" // another process holds it
	Begun   State = "begun"   // a process that is gone began it
	Trained State = "trained" // it is not measured, or was by other tests
	Done    State = "done"
	Failed  State = "failed"
)

// The files of a study, and those that a row has beside its run's own.
const (
	studyFile   = "study.json"
	rowsFolder  = "rows"
	rowFile     = "row.json"
	costFile    = "cost.json"
	figuresFile = "figures.json"
	summaryFile = "summary.json" // the run's own, which it writes last
	studentFile = "student.onnx" // the run's own
	bestStudent = "best.onnx"    // of the best checkpoint, where one was chosen
	failedFile  = "failed.json"
	lockFile    = ".lock.row" // beside that of the run, which a row holds while it trains
	tableLock   = ".lock.table"
)

// recorded is row.json: which row a folder is of.
type recorded struct {
	Group    string            `json:"group"`
	Seed     uint64            `json:"seed"`
	Digest   string            `json:"digest"`
	Settings map[string]string `json:"settings"`
	// Inputs are all that the digest is of.
	Inputs map[string]any `json:"inputs"`
}

// failure is failed.json.
type failure struct {
	// Row is the digest of the row; "" in studies of older versions.
	Row   string `json:"row,omitempty"`
	Error string `json:"error"`
}

// findFolders gives every row the folder that it has, whatever the row was called when that was
// made, or else the one that it is to have.
func findFolders(study string, rows []*Row) error {
	entries, err := os.ReadDir(filepath.Join(study, rowsFolder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	had := map[string]string{}
	for _, e := range entries {
		had[e.Name()[strings.LastIndexByte(e.Name(), '-')+1:]] = e.Name()
	}
	for _, r := range rows {
		end := r.Digest[:12]
		name, ok := had[end]
		if !ok {
			name = fmt.Sprintf("%s-seed%d-%s", slug(r.Group), r.Seed, end)
		}
		r.dir = filepath.Join(study, rowsFolder, name)
	}
	return nil
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

// file is the path of a file of the row.
func (r *Row) file(name string) string { return filepath.Join(r.dir, name) }

// reached looks at a row's files; measured is the digest of how rows are measured. Who holds the
// row it does not tell.
func (r *Row) reached(measured string) (State, error) {
	if _, err := os.Stat(r.dir); errors.Is(err, os.ErrNotExist) {
		return New, nil
	}
	var f figures
	_, err := readOf(r.file(figuresFile), r.Digest, &f)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err == nil && f.Measured == measured {
		return Done, nil
	}
	if _, err := os.Stat(r.file(failedFile)); err == nil {
		return Failed, nil
	}
	_, ok, err := r.trained()
	if ok {
		return Trained, err
	}
	return Begun, err
}

// trained is the row's finished run, if it is finished: its summary is what a run writes last.
func (r *Row) trained() (s student.Summary, ok bool, err error) {
	s, err = student.ReadSummary(r.dir)
	if errors.Is(err, os.ErrNotExist) {
		return s, false, nil
	}
	_, missing := os.Stat(r.file(studentFile))
	return s, missing == nil && s.Steps == r.Outlook.Steps, err
}

// state is how far a row is, and whether somebody is at it.
func (r *Row) state(ctx context.Context, measured string) (State, error) {
	state, err := r.reached(measured)
	if err != nil || state != Begun && state != Trained {
		return state, err
	}
	lock, err := r.claim(ctx)
	if errors.Is(err, durable.ErrLocked) {
		return Running, nil
	}
	if err != nil {
		return "", err
	}
	return state, lock.Unlock()
}

// claim locks a row, or fails with [durable.ErrLocked]. Others who only look hold the lock for a
// moment.
func (r *Row) claim(ctx context.Context) (*durable.Lock, error) {
	const moment = 300 * time.Millisecond
	rows := filepath.Dir(r.dir)
	if err := durable.NoLinks(filepath.Dir(rows), filepath.Join(filepath.Base(rows), filepath.Base(r.dir))); err != nil {
		return nil, err
	}
	soon, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	lock, err := durable.WaitLock(soon, r.file(lockFile))
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return lock, err
}

// Change is a row whose settings or inputs are others than when it was trained.
type Change struct {
	Row string `json:"row"`
	// Folder is that of the earlier run, which stays; Differs are the keys of what differs.
	Folder  string   `json:"folder"`
	Differs []string `json:"differs"`
}

// String says what changed.
func (c Change) String() string {
	return fmt.Sprintf("%s is stale: %s changed since it was trained", c.Row, strings.Join(c.Differs, ", "))
}

// leftovers are the folders that belong to no row of the study. Those of a row that has the name
// are changed, as long as that one is not done; the names of the others are gone.
func leftovers(study string, rows []*Row, isDone func(*Row) bool) (changed []Change, gone []string, err error) {
	entries, err := os.ReadDir(filepath.Join(study, rowsFolder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	current, named := map[string]bool{}, map[string]*Row{}
	for _, r := range rows {
		current[filepath.Base(r.dir)], named[r.Name()] = true, r
	}
	for _, e := range entries {
		var was recorded
		if current[e.Name()] {
			continue
		}
		_, err := readJSON(filepath.Join(study, rowsFolder, e.Name(), rowFile), &was)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue // nothing was begun in it
		}
		if err != nil {
			return nil, nil, err
		}
		name := (&Row{Group: was.Group, Seed: was.Seed}).Name()
		if now := named[name]; now != nil && !isDone(now) {
			changed = append(changed, Change{name, e.Name(), differing(was.Inputs, now.inputs)})
		} else {
			gone = append(gone, name)
		}
	}
	return changed, gone, nil
}

// maxJSON is the longest JSON file of a study, in bytes.
const maxJSON = 64 << 20

// readJSON reads a file that the study wrote; sealed is whether it carries its seal, as those of
// older versions do not.
//
// Errors: [store.ErrDamaged], with what can be done.
func readJSON(path string, into any) (sealed bool, err error) {
	data, err := regular.ReadOwn(path, maxJSON)
	if err != nil {
		return false, err
	}
	if sealed, err = seal.Decode(data, into); err != nil {
		return sealed, damaged(path, err)
	}
	return sealed, nil
}

func damaged(path string, what error) error {
	return fmt.Errorf("%w: %s: %w; remove it, and what it says is found anew", store.ErrDamaged, path, what)
}

// readOf is [readJSON] of a file of a row, whose digest it tells.
func readOf(path, digest string, into interface{ of() string }) (sealed bool, err error) {
	sealed, err = readJSON(path, into)
	if err == nil && into.of() != "" && into.of() != digest {
		err = damaged(path, errors.New("it is of another row"))
	}
	return sealed, err
}

func (c *cost) of() string { return c.Row }

func (f *failure) of() string { return f.Row }

// writeJSON writes a file, with its seal.
func writeJSON(path string, v any) error {
	data, err := seal.Encode(v)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, data, 0o644)
}

// identity is study.json: whose folder it is.
type identity struct {
	File    string `json:"file"`
	Dataset string `json:"dataset"`
	Crops   string `json:"crops_digest"`
}

// lockTable has this process alone write into the study's folder itself: it also removes what
// killed ones left.
func lockTable(ctx context.Context, dir string) (*durable.Lock, error) {
	lock, err := durable.WaitLock(ctx, filepath.Join(dir, tableLock))
	if err != nil {
		return nil, err
	}
	if err := durable.RemoveTemps(dir); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return lock, nil
}

// claimStudy makes a folder this study's, which did not belong to another when the study was opened.
// One that holds another by now is an error; the same dataset may have grown, or lie elsewhere.
func (s *Study) claimStudy(ctx context.Context, dir string, train *store.Dataset) (err error) {
	if err := durable.MkdirBelow(dir, rowsFolder, 0o755); err != nil {
		return err
	}
	lock, err := lockTable(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	now, noted, err := s.refuse(dir, train)
	if err != nil || noted {
		return err
	}
	return writeJSON(filepath.Join(dir, studyFile), now)
}

// refuse is [ErrUsage] for a folder that is not this study's, and cannot become it; noted is whether
// it is known by the study's identity now.
func (s *Study) refuse(dir string, train *store.Dataset) (now identity, noted bool, err error) {
	if err := s.refuseForeign(dir); err != nil {
		return now, false, err
	}
	dataset, err := filepath.Abs(s.Dataset)
	if err != nil {
		return now, false, err
	}
	now = identity{filepath.Base(s.Path), dataset, train.CropsDigest()}
	var was identity
	sealed, err := readJSON(filepath.Join(dir, studyFile), &was)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return now, false, nil
	case err == nil && (was.File != now.File || was.Dataset != now.Dataset && was.Crops != now.Crops):
		err = fmt.Errorf("%w: %s holds the study %s on %s: choose another --out", ErrUsage, dir, was.File, was.Dataset)
	}
	return now, was == now && sealed, err
}

// refuseForeign is an error for a folder that holds something else than a study, or its file.
func (s *Study) refuseForeign(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	foreign := ""
	for _, e := range entries {
		switch name := e.Name(); {
		case name == studyFile:
			return nil // whose it is, that says
		case name != rowsFolder && !strings.HasPrefix(name, ".") && !durable.SameFile(filepath.Join(dir, name), s.Path):
			foreign = name
		}
	}
	if foreign == "" {
		return nil
	}
	return fmt.Errorf("%w: %s is no study and not empty (%s): choose another --out", ErrUsage, dir, foreign)
}

// errChanged marks inputs that changed while the study ran.
var errChanged = errors.New("the inputs changed since this command began")

// unchanged is [errChanged] if a row is not what it was when the study was opened: then all that was
// foreseen is to be anew.
func (r *runner) unchanged(ctx context.Context, row *Row) error {
	a, err := student.Foresee(ctx, row.options)
	if err != nil {
		return err
	}
	digest, inputs, err := r.identify(a)
	if err != nil || digest == row.Digest {
		return err
	}
	return fmt.Errorf("row %q: %w: %s: rows that were trained before are stale; the same command trains them anew",
		row.Name(), errChanged, strings.Join(differing(row.inputs, inputs), ", "))
}
