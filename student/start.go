package student

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"facepipe/internal/journal"
	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/student/checkpoint"
	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/net"
	"facepipe/student/torch"
)

func (r *run) openDataset(ctx context.Context) (err error) {
	if r.ds, err = store.Open(r.o.Dataset, store.WithContext(ctx)); err != nil {
		return err
	}
	if err := takesCrops(r.ds); err != nil || r.o.Validation == nil {
		return err
	}
	return takesCrops(r.o.Validation.Dataset)
}

// takesCrops is [store.ErrContract] if a dataset's crops are not of the networks' size.
func takesCrops(ds *store.Dataset) error {
	if size := ds.Contract().CropSize; size != net.InputSide {
		return fmt.Errorf("%w: the crops of %s are %dx%[3]d, students take %dx%[4]d: ingest the photographs again, without --crop-size", store.ErrContract, ds.Dir(), size, net.InputSide)
	}
	return nil
}

// openData opens what the run reads, and settles what depends on it.
func (r *run) openData(ctx context.Context) (err error) {
	o := &r.o
	if o.ShuffleWindow >= r.ds.Rows() {
		o.ShuffleWindow = 0 // the same, and the same for every such window
	}
	if o.Workers == 0 {
		o.Workers = o.usualWorkers()
	}
	if o.Threads == 0 {
		// Left alone, oneDNN takes one thread when OpenMP's BLAS is loaded beside it.
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if r.teachers, err = openTeachers(r.ds, o); err != nil {
		return err
	}
	r.manifest.TeacherFingerprint = r.teachers.fingerprint()
	if o.Init != "" {
		if r.weights, err = readWeights(o.Init); err != nil {
			return err
		}
		r.origin = r.weights.origin()
		o.Init, r.manifest.Init = r.weights.path, r.weights.digest // of a run's folder, a file
	}
	r.flip = o.Flip == "on" || (o.Flip == "auto" && r.teachers.flip())
	if err = r.choose(ctx); err != nil {
		return err
	}
	if r.loader, err = r.newLoader(r.world.slice()); err != nil {
		return err
	}
	if r.manifest.Exclude != nil {
		r.manifest.Exclude.Crops = r.loader.Excluded() - r.sampled
	}
	if r.schedule, err = o.schedule(r.loader.StepsPerEpoch()); err != nil {
		return err
	}
	if err := r.settleLoss(); err != nil {
		return err
	}
	settled, err := o.settled(r.flip)
	r.manifest.Options, r.manifest.Flip, r.manifest.Crops = settled.recorded(), r.flip, r.loader.Crops()
	return err
}

// settleLoss settles what of the loss depends on the run.
func (r *run) settleLoss() (err error) {
	about := loss.Run{Crops: r.loader.Crops(), Flip: r.flip, Steps: r.schedule.Total}
	if r.o.Sampler == data.ClassBalanced {
		_, about.Crops = r.loader.Identities()
	}
	if r.found != nil {
		about.Recorded = &r.found.Options.Loss
	}
	var notes []string
	r.o.Loss, notes, err = r.o.Loss.For(about)
	r.notes = append(r.notes, notes...)
	return err
}

// startEngine loads the engine and chooses the device.
func (r *run) startEngine(context.Context) (err error) {
	r.begun = time.Now()
	o := &r.o
	if r.engine, err = torch.Open(o.Engine); err != nil {
		return err
	}
	r.engine.SetThreads(o.Threads)
	o.Device = r.world.device(o.Device, r.engine.CUDADevices())
	if o.Device == "cpu" {
		return nil
	}
	if err := r.engine.TryDevice(o.Device); err != nil {
		return noDevice(r.engine, o.Device, err)
	}
	r.engine.SetCUDANumbers(o.CUDA.numbers())
	r.notes = append(r.notes, fmt.Sprintf("%s computes with %v", o.Device, o.CUDA))
	if err := r.engine.TryKernels(o.Device); err != nil {
		r.notes = append(r.notes, fmt.Sprintf("warning: norms and activations run on libtorch's own operators, which are slower than the engine's kernels: %v (nvcc and CUDA_HOME=DIR make engine)", firstLine(err)))
	}
	return nil
}

// noDevice says what a device takes, for which the engine has a reason.
func noDevice(e *torch.Engine, device string, reason error) error {
	if n := e.CUDADevices(); n > 0 {
		return fmt.Errorf("device %s cannot be used: %w; this process sees %d CUDA devices, cuda:0 and on (CUDA_VISIBLE_DEVICES, or the scheduler, says which); each rank of a machine takes one of its own",
			device, firstLine(reason), n)
	}
	return fmt.Errorf("device %s cannot be used by %s (libtorch %s): %w; it takes an NVIDIA GPU with its driver, and an engine built against a libtorch for CUDA (LIBTORCH=DIR make engine)",
		device, e.Path(), e.TorchVersion(), firstLine(reason))
}

// firstLine is an error without what libtorch adds about itself.
func firstLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(line)
}

func (r *run) meetRanks(ctx context.Context) error { return r.world.join(ctx, r.engine, r.o) }

// buildModel makes the model with weights at random.
func (r *run) buildModel(ctx context.Context) (err error) {
	if err := r.serves(r.o.Loss); err != nil {
		return err
	}
	notes, err := r.teachers.align(ctx, &r.o)
	if err != nil {
		return err
	}
	r.notes = append(r.notes, notes...)
	from := supply{ctx: ctx, run: r}
	r.teachers.supply = &from
	r.model, err = newModel(r.engine, r.o, &r.teachers, r.loader.Labels(), r.schedule.Total)
	if from.failed != nil {
		return from.failed
	}
	if err != nil {
		return err
	}
	return r.sameSupply()
}

// serves reports what the loss needs that the data does not have.
func (r *run) serves(c loss.Config) error {
	for _, teacher := range append([]string{""}, c.Teachers()...) {
		missing := c.Needs(teacher) &^ r.teachers.has(teacher, r.loader.Labels() > 0)
		ofOne := loss.IdentityVectors | loss.Neighbours | loss.Norms
		switch {
		case missing == 0:
		case len(r.teachers.caches) == 0 && missing&^loss.Labels != 0:
			return fmt.Errorf("%w: loss %s needs --teacher", ErrUsage, c.Canonical())
		case missing&ofOne == missing && teacher == "" && len(r.teachers.caches) > 1:
			return fmt.Errorf("%w: loss %s needs %v, which the mean of several teachers does not have: name one by @", ErrUsage, c.Canonical(), missing)
		case missing == loss.Norms:
			return fmt.Errorf("%w: loss %s needs %v (quality: norm): the teacher's have one length and say nothing of quality; take a teacher whose embeddings are not normalised, or quality: none",
				ErrUsage, c.Canonical(), missing)
		default:
			return fmt.Errorf("%w: loss %s needs %v, which %s does not have", ErrUsage, c.Canonical(), missing, r.o.Dataset)
		}
	}
	return nil
}

// restoreNewest takes the run to its newest checkpoint or, if there is none, to its beginning.
func (r *run) restoreNewest(ctx context.Context) error {
	r.guard.limit = r.o.Guard
	files, err := checkpoint.List(r.o.Out)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		if err := r.initialise(ctx); err != nil {
			return err
		}
	}
	if err := r.model.beginAverage(r.o.EMA); err != nil || len(files) == 0 {
		return err
	}
	r.weights = nil
	if err := r.restore(files[0]); err != nil {
		return err
	}
	r.resumed = r.last.Step
	fmt.Fprintf(r.progress, "resume after step %d of %d\n", r.last.Step, r.schedule.Total)
	if was, now := r.last.Ranks, r.world.ranks(); was != 0 && was != now && !r.o.SyncBatchNorm {
		fmt.Fprintf(r.progress, "warning: the run was on %d ranks, and goes on by %d: without --sync-batch-norm each takes batch normalisation's statistics of its own crops, so that the result is another than that of either number\n", was, now)
	}
	return nil
}

// agreeWithRanks compares what all ranks were asked to do, and gives them the same weights.
func (r *run) agreeWithRanks(context.Context) error {
	r.model.world = &r.world
	c := common{Run: r.manifest, Checkpoint: r.last.Digest, Step: r.last.Step, Torch: r.engine.TorchVersion(), Guard: r.o.Guard,
		Scored: r.o.Validation != nil, Every: r.o.ValidateEvery}
	return r.world.agree(r.model, c, r.o.SyncBatchNorm)
}

// openJournal opens what the run writes as it goes, and says what it is about to do.
func (r *run) openJournal(context.Context) (err error) {
	if !r.world.leads() {
		return nil
	}
	o := &r.o
	var lost string
	if r.metrics, lost, err = openMetrics(o.Out, r.id, r.last); err != nil {
		return err
	}
	if lost != "" {
		fmt.Fprintf(r.progress, "warning: %s %s: what is missing was lost; the weights are not concerned, and the run goes on\n", journal.Path(o.Out), lost)
	}
	r.world.describe(r.progress, o)
	fmt.Fprintf(r.progress, "train %s (%d parameters, %d-d) with %s on %d crops: %s epochs of %d steps of %s, %s, mirroring %s\n",
		o.Network, r.model.network.Parameters(), r.model.network.Dim, o.Loss.Canonical(), r.loader.Crops(), strconv.FormatFloat(math.Round(100*r.epochs())/100, 'f', -1, 64),
		r.loader.StepsPerEpoch(), o.stepSize(), o.Precision, map[bool]string{true: "on", false: "off"}[r.flip])
	for _, note := range r.notes {
		fmt.Fprintln(r.progress, note)
	}
	if identities, crops := r.loader.Identities(); identities > 0 {
		fmt.Fprintf(r.progress, "sampler %s: %d identities with %d crops a batch each; %d crops without an identity are not among them\n",
			o.Sampler, identities, o.PerIdentity, r.loader.Crops()-crops)
	}
	perStep := o.Batch * o.Accumulate
	r.bar = progress.New(o.Progress, "distill", int64(r.schedule.Total*perStep)).Of("crops")
	r.bar.Skip(int64(r.last.Step * perStep))
	return nil
}
