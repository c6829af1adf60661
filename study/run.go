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

	"facepipe/internal/durable"
	"facepipe/internal/ort"
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
	o     Options
	rows  []*Row
	tests []*test // those of the study, the validation first if there is one
}

// Run trains and measures the rows that are missing, one after another, and writes the table
// after each. A row that fails is noted and stops no other, unless o.FailFast: the error is then
// [ErrRows], and comes with the result. Other errors: [ErrUsage], [store.ErrDamaged], the
// context's.
func Run(ctx context.Context, s *Study, o Options) (result *Result, err error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	r, err := open(ctx, s, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := s.claimStudy(o.Out); err != nil {
		return nil, err
	}
	for i, row := range r.rows {
		if o.Mine != nil && !o.Mine(i) {
			continue
		}
		took, err := r.take(ctx, i, row)
		if err != nil {
			return nil, err
		}
		if took {
			if result, err = r.write(); err != nil {
				return nil, err
			}
		}
		if o.FailFast && result != nil && len(result.Failed) > 0 {
			break
		}
	}
	if result, err = r.write(); err != nil {
		return nil, err
	}
	if n := len(result.Failed); n > 0 {
		return result, fmt.Errorf("%w: %d of %d; the first, %s: %s", ErrRows, n, len(r.rows), result.Failed[0].Row, result.Failed[0].Error)
	}
	return result, nil
}

// open settles the rows and opens the tests.
func open(ctx context.Context, s *Study, o Options) (*runner, error) {
	r := &runner{Study: s, o: o}
	var err error
	if r.rows, err = s.expand(); err != nil {
		return nil, err
	}
	if o.BaselineOnly {
		r.keepBaseline()
	}
	if err := foresee(ctx, r.rows); err != nil {
		return nil, err
	}
	if err := r.openTests(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *runner) keepBaseline() {
	var kept []*Row
	for _, row := range r.rows {
		if row.Group == r.Baseline {
			kept = append(kept, row)
		}
	}
	r.rows = kept
}

// take trains and measures a row, if it is to be.
func (r *runner) take(ctx context.Context, number int, row *Row) (took bool, err error) {
	dir := row.folder(r.o.Out)
	state, err := row.state(r.o.Out)
	if err != nil || state == Done || state == Running || state == Failed && !r.o.RetryFailed {
		return false, err
	}
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	lock, err := durable.TryLock(filepath.Join(dir, lockFile))
	if errors.Is(err, durable.ErrLocked) {
		return false, nil // another worker was faster
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := os.Remove(filepath.Join(dir, failedFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if err := writeJSON(filepath.Join(dir, rowFile), row.recorded()); err != nil {
		return false, err
	}
	fmt.Fprintf(r.o.Progress, "row %d of %d: %s\n", number+1, len(r.rows), row.Name())
	err = r.do(ctx, row)
	if err == nil || ctx.Err() != nil || fatal(err) {
		return err == nil, err
	}
	fmt.Fprintf(r.o.Progress, "row %s failed: %v\n", row.Name(), err)
	return true, writeJSON(filepath.Join(dir, failedFile), failure{err.Error()})
}

// recorded is what the row's folder says of it.
func (r *Row) recorded() recorded {
	w := recorded{Group: r.Group, Seed: r.Seed, Digest: r.Outlook.Digest, Settings: map[string]string{}}
	for _, s := range r.Differs {
		w.Settings[s.Key] = text(s.Value)
	}
	return w
}

// do trains a row to its end and measures the student.
func (r *runner) do(ctx context.Context, row *Row) error {
	o := row.options
	o.MachineOptions = r.o.Machine
	if o.Threads == 0 {
		o.Threads = row.options.Threads
	}
	o.Out, o.Resume, o.Progress = row.folder(r.o.Out), true, r.o.Progress
	if r.Validation != nil {
		o.Validation = r.tests[0].validation()
	}
	peak := watchMemory()
	summary, err := student.Distill(ctx, o)
	if err != nil {
		return err
	}
	f := figures{Validation: summary.Validation, cost: cost{Parameters: summary.Parameters, PeakMiB: peak()}}
	if f.SecondsPerStep, err = secondsPerStep(o.Out); err != nil {
		return err
	}
	f.Hours = f.SecondsPerStep * float64(summary.Steps) / time.Hour.Seconds()
	model := summary.ONNX
	if r.Select != "" {
		if model, err = r.exportBest(o.Out); err != nil {
			return err
		}
		f.Step = summary.BestStep
	}
	if err := r.measure(ctx, o.Out, model, &f); err != nil {
		return err
	}
	return writeJSON(filepath.Join(o.Out, figuresFile), f)
}

// exportBest writes the best checkpoint as a model, and says where.
func (r *runner) exportBest(run string) (string, error) {
	s, err := export.Run(export.Options{Checkpoint: run, Best: true, Form: export.DefaultForm(), Out: filepath.Join(run, "best.onnx")})
	return s.ONNX, err
}

// fatal is whether an error is not a row's own: every other row would meet it too.
func fatal(err error) bool {
	return errors.Is(err, torch.ErrEngine) || errors.Is(err, ort.ErrRuntime) || errors.Is(err, unix.ENOSPC)
}
