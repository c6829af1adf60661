package study

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"facepipe/eval/uncertainty"
	"facepipe/internal/durable"
	"facepipe/internal/ort"
	"facepipe/internal/plain"
	"facepipe/internal/stop"
	"facepipe/store"
	"facepipe/student"
	"facepipe/student/export"
	"facepipe/student/torch"
)

// Options say where a study is run, and how.
type Options struct {
	// Out is the study's folder.
	Out string
	// RetryFailed trains rows again that failed; FailFast ends the study with the first that
	// does.
	RetryFailed, FailFast bool
	// BaselineOnly trains the baseline's rows alone, to see how far seeds lie apart.
	BaselineOnly bool
	// Reuse are folders of other studies. What they have trained with the same settings and inputs
	// is copied.
	Reuse []string
	// Mine says which rows, by their number, this process takes; nil for all.
	Mine func(row int) bool
	// Machine is what rows are trained on.
	Machine student.MachineOptions
	// ONNXRuntime is the library that measures students; "" looks it up.
	ONNXRuntime string
	// Progress receives bars and notices; nil is silent.
	Progress io.Writer
}

// ErrRows marks a study of which some rows failed.
var ErrRows = errors.New("rows failed")

// runner is a study being run.
type runner struct {
	*Study
	o        Options
	train    *store.Dataset
	rows     []*Row
	tests    []*test // those of the study, the validation first if there is one
	measured string  // digest of how rows are measured
	warnings []string
	teacher  *TeacherCost // nil if nobody asks
	// compared are the differences that were computed, by what they are of.
	compared map[string]uncertainty.SeedComparison
}

// Run trains and measures the rows that are missing, one after another, and writes the table
// after each. A row that fails is noted and stops no other, unless o.FailFast: the error is then
// [ErrRows], and comes with the result. Other errors: [ErrUsage], [store.ErrDamaged], the
// context's.
func Run(ctx context.Context, s *Study, o Options) (result *Result, err error) {
	r, err := open(ctx, s, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return r.run(ctx)
}

func (r *runner) run(ctx context.Context) (*Result, error) {
	if err := r.claimStudy(ctx, r.o.Out, r.train); err != nil {
		return nil, err
	}
	if err := r.timeTeacher(ctx); err != nil {
		return nil, err
	}
	result, err := r.write(ctx) // what there is, and that it is going on
	tried := make([]bool, len(r.rows))
	// Another process may have let go of a row meanwhile: the last round finds none that is free.
	for found := true; found && err == nil; {
		found = false
		for i, row := range r.rows {
			if err != nil || tried[i] || !r.wants(i) {
				continue
			}
			var state State
			if state, err = r.take(ctx, i, row); err != nil || state == "" {
				continue
			}
			found, tried[i] = true, true
			if result, err = r.write(ctx); err == nil && state == Failed && r.o.FailFast {
				return result, result.err()
			}
		}
	}
	if err == nil {
		result, err = r.write(ctx)
	}
	if err != nil {
		return nil, err
	}
	return result, result.err()
}

// wants is whether this process is to take a row.
func (r *runner) wants(number int) bool {
	if r.o.BaselineOnly && r.rows[number].Group != r.Baseline {
		return false
	}
	return r.o.Mine == nil || r.o.Mine(number)
}

// open settles the rows and opens the tests.
func open(ctx context.Context, s *Study, o Options) (_ *runner, err error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	o.Progress = once(o.Progress)
	r := &runner{Study: s, o: o, compared: map[string]uncertainty.SeedComparison{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.rows, err = s.expand(); err != nil {
		return nil, err
	}
	if r.train, err = store.Open(s.Dataset, store.WithContext(ctx)); err != nil {
		return nil, err
	}
	if _, _, err = s.refuse(o.Out, r.train); err != nil {
		return nil, err
	}
	for _, other := range o.Reuse {
		if !Is(other) {
			return nil, fmt.Errorf("%w: reuse %s: there is no study", ErrUsage, other)
		}
	}
	if err = r.openTests(ctx); err != nil {
		return nil, err
	}
	all, rows, err := r.findAllShared(ctx)
	if err != nil {
		return nil, err
	}
	if err = r.foresee(ctx, rows); err != nil {
		return nil, err
	}
	r.warn(all, rows)
	return r, findFolders(o.Out, r.rows)
}

// take trains and measures a row, if it is to be, and says what became of it: Done, Failed, or ""
// if there was nothing to do.
func (r *runner) take(ctx context.Context, number int, row *Row) (_ State, err error) {
	if due, err := r.due(row); err != nil || !due {
		return "", err
	}
	if err := durable.MkdirBelow(r.o.Out, filepath.Join(rowsFolder, filepath.Base(row.dir)), 0o755); err != nil {
		return "", err
	}
	lock, err := row.claim(ctx)
	if errors.Is(err, durable.ErrLocked) {
		return "", nil // another worker was faster
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	// It may also have been done with it, meanwhile.
	if due, err := r.due(row); err != nil || !due {
		return "", err
	}
	if err := r.takeOver(row); err != nil {
		return "", err
	}
	if due, err := r.due(row); err != nil || !due { // it came with its figures
		return Done, err
	}
	plain.Fprintf(r.o.Progress, "row %d of %d: %s\n", number+1, len(r.rows), row.Name())
	begun := time.Now()
	f, err := r.do(ctx, row)
	switch {
	case err == nil:
		plain.Fprintf(r.o.Progress, "row %d of %d: %s: done in %s: %s\n", number+1, len(r.rows), row.Name(), time.Since(begun).Round(time.Second), r.brief(f))
		return Done, nil
	case errors.Is(err, durable.ErrLocked): // by distill itself, or by who derives what a loss needs
		plain.Fprintf(r.o.Progress, "row %d of %d: %s is left: %v\n", number+1, len(r.rows), row.Name(), err)
		return "", nil
	case errors.Is(ctx.Err(), context.Canceled):
		return "", stop.Saying("stopped in row " + row.Name() + "; what it has reached is kept")
	case ctx.Err() != nil || fatal(err):
		return "", err
	}
	plain.Fprintf(r.o.Progress, "row %d of %d: %s failed: %v\n", number+1, len(r.rows), row.Name(), err)
	return Failed, writeJSON(row.file(failedFile), failure{row.Digest, err.Error()})
}

// due is whether a row is to be trained or measured, whoever does so.
func (r *runner) due(row *Row) (bool, error) {
	state, err := row.reached(r.measured)
	return err == nil && r.o.due(state), err
}

// due is whether there is something to do for a row in a state.
func (o Options) due(s State) bool { return s != Done && (s != Failed || o.RetryFailed) }

// takeOver begins a row with what another study has of it, if any.
func (r *runner) takeOver(row *Row) error {
	_, finished, err := row.trained()
	if err == nil {
		err = r.begin(row)
	}
	if err != nil || finished {
		return err
	}
	return r.reuse(row)
}

// begin notes whose the folder is, and forgets what became of an earlier try.
func (r *runner) begin(row *Row) error {
	if err := os.Remove(row.file(failedFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := durable.RemoveTemps(row.dir); err != nil {
		return err
	}
	return writeJSON(row.file(rowFile), row.recorded())
}

// recorded is what the row's folder says of it.
func (r *Row) recorded() recorded {
	w := recorded{Group: r.Group, Seed: r.Seed, Digest: r.Digest, Settings: map[string]string{}, Inputs: r.inputs}
	for _, s := range r.Differs {
		w.Settings[s.Key] = text(s.Value)
	}
	return w
}

// do trains a row to its end and measures the student.
func (r *runner) do(ctx context.Context, row *Row) (f figures, err error) {
	if err := r.unchanged(ctx, row); err != nil {
		return f, err
	}
	t, done, err := row.trained()
	if err == nil && !done {
		t, err = r.trainRow(ctx, row)
	}
	if err == nil {
		err = row.beginMeasuring()
	}
	if err != nil {
		return f, err
	}
	f = figures{Validation: t.Validation, cost: cost{Row: row.Digest, Parameters: t.Parameters}}
	var peak cost // of a run that was killed on its way nobody knows
	if _, err := readOf(row.file(costFile), row.Digest, &peak); err != nil && !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	f.PeakMiB = peak.PeakMiB
	if f.SecondsPerStep, err = secondsPerStep(row.dir); err != nil {
		return f, err
	}
	f.Hours = f.SecondsPerStep * float64(t.Steps) / time.Hour.Seconds()
	model := row.file(studentFile)
	if r.Select != "" {
		f.Step = t.BestStep
		best, err := export.Run(export.Options{Checkpoint: row.dir, Best: true, Form: export.DefaultForm(), Out: row.file(bestStudent)})
		if err != nil {
			return f, err
		}
		model = best.ONNX
	}
	if err := r.measure(ctx, row.dir, model, &f); err != nil {
		return f, err
	}
	return f, writeJSON(row.file(figuresFile), f)
}

// beginMeasuring takes earlier figures back: they would not know the scores that come now.
func (r *Row) beginMeasuring() error {
	path := r.file(figuresFile)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return writeJSON(path, figures{cost: cost{Row: r.Digest}})
}

// trainRow takes the row's run to its end, from wherever it is.
func (r *runner) trainRow(ctx context.Context, row *Row) (student.Summary, error) {
	o := row.options
	o.Out, o.Resume, o.Progress = row.dir, true, r.o.Progress
	peak := watchMemory()
	s, err := student.Distill(ctx, o)
	if err != nil {
		return s, err
	}
	return s, writeJSON(row.file(costFile), cost{Row: row.Digest, PeakMiB: peak()})
}

// fatal is whether an error is not a row's own: every other row would meet it, too.
func fatal(err error) bool {
	for _, of := range []error{errChanged, torch.ErrEngine, ort.ErrRuntime, store.ErrDamaged, unix.ENOSPC, unix.EDQUOT, unix.EROFS} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

// brief is what a row came to in a line.
func (r *runner) brief(f figures) string {
	text := ""
	for _, t := range r.tests {
		if v, ok := f.Tests[t.Name]["accuracy"]; ok {
			text += fmt.Sprintf(", accuracy on %s %s", t.Name, shown("accuracy", v))
		}
	}
	return text[min(2, len(text)):]
}
