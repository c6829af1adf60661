package student

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"facepipe/internal/onnx"
	"facepipe/internal/regular"
	"facepipe/internal/tensorboard"
	"facepipe/store/check"
	"facepipe/student/checkpoint"
	"facepipe/student/export"
)

// maxSummary bounds the files of a run that say something in short.
const maxSummary = 16 << 20

// IsRun is whether a folder holds a run, also one that has lost its run.json.
func IsRun(dir string) bool {
	_, err := os.Lstat(checkpoint.RunFile(dir))
	files, _ := checkpoint.List(dir)
	return err == nil || len(files) > 0
}

// Audit looks for damage in all files of a run's folder, goes on after it finds some, and changes
// nothing. The run may be going on. An error is the context's.
func Audit(ctx context.Context, run string) (check.Report, error) {
	a := &audit{Findings: check.NewFindings(run), run: run}
	if _, err := os.Lstat(a.file("summary.json")); err == nil {
		a.finished = true
	}
	a.runFile()
	a.settings()
	if err := a.checkpoints(ctx); err != nil {
		return a.Report(), err
	}
	a.journal()
	a.events()
	a.json("diverged.json", new(map[string]any))
	a.result()
	return a.Report(), nil
}

// audit is one look at a run's folder.
type audit struct {
	*check.Findings
	run      string
	finished bool
	found    *manifest            // nil where it is not there, or damaged
	newest   *checkpoint.Position // of the checkpoints that are sound
}

func (a *audit) file(name string) string { return filepath.Join(a.run, name) }

func (a *audit) runFile() {
	path := checkpoint.RunFile(a.run)
	var err error
	if a.found, err = readManifest(a.run); err == nil && a.found == nil {
		err = errors.New("missing: resume with the settings of distill.yaml, and it is made anew")
	}
	a.Fault(path, err)
	if a.found != nil && !a.found.sealed {
		a.Note("run.json is of an older pipe and carries no digest: whether it is what was written cannot be told")
	}
}

// settings compares distill.yaml with run.json.
func (a *audit) settings() {
	path := a.file("distill.yaml")
	data, err := regular.ReadOwn(path, maxSummary)
	if errors.Is(err, os.ErrNotExist) {
		err = errors.New("missing: the next distill --resume writes it")
	}
	o := DefaultOptions()
	if err == nil {
		if err = o.Overlay(data, nil); err != nil {
			err = fmt.Errorf("%w: delete it, and the next distill --resume writes it", err)
		}
	}
	if err == nil && a.found != nil && a.found.sealed {
		err = a.compareSettings(o)
	}
	a.Fault(path, err)
}

func (a *audit) compareSettings(o Options) error {
	o, err := o.settled(a.found.Flip)
	if err != nil {
		return err
	}
	was, err := json.Marshal(a.found.Options)
	if err != nil {
		return err
	}
	now, err := json.Marshal(o.recorded())
	if err != nil {
		return err
	}
	if key := firstDifference(was, now); key != "" {
		return fmt.Errorf("has another %s than run.json: delete it, and the next distill --resume writes it", key)
	}
	return nil
}

// checkpoints reads all of them.
func (a *audit) checkpoints(ctx context.Context) error {
	files, err := checkpoint.List(a.run)
	a.Fault(checkpoint.Folder(a.run), err)
	for i, path := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, at, err := checkpoint.Read(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // the run goes on, and has pruned it
		}
		if err != nil {
			a.Fault(path, checkpoint.WithRemedy(err, path))
		} else if a.newest == nil && i == 0 {
			a.newest = &at
		}
	}
	if len(files) == 0 {
		a.Note("there is no checkpoint yet")
	}
	if a.newest != nil {
		a.unlessAtWork(checkpoint.BestFile(a.run), checkpoint.CheckBest(a.run, a.newest.Best))
	}
	return nil
}

// unlessAtWork takes down what is wrong with a file that a run, or a kill, may leave so for a while.
func (a *audit) unlessAtWork(path string, err error) {
	if err != nil && !a.finished {
		a.Note("%s: %v: a run is at work, or was interrupted", path, err)
		return
	}
	a.Fault(path, err)
}

// journal compares metrics.jsonl with what the newest checkpoint knows of it.
func (a *audit) journal() {
	if a.newest == nil {
		return
	}
	path := journalPath(a.run)
	j, err := readJournal(path, *a.newest)
	if lost := j.lost(*a.newest); err == nil && lost != "" {
		err = fmt.Errorf("%s: what is missing was lost; the weights are not concerned", lost)
	}
	a.Fault(path, err)
}

// events reads TensorBoard's files. A kill may leave a torn end, which the run mends as it goes on.
func (a *audit) events() {
	paths, err := filepath.Glob(filepath.Join(a.run, "tensorboard", "events.out.tfevents.*"))
	a.Fault(a.file("tensorboard"), err)
	for _, path := range paths {
		a.unlessAtWork(path, readEvents(path))
	}
}

func readEvents(path string) (err error) {
	f, err := regular.OpenOwn(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return tensorboard.Read(f, func(tensorboard.Event, int64) bool { return true })
}

// json reads a file that need not be there; read is whether it was, and could be read.
func (a *audit) json(name string, into any) (read bool) {
	path := a.file(name)
	data, err := regular.ReadOwn(path, maxSummary)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	a.Fault(path, err)
	return err == nil
}

// result looks at what a finished run left: its summary and its student.
func (a *audit) result() {
	var s Summary
	if a.json("summary.json", &s) && a.newest != nil && s.Steps != a.newest.Step {
		a.Fault(a.file("summary.json"), fmt.Errorf("is of %d steps, the newest checkpoint of %d: distill --resume writes it anew", s.Steps, a.newest.Step))
	}
	path := a.file("student.onnx")
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if a.finished {
			a.Fault(path, errors.New("missing: distill --resume writes it anew"))
		}
		return
	}
	a.Fault(path, a.student(path))
}

// student compares the student with the checkpoint that it was made of.
func (a *audit) student(path string) error {
	data, err := regular.ReadOwn(path, checkpoint.MaxBytes)
	if err != nil {
		return err
	}
	m, err := onnx.Unmarshal(data)
	if err != nil {
		return err
	}
	if !m.IsSealed() {
		a.Note("student.onnx carries no digest (%s), as those of an older pipe do not: whether it is what was written cannot be told", onnx.SealKey)
		return nil
	}
	if a.newest == nil || !a.finished {
		return nil
	}
	var note export.Note
	if err := json.Unmarshal([]byte(m.Property(export.TrainingKey)), &note); err != nil {
		return fmt.Errorf("what it says of its training does not parse: %w", err)
	}
	want := export.NoteOf(*a.newest, note.Averaged)
	want.Program = note.Program
	said, err := json.Marshal(note)
	if err != nil {
		return err
	}
	due, err := json.Marshal(want)
	if err != nil {
		return err
	}
	differs := firstDifference(said, due)
	if differs == "" && m.Property(export.TeacherKey) != a.newest.Fingerprint {
		differs = export.TeacherKey
	}
	if differs != "" {
		return fmt.Errorf("is not the student of the newest checkpoint, step %d: it has another %s; distill --resume writes it anew", a.newest.Step, differs)
	}
	return nil
}
