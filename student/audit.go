package student

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/journal"
	"facepipe/internal/onnx"
	"facepipe/internal/regular"
	"facepipe/internal/seal"
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
	a.runFile()
	a.summary()
	a.settings()
	if err := a.checkpoints(ctx); err != nil {
		return a.Report(), err
	}
	a.journal()
	a.events()
	a.diagnosis()
	a.result()
	if len(a.unsealed) > 0 {
		a.Note("%s: of an older pipe, without a digest: whether that is what was written cannot be told", strings.Join(a.unsealed, ", "))
	}
	return a.Report(), nil
}

// audit is one look at a run's folder.
type audit struct {
	*check.Findings
	run      string
	finished bool                 // whether it has a summary
	record   *record              // that summary, nil if it is damaged
	found    *manifest            // nil where it is not there, or damaged
	newest   *checkpoint.Position // of the checkpoints that are sound
	unsealed []string             // files
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
		a.unsealed = append(a.unsealed, "run.json")
	}
}

// id is by what the run's files know it, "" if run.json does not tell.
func (a *audit) id() string {
	if a.found == nil {
		return ""
	}
	return checkpoint.RunID(a.found.sealedText())
}

func (a *audit) summary() {
	rec, err := readRecord(a.run)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	a.finished = true
	a.Fault(summaryPath(a.run), err)
	if err != nil {
		return
	}
	if a.record = &rec; !rec.sealed {
		a.unsealed = append(a.unsealed, "summary.json")
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
	if err == nil && a.found != nil {
		err = a.settingsSeal(data)
	}
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

func (a *audit) settingsSeal(data []byte) error {
	sealed, err := seal.VerifyText(data, a.id())
	if err != nil {
		return fmt.Errorf("%w: %w: delete it, and the next distill --resume writes it", seal.ErrDamaged, err)
	}
	if !sealed {
		a.unsealed = append(a.unsealed, "distill.yaml")
	}
	return nil
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
	if len(files) == 0 && !a.finished {
		a.Note("there is no checkpoint yet")
	}
	a.missing(files)
	if a.newest != nil {
		a.unlessAtWork(checkpoint.BestFile(a.run), checkpoint.CheckBest(a.run, a.newest.Best))
	}
	return nil
}

// missing tells which checkpoints are not among the files, and should be: those that the run had when
// it was finished, and the best one.
func (a *audit) missing(files []string) {
	var due []string
	if a.record != nil {
		due = append(due, checkpoint.Name(a.record.Steps))
		due = append(due, a.record.Checkpoints...)
	}
	if a.newest != nil && a.newest.Best != nil {
		due = append(due, checkpoint.Name(a.newest.Best.Step))
	}
	slices.Sort(due)
	for _, name := range slices.Compact(due) {
		path := filepath.Join(checkpoint.Folder(a.run), name)
		if !slices.Contains(files, path) {
			a.unlessAtWork(path, errors.New("missing: take it from a copy; distill --resume does without, and goes on from the newest that is there"))
		}
	}
}

// unlessAtWork takes down what is wrong with a file that a run, or a kill, may leave so for a while.
func (a *audit) unlessAtWork(path string, err error) {
	if err != nil && !a.finished {
		a.Note("%s: %v: a run is at work, or was interrupted", path, err)
		return
	}
	a.Fault(path, err)
}

// journal compares metrics.jsonl with what the summary, or the newest checkpoint, knows of it.
func (a *audit) journal() {
	path := journal.Path(a.run)
	var at checkpoint.Position
	whole := a.record != nil && a.record.Lines > 0
	switch {
	case whole:
		at = checkpoint.Position{Step: math.MaxInt, Validated: math.MaxInt, Lines: a.record.Lines}
	case a.newest != nil:
		at = *a.newest
	default:
		return
	}
	j, err := readJournal(a.run, a.id(), at)
	if err == nil {
		err = j.damage(at, whole)
	}
	a.Fault(path, err)
	if err != nil || len(j.objects) == 0 {
		return
	}
	if !j.sealed {
		a.unsealed = append(a.unsealed, "metrics.jsonl")
	} else if slices.Contains(a.unsealed, "distill.yaml") { // which was written by the same process, and before
		a.Fault(a.file("distill.yaml"), errors.New("has lost its seal: delete it, and the next distill --resume writes it"))
	}
}

// damage is what is wrong with the lines up to a position, or with a whole journal: that of a run that
// goes on may end with a torn line.
func (j *lines) damage(at checkpoint.Position, whole bool) error {
	lost := j.lost(at)
	switch {
	case lost != "" && whole:
		return fmt.Errorf("%s: what is missing was lost; the weights are not concerned, and distill --resume notes it", lost)
	case lost != "":
		return fmt.Errorf("%s: what is missing was lost; the weights are not concerned", lost)
	case whole && (j.end > 0 || j.torn):
		return errors.New("does not end as it was written; the weights are not concerned, and distill --resume mends it")
	}
	return nil
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

// diagnosis reads what a run left that was given up.
func (a *audit) diagnosis() {
	path := diagnosisPath(a.run)
	data, err := regular.ReadOwn(path, maxSummary)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var sealed bool
	if err == nil {
		sealed, err = seal.Decode(data, new(map[string]any))
	}
	if a.Fault(path, err); err == nil && !sealed {
		a.unsealed = append(a.unsealed, filepath.Base(path))
	}
}

// result compares what a finished run left, its summary and its student, with its newest checkpoint.
func (a *audit) result() {
	if s := a.record; s != nil && a.newest != nil && s.Steps < a.newest.Step {
		a.Fault(summaryPath(a.run), fmt.Errorf("is of %d steps, the newest checkpoint of %d: distill --resume writes it anew", s.Steps, a.newest.Step))
	}
	if !a.finished && a.newest != nil && a.newest.Step == a.newest.Total {
		a.unlessAtWork(summaryPath(a.run), errors.New("missing"))
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
		a.unsealed = append(a.unsealed, "student.onnx")
		return nil
	}
	if a.newest == nil || !a.finished || a.record != nil && a.newest.Step < a.record.Steps { // whose checkpoint is lost
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
