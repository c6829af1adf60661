package student

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"facepipe/internal/progress"
	"facepipe/internal/stop"
	"facepipe/store"
	"facepipe/student/checkpoint"
	"facepipe/student/data"
	"facepipe/student/optim"
	"facepipe/student/torch"
)

// Distill trains a student as o says and exports it. It goes on where an earlier
// run of the same options stopped if o.Resume is set.
//
// Errors: [ErrUsage], [checkpoint.ErrUnusable], [ErrWeights], torch.ErrEngine, those of package
// store (store.ErrDamaged, store.ErrNotFound, store.ErrLocked), and the context's.
func Distill(ctx context.Context, o Options) (Summary, error) {
	if err := o.validate(); err != nil {
		return Summary{}, err
	}
	r := &run{o: o, progress: o.Progress, world: world{rank: o.World, lost: make(chan error, 1)}}
	if !r.world.leads() {
		r.o.Progress, r.progress = nil, nil
	}
	if r.progress == nil {
		r.progress = io.Discard
	}
	done := make(chan ended, 1)
	go func() {
		// libtorch's gradient mode and thread pool belong to a thread. It is never unlocked, and
		// ends with the goroutine.
		runtime.LockOSThread()
		s, err := r.all(ctx)
		done <- ended{s, err}
	}()
	d := r.world.end(done)
	return d.summary, d.err
}

// ended is how a run ended.
type ended struct {
	summary Summary
	err     error
}

// run is one process's part of a training run.
type run struct {
	o        Options
	ds       *store.Dataset
	teachers teachers
	loader   *data.Loader
	excluded *data.Exclusion // what lists and the fraction leave out; nil for nothing
	sampled  int             // crops that the fraction leaves out
	schedule optim.Schedule
	flip     bool
	manifest manifest
	found    *manifest    // of the run to resume, nil if there is none
	id       string       // by which checkpoints know the run
	notes    []string     // on what the loss's settings come to
	opened   []io.Closer  // for the losses
	unlock   func()       // lets go of the folder, nil where it is not locked
	taken    bool         // whether the folder has become this run's
	weights  *weightsFile // to begin with, or nil
	origin   *checkpoint.Origin
	progress io.Writer

	engine  *torch.Engine
	world   world
	model   *model
	metrics *metrics // nil on all ranks but the first
	guard   guard
	bar     *progress.Bar
	last    checkpoint.Position
	resumed int // the step that this process goes on from
	begun   time.Time

	tally   tally   // of the step that is made
	flight  *flight // the step before, nil once it is settled
	moved   bool    // whether the parameters took the last step that is settled
	blocked int     // calls in steps that waited for the device
}

// all takes the stages of a run in their order.
func (r *run) all(ctx context.Context) (_ Summary, err error) {
	defer func() { r.bar.Finish(); err = r.close(err) }()
	for _, stage := range r.beforeSteps() {
		if err := stage(ctx); err != nil {
			return Summary{}, interrupted(err, "stopped before the first step")
		}
	}
	if err := r.takeSteps(ctx); err != nil {
		return Summary{}, err
	}
	if err := r.exportStudent(); err != nil {
		return Summary{}, err
	}
	return r.writeSummary()
}

// beforeSteps are the stages up to the first step.
func (r *run) beforeSteps() []func(context.Context) error {
	return []func(context.Context) error{
		r.openDataset,
		r.lockFolder,
		r.readExisting,
		r.openData,
		r.refuseOtherSettings,
		r.startEngine,
		r.meetRanks,
		r.buildModel,
		r.restoreNewest,
		r.agreeWithRanks,
		r.takeFolder,
		r.openJournal,
	}
}

// close gives back what the stages took, the last one's first, and says how the run ended.
func (r *run) close(err error) error {
	r.metrics.close()
	if r.model != nil {
		r.model.close()
		r.engine.Trim() // the process may go on, with another run
	}
	err = r.world.leave(err)
	for _, tables := range r.opened {
		err = errors.Join(err, tables.Close())
	}
	if r.loader != nil {
		r.loader.Close()
	}
	if r.unlock != nil {
		r.unlock()
	}
	if r.ds != nil {
		r.ds.Close()
	}
	return err
}

// interrupted has an error that is a cancellation say where it came.
func interrupted(err error, where string) error {
	if errors.Is(err, context.Canceled) {
		return stop.Saying(where)
	}
	return err
}

// newSlot makes memory for a batch, on the device that the run has by then chosen.
func (r *run) newSlot(bytes int) (data.Slot, error) {
	slot, err := r.engine.NewSlot(r.o.Device, bytes)
	if err != nil {
		return nil, err // and no slot that is nil
	}
	return slot, nil
}

// newLoader gives a slice of the run's batches.
func (r *run) newLoader(slice data.Slice) (*data.Loader, error) {
	o := &r.o
	l, err := data.New(r.ds, r.teachers.caches, data.Options{
		Batch: o.Batch, Parts: o.Accumulate, Split: o.Split, Exclude: r.excluded, Seed: o.Seed, Flip: r.flip, Workers: o.Workers, Window: o.ShuffleWindow,
		Slice: slice, Sampler: o.Sampler, PerIdentity: o.PerIdentity, DatasetLabels: r.found != nil && r.found.Version < 3, NewSlot: r.newSlot,
	})
	if errors.Is(err, data.ErrOptions) {
		return nil, usage(err)
	}
	return l, err
}

// stepSize says of how many crops a step is made.
func (o *Options) stepSize() string {
	if o.Accumulate > 1 {
		return fmt.Sprintf("%d×%d", o.Accumulate, o.Batch)
	}
	return fmt.Sprint(o.Batch)
}
