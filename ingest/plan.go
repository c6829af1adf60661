package ingest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"facepipe/ingest/source"
	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
	"facepipe/internal/progress"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/plan"
)

// PlanVerb is the verb of plans that [Work] carries out.
const PlanVerb = "ingest"

// DefaultTaskItems is the number of items of a plan's task: minutes of work.
const DefaultTaskItems = 20_000

// PlanSummary is a plan in numbers.
type PlanSummary struct {
	Plan string `json:"plan"`
	// ID is a digest of all that the plan says.
	ID      string `json:"id"`
	Verb    string `json:"verb"`
	Dataset string `json:"dataset"`
	Tasks   int    `json:"tasks"`
	Items   int    `json:"items"`
}

// planOptions are what an ingest depends on, and the inputs as they were.
type planOptions struct {
	Options Options `json:"options"`
	// Sources is a digest of the sources that are one file each, and of all items in their
	// order with what their sources say of them. Detector and Landmarks are digests of these
	// files.
	Sources   string `json:"sources_digest"`
	Detector  string `json:"detector_digest,omitempty"`
	Landmarks string `json:"landmarks_digest,omitempty"`
	// Contract of the crops, decoder included.
	Contract store.Contract `json:"contract"`
}

// MakePlan writes the plan of an ingest into a folder. Its tasks have perTask items each, 0
// for [DefaultTaskItems]. Making the same plan again changes nothing; a folder with another
// plan is store.ErrPlan. Nothing is written to o.Out.
func MakePlan(ctx context.Context, o Options, dir string, perTask int) (PlanSummary, error) {
	o, err := absolute(o)
	if err != nil {
		return PlanSummary{}, fmt.Errorf("plan ingest: %w", err)
	}
	found, err := survey(ctx, o, (*run).keepApart)
	if err != nil {
		return PlanSummary{}, fmt.Errorf("plan ingest: %w", err)
	}
	p := plan.Plan{Verb: PlanVerb, Dataset: o.Out, Tasks: []plan.Task{}}
	if p.Output, err = plannedOutput(dir, o.Out); err != nil {
		return PlanSummary{}, fmt.Errorf("plan ingest: %w", err)
	}
	if p.Options, err = json.Marshal(found.planOptions); err != nil {
		return PlanSummary{}, err
	}
	perTask = cmp.Or(perTask, DefaultTaskItems)
	for from := 0; from < found.items; from += perTask {
		p.Tasks = append(p.Tasks, plan.Task{Shard: len(p.Tasks), From: from, Rows: min(perTask, found.items-from)})
	}
	id, err := plan.Write(dir, p)
	return PlanSummary{Plan: dir, ID: id, Verb: p.Verb, Dataset: p.Dataset, Tasks: len(p.Tasks), Items: found.items}, err
}

// plannedOutput is the dataset as the merge is to find it: as it is now or, if the folder has a
// plan already, as it was when that was made.
func plannedOutput(dir, out string) (*store.PlanOutput, error) {
	have, _, err := plan.Read(dir)
	if err == nil {
		return have.Output, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	now, err := store.FindOutput(out)
	return &now, err
}

// absolute makes all paths absolute.
func absolute(o Options) (Options, error) {
	p, err := o.parse()
	if err != nil {
		return o, err
	}
	full := func(path string) string {
		if path == "" || err != nil {
			return path
		}
		path, err = filepath.Abs(path)
		return path
	}
	o.Sources = nil
	for _, spec := range p.sources {
		o.Sources = append(o.Sources, spec.Kind+"="+full(spec.Path))
	}
	if p.detector.File != "" {
		o.Detector = string(p.detector.Kind) + "=" + full(p.detector.File)
	}
	o.Landmarks, o.PairsOut, o.Out = full(o.Landmarks), full(o.PairsOut), full(o.Out)
	return o, err
}

// Paths are the files and folders, as absolute paths, that an ingest with the options reads
// and writes.
func (o Options) Paths() ([]string, error) {
	o, err := absolute(o)
	if err != nil {
		return nil, err
	}
	p, err := o.parse()
	if err != nil {
		return nil, err
	}
	paths := []string{p.detector.File, o.Landmarks, o.PairsOut, o.Out}
	for _, spec := range p.sources {
		paths = append(paths, spec.Path)
	}
	return slices.DeleteFunc(paths, func(path string) bool { return path == "" }), nil
}

// surveyed is what a plan says of its inputs.
type surveyed struct {
	planOptions
	items int
}

// survey looks at the inputs of an ingest without reading a picture. What further must hold of
// them is for also to say.
func survey(ctx context.Context, o Options, also ...func(*run, context.Context) error) (s surveyed, err error) {
	r := &run{options: o, summary: Summary{RejectReasons: map[string]int{}}}
	defer func() { err = errors.Join(err, r.close()) }()
	if r.parsed, err = o.parse(); err != nil {
		return s, err
	}
	if err := imgcodec.Use(o.Decoder); err != nil {
		return s, err
	}
	if err := r.openSources(ctx); err != nil {
		return s, err
	}
	if err := errors.Join(r.requirePairs(), r.openCropper()); err != nil {
		return s, err
	}
	for _, holds := range also {
		if err := holds(r, ctx); err != nil {
			return s, err
		}
	}
	sources := sha256.New()
	bar := progress.New(o.Progress, "survey", -1).Of("photographs")
	defer bar.Finish()
	begun := 0
	begin := func(before int) {
		for ; begun < before; begun++ {
			fmt.Fprintf(sources, "%d %q\n", begun, r.sources[begun].Digest())
		}
	}
	err = r.walk(ctx, bar, true, func(i int, item source.Item) error {
		begin(i + 1)
		s.items++
		bar.Add(1)
		if item.Landmarks == nil && !r.cropper.named.Load() {
			if _, err := r.cropper.lookup(r.key(i, item.Key)); err != nil {
				return err
			}
		}
		return describe(sources, item)
	})
	if err != nil {
		return s, err
	}
	begin(len(r.sources))
	if err := r.cropper.requireNamed(o.Landmarks); err != nil {
		return s, err
	}
	s.planOptions = planOptions{Options: o, Sources: hex.EncodeToString(sources.Sum(nil)), Contract: r.cropper.contract}
	s.Options.made, s.Options.from, s.Options.items = nil, 0, 0
	if r.cropper.detector != nil {
		s.Detector = r.cropper.detector.Digest()
	}
	if r.cropper.landmarks != nil {
		s.Landmarks = r.cropper.landmarks.Digest()
	}
	return s, nil
}

// describe writes what is known of an item, without its bytes.
func describe(w io.Writer, item source.Item) error {
	_, err := fmt.Fprintf(w, "%q %q %q %v %v %q\n", item.Key, item.Identity, item.Split, item.Landmarks, item.Box, item.Attributes)
	return err
}

// WorkSummary is what a worker did.
type WorkSummary struct {
	Plan string `json:"plan"`
	// Tasks of this worker: Done in this run, Reused from an earlier one, Busy in another
	// process.
	Tasks  int `json:"tasks"`
	Done   int `json:"done"`
	Reused int `json:"reused"`
	Busy   int `json:"busy"`
	// Memory is that of [Summary].
	Memory int64 `json:"memory"`
	// Seen, Written, Duplicates and Rejected are those of [Summary] over the tasks that were
	// done. The merge finds duplicates of other tasks' crops.
	Seen            int     `json:"seen"`
	Written         int     `json:"written"`
	Duplicates      int     `json:"duplicates"`
	Rejected        int     `json:"rejected"`
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
}

// Work does a worker's tasks of the plan in a folder. Each gives a dataset of its own there,
// made as [Run] makes one. Workers, Memory, ONNXRuntime, Progress and Logger are taken from o, the
// rest from the plan. Inputs that have changed since are store.ErrPlan.
func Work(ctx context.Context, dir string, w worker.Worker, o Options) (s WorkSummary, err error) {
	begun := time.Now()
	p, planned, err := readPlan(ctx, dir, o)
	if err != nil {
		return s, err
	}
	s = WorkSummary{Plan: dir, Memory: cmp.Or(o.Memory, DefaultMemory())}
	share := w.Tasks(len(p.Tasks))
	tasks := make([]plan.Task, 0, len(share))
	for _, i := range share {
		tasks = append(tasks, p.Tasks[i])
	}
	planned.bar = progress.New(planned.Progress, "ingest", int64(itemsOf(tasks))).Of("photographs")
	defer planned.bar.Finish()
	for _, i := range share {
		s.Tasks++
		if err := s.task(ctx, i, p.Tasks[i], planned); err != nil {
			return s, err
		}
	}
	s.Seconds = time.Since(begun).Seconds()
	s.ImagesPerSecond = float64(s.Seen) / s.Seconds
	return s, nil
}

// itemsOf is how many items tasks have.
func itemsOf(tasks []plan.Task) (n int) {
	for _, t := range tasks {
		n += t.Rows
	}
	return n
}

// partDataset is the dataset of a task.
func partDataset(job string, task int) string {
	return filepath.Join(plan.PartsFolder(job), fmt.Sprintf("%06d.ds", task))
}

func (s *WorkSummary) task(ctx context.Context, i int, t plan.Task, o Options) error {
	done, err := taskDone(s.Plan, i)
	if err != nil {
		return err
	}
	if done {
		s.Reused++
		o.bar.Skip(int64(t.Rows))
		return nil
	}
	part := partDataset(s.Plan, i)
	below, err := filepath.Rel(s.Plan, part)
	if err == nil {
		err = durable.NoLinks(s.Plan, below)
	}
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(part), 0o755); err != nil {
		return err
	}
	o.Out, o.from, o.items, o.MaxRejectRate, o.PairsOut = part, t.From, t.Rows, 1, ""
	run, err := Run(ctx, o)
	if errors.Is(err, store.ErrLocked) {
		s.Busy++
		o.bar.Skip(int64(t.Rows))
		return nil
	}
	if err != nil {
		return fmt.Errorf("task of items %d to %d: %w", t.From, t.From+t.Rows-1, err)
	}
	s.Done++
	s.Seen += run.Seen
	s.Written += run.Written
	s.Duplicates += run.Duplicates
	s.Rejected += run.Rejected
	return nil
}

// taskDone says whether a task's part is there, or was merged and then deleted.
func taskDone(job string, i int) (bool, error) {
	merged, err := plan.ReadMergeState(job)
	if err != nil {
		return false, err
	}
	if merged != nil && merged.Cleared {
		return true, nil
	}
	// dataset.json is written last, and by the run that has done everything.
	d, err := store.Open(partDataset(job, i))
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnfinished) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, d.Close()
}

// readPlan reads a plan and refuses inputs that have changed since. The options are the
// plan's, with the machine's own from o.
func readPlan(ctx context.Context, dir string, o Options) (plan.Plan, Options, error) {
	p, _, err := plan.Read(dir)
	if err != nil {
		return p, o, err
	}
	if p.Verb != PlanVerb {
		return p, o, fmt.Errorf("plan %s is one of %s, not of %s", dir, p.Verb, PlanVerb)
	}
	var was planOptions
	if err := json.Unmarshal(p.Options, &was); err != nil {
		return p, o, fmt.Errorf("%w: plan %s: %w", store.ErrDamaged, dir, err)
	}
	planned := was.Options
	planned.Out, planned.Workers, planned.ONNXRuntime, planned.Progress, planned.Logger = p.Dataset, o.Workers, o.ONNXRuntime, o.Progress, o.Logger
	planned.MaxRejectRate, planned.Memory = o.MaxRejectRate, o.Memory
	now, err := survey(ctx, planned)
	if err != nil {
		return p, planned, err
	}
	for _, c := range []struct{ what, was, now string }{
		{"the sources hold something else", was.Sources, now.Sources},
		{"the detector's file is another", was.Detector, now.Detector},
		{"the landmarks' file is another", was.Landmarks, now.Landmarks},
		{"crops are made otherwise here", fmt.Sprint(was.Contract), fmt.Sprint(now.Contract)},
	} {
		if c.was != c.now {
			return p, planned, fmt.Errorf("%w: %s than when %s was made: make another plan", store.ErrPlan, c.what, dir)
		}
	}
	return p, planned, nil
}
