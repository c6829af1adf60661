package student

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"facepipe/internal/durable"
	"facepipe/internal/progress"
	"facepipe/internal/stop"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/student/data"
	"facepipe/student/optim"
	"facepipe/student/torch"
)

// Summary is a run in numbers.
type Summary struct {
	// Steps and Epochs of the whole run, also of what earlier processes did.
	Steps  int `json:"steps"`
	Epochs int `json:"epochs"`
	// Seconds and ImagesPerSecond are of this process; WaitSeconds of them steps waited
	// for their crops.
	Seconds         float64 `json:"seconds"`
	WaitSeconds     float64 `json:"wait_seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
	// FinalLoss is the last step's.
	FinalLoss float64 `json:"final_loss"`
	// Parameters is the number of trained values in the student.
	Parameters int    `json:"parameters"`
	ONNX       string `json:"onnx"`
	// ResumedAt is the step that this process went on from, 0 for a fresh run.
	ResumedAt int `json:"resumed_at"`
	// SkippedSteps are those whose gradient or embeddings overflowed, in fp16.
	SkippedSteps int `json:"skipped_steps,omitempty"`
	// BestStep is the step of the best checkpoint, if the run keeps it.
	BestStep   int                `json:"best_step,omitempty"`
	Flip       bool               `json:"flip"`
	Precision  string             `json:"precision"`
	Device     string             `json:"device"`
	Torch      string             `json:"torch"`
	Validation map[string]float64 `json:"validation,omitempty"`
}

// Distill trains a student as o says and exports it. It goes on where an earlier
// run of the same options stopped if o.Resume is set.
//
// Errors: [ErrUsage], [ErrCheckpoint], [ErrWeights], torch.ErrEngine, those of package store
// (store.ErrDamaged, store.ErrNotFound, store.ErrLocked), and the context's.
func Distill(ctx context.Context, o Options) (Summary, error) {
	if err := o.validate(); err != nil {
		return Summary{}, err
	}
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return Summary{}, err
	}
	defer ds.Close()
	r := &run{o: o, ds: ds, progress: o.Progress, world: world{rank: o.World}}
	if !r.world.leads() {
		r.o.Progress, r.progress = nil, nil
	}
	if r.progress == nil {
		r.progress = io.Discard
	}
	release, err := r.hold()
	if err != nil {
		return Summary{}, err
	}
	defer release()
	if err := r.find(); err != nil {
		return Summary{}, err
	}
	if err := r.prepare(); err != nil {
		return Summary{}, err
	}
	defer r.loader.Close()
	if err := r.compare(); err != nil {
		return Summary{}, err
	}
	return r.onThread(ctx)
}

// run is one process's share of a training run.
type run struct {
	o        Options
	ds       *store.Dataset
	teacher  *cache.Cache
	loader   *data.Loader
	schedule optim.Schedule
	flip     bool
	manifest manifest
	found    *manifest    // of the run to resume, nil if there is none
	claimed  bool         // whether the folder has become this run's
	weights  *weightsFile // to begin with, or nil
	progress io.Writer

	world   world
	model   *model
	metrics *metrics // nil on all ranks but the first
	guard   guard
	bar     *progress.Bar
	last    position
	begun   time.Time

	tally tally   // of the step in flight
	norm  float64 // length of the last step's gradient
	moved bool    // whether the parameters took that step
}

// prepare opens the data and settles what depends on it.
func (r *run) prepare() error {
	o := &r.o
	if o.ShuffleWindow >= r.ds.Rows() {
		o.ShuffleWindow = 0 // the same, and the same for every such window
	}
	if o.Workers == 0 {
		o.Workers = max(2, runtime.GOMAXPROCS(0))
	}
	if o.Threads == 0 {
		// Left alone, oneDNN takes one thread when OpenMP's BLAS is loaded beside it.
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Teacher != "" {
		t, err := cache.Open(r.ds, o.Teacher)
		if err != nil {
			return err
		}
		r.teacher = t
		r.manifest.TeacherFingerprint = t.Info().Fingerprint
	}
	if o.Init != "" {
		var err error
		if r.weights, err = readWeights(o.Init); err != nil {
			return err
		}
		o.Init, r.manifest.Init = r.weights.path, r.weights.digest // of a run's folder, a file
	}
	r.flip = o.Flip == "on" || (o.Flip == "auto" && (r.teacher == nil || r.teacher.Info().Flip))
	var err error
	if r.loader, err = r.newLoader(r.world.share()); err != nil {
		return err
	}
	if r.schedule, err = o.schedule(r.loader.StepsPerEpoch()); err != nil {
		return err
	}
	settled, err := o.settled(r.flip)
	r.manifest.Options, r.manifest.Flip, r.manifest.Crops = settled.recorded(), r.flip, r.loader.Crops()
	return err
}

// newLoader gives a share of the run's batches.
func (r *run) newLoader(share data.Share) (*data.Loader, error) {
	o := &r.o
	l, err := data.New(r.ds, r.teacher, data.Options{
		Batch: o.Batch, Parts: o.Accumulate, Split: o.Split, Seed: o.Seed, Flip: r.flip, Workers: o.Workers, Window: o.ShuffleWindow,
		Share: share, Sampler: o.Sampler, PerIdentity: o.PerIdentity,
	})
	if errors.Is(err, data.ErrOptions) {
		return nil, usage(err)
	}
	return l, err
}

// onThread trains on one locked OS thread: libtorch's gradient mode and thread
// pool belong to it.
func (r *run) onThread(ctx context.Context) (Summary, error) {
	type result struct {
		summary Summary
		err     error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		s, err := r.train(ctx)
		done <- result{s, err}
	}()
	d := <-done
	return d.summary, d.err
}

func (r *run) train(ctx context.Context) (_ Summary, err error) {
	r.begun = time.Now()
	defer func() { err = r.world.leave(err) }()
	if err := r.start(ctx); err != nil {
		return Summary{}, interrupted(err, "stopped before the first step")
	}
	defer r.model.close()
	defer r.metrics.close()
	// What the beginning left, all weights among it, is not needed in any step.
	debug.FreeOSMemory()
	from := r.last.Step
	err = r.catchUp(ctx)
	if err == nil {
		err = r.loader.Run(r.world.context(ctx), from, r.schedule.Total, func(b *data.Batch) error {
			r.world.ask(ctx)
			stepped, err := r.batch(b)
			if err != nil || !stepped {
				return err
			}
			return r.after(ctx)
		})
	}
	r.bar.Finish()
	if err != nil {
		return Summary{}, r.stop(err)
	}
	return r.finish(from)
}

// start opens the engine, builds the model and takes it to the newest checkpoint.
func (r *run) start(ctx context.Context) error {
	o := &r.o
	e, err := torch.Open(o.Engine)
	if err != nil {
		return err
	}
	e.SetThreads(o.Threads)
	o.Device = r.world.device(e, o.Device)
	if o.Device != "cpu" && !e.HasDevice(o.Device) {
		return noDevice(e, o.Device)
	}
	if err := r.world.join(ctx, e, *o); err != nil {
		return err
	}
	teacherDim := 0
	if r.teacher != nil {
		teacherDim = r.teacher.Info().Dim
	}
	if r.model, err = newModel(e, *o, teacherDim, r.ds.Identities()); err != nil {
		return err
	}
	if r.model.loss.NeedsTeacher() && r.teacher == nil {
		return fmt.Errorf("%w: loss %s needs --teacher", ErrUsage, o.Loss.Name)
	}
	if err := r.goOn(ctx); err != nil {
		return err
	}
	r.model.world = &r.world
	c := common{Run: r.manifest, Checkpoint: r.last.Digest, Step: r.last.Step, Torch: e.TorchVersion(), Guard: o.Guard,
		Scored: o.Validation != nil, Every: o.ValidateEvery}
	if err := r.world.begin(r.model, c, o.SyncBatchNorm); err != nil {
		return err
	}
	if !r.world.leads() {
		return nil
	}
	if err := r.claim(); err != nil {
		return err
	}
	if err := r.clearAway(); err != nil {
		return err
	}
	if r.metrics, err = openMetrics(o.Out, r.last); err != nil {
		return err
	}
	r.world.describe(r.progress, o)
	fmt.Fprintf(r.progress, "train %s (%d parameters, %d-d) with %s on %d crops: %d epochs of %d steps of %s, %s, mirroring %s\n",
		o.Network, r.model.network.Parameters(), r.model.network.Dim, o.Loss.Name, r.loader.Crops(), o.Epochs,
		r.loader.StepsPerEpoch(), o.stepSize(), o.Precision, map[bool]string{true: "on", false: "off"}[r.flip])
	if identities, crops := r.loader.Identities(); identities > 0 {
		fmt.Fprintf(r.progress, "sampler %s: %d identities with %d crops a batch each; %d crops without an identity are not among them\n",
			o.Sampler, identities, o.PerIdentity, r.loader.Crops()-crops)
	}
	r.bar = progress.New(o.Progress, "distill", int64((r.schedule.Total-r.last.Step)*o.Batch*o.Accumulate))
	return nil
}

// noDevice says what a device takes.
func noDevice(e *torch.Engine, device string) error {
	if device != "cuda" && e.HasDevice("cuda") {
		return fmt.Errorf("device %s is not there: --device cuda takes the first one that is", device)
	}
	return fmt.Errorf("device %s cannot be used by %s (libtorch %s): it takes an NVIDIA GPU with its driver, and an engine built against a libtorch for CUDA (LIBTORCH=DIR make engine)",
		device, e.Path(), e.TorchVersion())
}

// stepSize says of how many crops a step is made.
func (o *Options) stepSize() string {
	if o.Accumulate > 1 {
		return fmt.Sprintf("%d×%d", o.Accumulate, o.Batch)
	}
	return fmt.Sprint(o.Batch)
}

// goOn takes the run to its newest checkpoint or, if there is none, to its beginning.
func (r *run) goOn(ctx context.Context) error {
	r.guard.limit = r.o.Guard
	files, err := checkpoints(r.o.Out)
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
	fmt.Fprintf(r.progress, "resume after step %d of %d\n", r.last.Step, r.schedule.Total)
	if was, now := r.last.Ranks, r.world.ranks(); was != 0 && was != now && !r.o.SyncBatchNorm {
		fmt.Fprintf(r.progress, "warning: the run was on %d ranks, and goes on by %d: without --sync-batch-norm each takes batch normalisation's statistics of its own crops, so that the result is another than that of either number\n", was, now)
	}
	return nil
}

// clearAway removes what a killed process left.
func (r *run) clearAway() error {
	for _, folder := range []string{r.o.Out, checkpointFolder(r.o.Out)} {
		if err := durable.RemoveTemps(folder); err != nil {
			return err
		}
	}
	if err := noteBest(r.o.Out, r.last.Best); err != nil {
		return err
	}
	return forgetDiagnosis(r.o.Out)
}

// after does whatever is due after a step.
func (r *run) after(ctx context.Context) error {
	r.bar.Add(int64(r.o.Batch * r.o.Accumulate))
	r.bar.Note(fmt.Sprintf("loss %.4f", r.last.Loss))
	perEpoch := r.loader.StepsPerEpoch()
	epochDone := r.last.Step%perEpoch == 0
	if r.last.Step%r.o.LogEvery == 0 || epochDone {
		if err := r.log(float64(r.last.Step) / float64(perEpoch)); err != nil {
			return err
		}
	}
	if r.o.afterStep != nil {
		r.o.afterStep()
	}
	if r.validationDue() {
		if err := r.scored(ctx); err != nil {
			return err
		}
	}
	if epochDone || r.last.Step%r.o.CheckpointEvery == 0 {
		if err := r.save(); err != nil {
			return err
		}
	}
	return r.world.verdict()
}

// log writes the line of a step.
func (r *run) log(epoch float64) error {
	line := map[string]any{
		"step": r.last.Step, "epoch": math.Round(epoch*1e4) / 1e4, "lr": r.schedule.At(r.last.Step - 1),
		"loss": r.last.Loss, "seconds": time.Since(r.begun).Seconds(), "wait_seconds": r.loader.Waited().Seconds(),
	}
	if r.moved { // the gradient of a skipped step is not finite
		line["gradient"] = r.norm
	}
	if c := r.model.scaler; c != nil {
		line["scale"], line["skipped"] = c.Scale, c.Skipped
	}
	for name, v := range r.tally.parts {
		line[name] = v
	}
	return r.metrics.write(line)
}

// validationDue is whether the run is to be scored where it is, and has not been.
func (r *run) validationDue() bool {
	step, perEpoch := r.last.Step, r.loader.StepsPerEpoch()
	if r.o.Validation == nil || step == 0 || step%perEpoch != 0 || r.last.Validated == step {
		return false
	}
	return step/perEpoch%r.o.ValidateEvery == 0 || step == r.schedule.Total
}

// catchUp makes up for a validation during which an earlier process was stopped.
func (r *run) catchUp(ctx context.Context) error {
	if !r.validationDue() {
		return nil
	}
	if err := r.scored(ctx); err != nil {
		return err
	}
	return r.save()
}

// scored has rank 0 score the student, and the others wait for it.
func (r *run) scored(ctx context.Context) error {
	if err := r.world.lead(ctx, func() error { return r.validate(ctx) }); err != nil {
		return err
	}
	r.last.Validated = r.last.Step
	return nil
}

// validate scores the student and notes whether it is the best so far.
func (r *run) validate(ctx context.Context) error {
	figures, err := r.o.Validation.run(ctx, r.model, r.o.Batch)
	if err != nil {
		return err
	}
	if err := r.noteIfBest(figures); err != nil {
		return err
	}
	line := map[string]any{"step": r.last.Step, "epoch": r.last.Step / r.loader.StepsPerEpoch()}
	r.last.Figures, r.last.Validated = map[string]float64{}, r.last.Step
	for name, v := range figures {
		if !finite(v) { // no reason to end a run
			fmt.Fprintf(r.progress, "validation after step %d: %s is %g\n", r.last.Step, name, v)
			continue
		}
		line[validationKey+name], r.last.Figures[name] = v, v
	}
	return r.metrics.write(line)
}

// noteIfBest remembers the step if its figure is better than all before.
func (r *run) noteIfBest(figures map[string]float64) error {
	name := r.o.KeepBest
	if name == "" {
		return nil
	}
	b, sign := r.last.Best, float64(r.o.Validation.Better[name])
	value, ok := figures[name]
	if !ok {
		return fmt.Errorf("keep the best checkpoint: the validation gave no %s", name)
	}
	if finite(value) && (b == nil || b.Figure != name || sign*value > sign*b.Value) {
		r.last.Best = &best{Step: r.last.Step, Figure: name, Value: value}
	}
	return nil
}

// interrupted has an error that is a cancellation say where it came.
func interrupted(err error, where string) error {
	if errors.Is(err, context.Canceled) {
		return stop.Saying(where)
	}
	return err
}

// stop turns the error that ended training into one for the user. A cancelled run
// keeps the step it had reached.
func (r *run) stop(err error) error {
	if errors.Is(err, context.Canceled) {
		if saveErr := r.save(); saveErr != nil {
			return errors.Join(err, saveErr)
		}
		return interrupted(err, fmt.Sprintf("stopped after step %d of %d", r.last.Step, r.schedule.Total))
	}
	var d *diagnosis
	if errors.As(err, &d) && r.world.leads() {
		return r.giveUp(d)
	}
	return err
}

func (r *run) finish(from int) (Summary, error) {
	onnxPath := filepath.Join(r.o.Out, "student.onnx")
	r.model.engine.Trim() // a graph is made beside the model
	if r.world.leads() {
		if err := r.export(onnxPath); err != nil {
			return Summary{}, err
		}
	}
	seconds := time.Since(r.begun).Seconds()
	s := Summary{
		Steps: r.last.Step, Epochs: r.o.Epochs, Seconds: seconds, WaitSeconds: r.loader.Waited().Seconds(),
		ImagesPerSecond: float64((r.last.Step-from)*r.o.Batch*r.o.Accumulate) / seconds,
		FinalLoss:       r.last.Loss, Parameters: r.model.network.Parameters(), ONNX: onnxPath,
		ResumedAt: from, Flip: r.flip, Precision: r.o.Precision, Device: r.o.Device,
		Torch: r.model.engine.TorchVersion(), Validation: r.last.Figures,
	}
	if c := r.model.scaler; c != nil {
		s.SkippedSteps = c.Skipped
	}
	if b := r.last.Best; b != nil {
		s.BestStep = b.Step
	}
	if !r.world.leads() {
		return s, nil
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, err
	}
	return s, durable.WriteFile(filepath.Join(r.o.Out, "summary.json"), append(text, '\n'), 0o644)
}
