package student

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"facepipe/internal/durable"
	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/student/data"
	"facepipe/student/optim"
	"facepipe/student/torch"
)

// errDiverged marks a loss that is no longer a number.
var errDiverged = errors.New("the loss is not finite")

// Summary is a run in numbers.
type Summary struct {
	// Steps and Epochs of the whole run, also of what earlier processes did.
	Steps  int `json:"steps"`
	Epochs int `json:"epochs"`
	// Seconds and ImagesPerSecond are of this process.
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
	// FinalLoss is the last step's.
	FinalLoss float64 `json:"final_loss"`
	// Parameters is the number of trained values in the student.
	Parameters int    `json:"parameters"`
	ONNX       string `json:"onnx"`
	// ResumedAt is the step that this process went on from, 0 for a fresh run.
	ResumedAt  int                `json:"resumed_at"`
	Flip       bool               `json:"flip"`
	Precision  string             `json:"precision"`
	Device     string             `json:"device"`
	Torch      string             `json:"torch"`
	Validation map[string]float64 `json:"validation,omitempty"`
}

// manifest is run.json: what a run is. A resumed run must be the same.
type manifest struct {
	Options Options `json:"options"`
	// Dataset and TeacherFingerprint identify the data.
	Dataset            string `json:"dataset_digest"`
	TeacherFingerprint string `json:"teacher_fingerprint,omitempty"`
	Flip               bool   `json:"flip"`
	Crops              int    `json:"crops"`
}

// Distill trains a student as o says and exports it. It goes on where an earlier
// run of the same options stopped if o.Resume is set.
//
// Errors: [ErrUsage], [ErrCheckpoint], torch.ErrEngine, those of package store
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
	if err := r.prepare(); err != nil {
		return Summary{}, err
	}
	defer r.loader.Close()
	if r.world.leads() {
		if err := os.MkdirAll(o.Out, 0o755); err != nil {
			return Summary{}, err
		}
		lock, err := durable.TryLock(filepath.Join(o.Out, ".lock"))
		if err != nil {
			return Summary{}, fmt.Errorf("train into %s: %w", o.Out, err)
		}
		defer lock.Unlock()
		if err := r.claim(); err != nil {
			return Summary{}, err
		}
	}
	return r.onThread(ctx)
}

// run is one process's share of a training run.
type run struct {
	o        Options
	ds       *store.Dataset
	teacher  *store.Teacher
	loader   *data.Loader
	schedule optim.Schedule
	flip     bool
	manifest manifest
	progress io.Writer

	world   world
	model   *model
	metrics *metrics // nil on all ranks but the first
	bar     *progress.Bar
	last    position
	begun   time.Time
	figures map[string]float64 // of the latest validation
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
	if o.Teacher != "" {
		t, err := r.ds.OpenTeacher(o.Teacher)
		if err != nil {
			return err
		}
		r.teacher = t
		r.manifest.TeacherFingerprint = t.Info().Fingerprint
	}
	r.flip = o.Flip == "on" || (o.Flip == "auto" && (r.teacher == nil || r.teacher.Info().Flip))
	var err error
	r.loader, err = data.New(r.ds, r.teacher, data.Options{
		Batch: o.Batch, Split: o.Split, Seed: o.Seed, Flip: r.flip, Workers: o.Workers, Window: o.ShuffleWindow,
		Share: r.world.share(),
	})
	if err != nil {
		return err
	}
	if r.schedule, err = o.schedule(r.loader.StepsPerEpoch()); err != nil {
		return err
	}
	r.manifest.Options, r.manifest.Dataset = *o, r.ds.Digest()
	r.manifest.Flip, r.manifest.Crops = r.flip, r.loader.Crops()
	return nil
}

// claim writes run.json, or compares it with the one of the run to resume.
func (r *run) claim() error {
	path := filepath.Join(r.o.Out, "run.json")
	text, err := json.MarshalIndent(r.manifest, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	before, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return durable.WriteFile(path, text, 0o644)
	}
	if err != nil {
		return err
	}
	if !r.o.Resume {
		return fmt.Errorf("%w: %s holds a run already: add --resume to go on with it, or choose another --out", ErrUsage, r.o.Out)
	}
	if key := firstDifference(before, text); key != "" {
		return fmt.Errorf("%w: the run in %s was started with another %s; resume with the same settings and data, or choose another --out", ErrUsage, r.o.Out, key)
	}
	return nil
}

// firstDifference names a key, such as options.lr, whose values differ in two JSON
// objects; "" if they agree.
func firstDifference(a, b []byte) string {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return "run.json"
	}
	return differentKey("", x, y)
}

func differentKey(path string, x, y any) string {
	m, ok := x.(map[string]any)
	n, also := y.(map[string]any)
	if !ok || !also {
		if fmt.Sprint(x) == fmt.Sprint(y) {
			return ""
		}
		return path[min(1, len(path)):]
	}
	for key := range n {
		if _, ok := m[key]; !ok {
			m[key] = nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if d := differentKey(path+"."+key, m[key], n[key]); d != "" {
			return d
		}
	}
	return ""
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
		return Summary{}, err
	}
	defer r.model.close()
	defer r.metrics.close()
	from := r.last.Step
	err = r.loader.Run(r.world.context(ctx), from, r.schedule.Total, func(b *data.Batch) error { return r.step(ctx, b) })
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
	if o.Threads == 0 {
		// Left alone, oneDNN takes one thread when OpenMP's BLAS is loaded beside it.
		o.Threads = runtime.GOMAXPROCS(0)
	}
	e.SetThreads(o.Threads)
	o.Device = r.world.device(e, o.Device)
	if o.Device != "cpu" && !e.HasDevice(o.Device) {
		return fmt.Errorf("device %s cannot be used by %s (libtorch %s)", o.Device, e.Path(), e.TorchVersion())
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
	files, err := checkpoints(o.Out)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		if r.last, err = r.model.restore(files[0]); err != nil {
			return err
		}
		fmt.Fprintf(r.progress, "resume after step %d of %d\n", r.last.Step, r.schedule.Total)
	}
	r.model.world = &r.world
	if err := r.world.begin(r.model, common{r.manifest, r.last.Digest, r.last.Step, e.TorchVersion()}, o.SyncBatchNorm); err != nil {
		return err
	}
	if !r.world.leads() {
		return nil
	}
	if r.metrics, err = openMetrics(filepath.Join(o.Out, "metrics.jsonl"), r.last.Step); err != nil {
		return err
	}
	r.world.describe(r.progress, o)
	fmt.Fprintf(r.progress, "train %s (%d parameters, %d-d) with %s on %d crops: %d epochs of %d steps of %d, %s, mirroring %s\n",
		o.Network, r.model.network.Parameters(), r.model.network.Dim, o.Loss.Name, r.loader.Crops(), o.Epochs,
		r.loader.StepsPerEpoch(), o.Batch, o.Precision, map[bool]string{true: "on", false: "off"}[r.flip])
	r.bar = progress.New(o.Progress, "distill", int64((r.schedule.Total-r.last.Step)*o.Batch))
	return nil
}

// step takes one optimizer step and whatever is due after it.
func (r *run) step(ctx context.Context, b *data.Batch) error {
	rate := r.schedule.At(b.Step)
	r.world.ask(ctx)
	result, err := r.model.step(b, r.loader.CropSize(), rate)
	if err != nil {
		return fmt.Errorf("step %d: %w", b.Step+1, err)
	}
	r.last.Step, r.last.Loss = b.Step+1, result.loss
	if !r.world.leads() {
		return r.world.verdict()
	}
	r.bar.Add(int64(r.o.Batch))
	r.bar.Note(fmt.Sprintf("loss %.4f", result.loss))
	perEpoch := r.loader.StepsPerEpoch()
	epochDone := r.last.Step%perEpoch == 0
	if r.last.Step%r.o.LogEvery == 0 || epochDone {
		if err := r.log(result, rate, float64(r.last.Step)/float64(perEpoch)); err != nil {
			return err
		}
	}
	if r.o.afterStep != nil {
		r.o.afterStep()
	}
	epoch := r.last.Step / perEpoch
	if v := r.o.Validation; v != nil && epochDone && (epoch%r.o.ValidateEvery == 0 || r.last.Step == r.schedule.Total) {
		if err := r.world.later(r.validate(ctx, epoch)); err != nil {
			return err
		}
	}
	if epochDone || r.last.Step%r.o.CheckpointEvery == 0 {
		if err := r.model.save(r.o.Out, r.last, r.o.KeepCheckpoints); err != nil {
			return err
		}
	}
	return r.world.verdict()
}

func (r *run) log(result stepResult, rate, epoch float64) error {
	line := map[string]any{
		"step": r.last.Step, "epoch": math.Round(epoch*1e4) / 1e4, "lr": rate,
		"loss": result.loss, "gradient": result.gradient, "seconds": time.Since(r.begun).Seconds(),
	}
	for name, v := range result.parts {
		line[name] = v
	}
	return r.metrics.write(line)
}

func (r *run) validate(ctx context.Context, epoch int) error {
	figures, err := r.o.Validation.run(ctx, r.model, r.o.Batch)
	if err != nil {
		return err
	}
	r.figures = figures
	line := map[string]any{"step": r.last.Step, "epoch": epoch}
	for name, v := range figures {
		line["val_"+name] = v
	}
	return r.metrics.write(line)
}

// stop turns the error that ended training into one for the user. A cancelled run
// keeps the step it had reached.
func (r *run) stop(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		if r.world.leads() {
			if saveErr := r.model.save(r.o.Out, r.last, r.o.KeepCheckpoints); saveErr != nil {
				return errors.Join(err, saveErr)
			}
		}
		return fmt.Errorf("stopped after step %d of %d; go on with --resume: %w", r.last.Step, r.schedule.Total, err)
	case errors.Is(err, errDiverged):
		return fmt.Errorf("%w; the last good checkpoint stays in %s; try a lower --lr or --precision fp32", err, checkpointFolder(r.o.Out))
	}
	return err
}

func (r *run) finish(from int) (Summary, error) {
	onnxPath := filepath.Join(r.o.Out, "student.onnx")
	if r.world.leads() {
		if err := r.export(onnxPath); err != nil {
			return Summary{}, err
		}
	}
	seconds := time.Since(r.begun).Seconds()
	s := Summary{
		Steps: r.last.Step, Epochs: r.o.Epochs, Seconds: seconds,
		ImagesPerSecond: float64((r.last.Step-from)*r.o.Batch) / seconds,
		FinalLoss:       r.last.Loss, Parameters: r.model.network.Parameters(), ONNX: onnxPath,
		ResumedAt: from, Flip: r.flip, Precision: r.o.Precision, Device: r.o.Device,
		Torch: r.model.engine.TorchVersion(), Validation: r.figures,
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
