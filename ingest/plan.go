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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"facepipe/ingest/source"
	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
	"facepipe/internal/worker"
	"facepipe/store"
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
	// Sources is a digest of those that are one file each, and of all items in their
	// order with what their sources say of them; Detector and Landmarks are those of
	// these files.
	Sources   string `json:"sources_digest"`
	Detector  string `json:"detector_digest,omitempty"`
	Landmarks string `json:"landmarks_digest,omitempty"`
	// Contract of the crops, decoder included.
	Contract store.Contract `json:"contract"`
}

// MakePlan writes the plan of an ingest into a folder: tasks of so many items each, 0 for
// [DefaultTaskItems]. Making the same plan again changes nothing; a folder with another
// one is store.ErrPlan. Nothing is written to o.Out.
func MakePlan(ctx context.Context, o Options, dir string, perTask int) (PlanSummary, error) {
	o, err := absolute(o)
	if err != nil {
		return PlanSummary{}, fmt.Errorf("plan ingest: %w", err)
	}
	found, err := survey(ctx, o)
	if err != nil {
		return PlanSummary{}, fmt.Errorf("plan ingest: %w", err)
	}
	p := store.Plan{Verb: PlanVerb, Dataset: o.Out, Tasks: []store.PlanTask{}}
	if p.Options, err = json.Marshal(found.planOptions); err != nil {
		return PlanSummary{}, err
	}
	perTask = cmp.Or(perTask, DefaultTaskItems)
	for from := 0; from < found.items; from += perTask {
		p.Tasks = append(p.Tasks, store.PlanTask{Shard: len(p.Tasks), From: from, Rows: min(perTask, found.items-from)})
	}
	id, err := store.WritePlan(dir, p)
	return PlanSummary{Plan: dir, ID: id, Verb: p.Verb, Dataset: p.Dataset, Tasks: len(p.Tasks), Items: found.items}, err
}

// absolute makes paths those of any working folder.
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

// Paths are the files and folders that an ingest with the options reads and writes, those of
// any working folder.
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

// survey looks at the inputs of an ingest without reading a picture.
func survey(ctx context.Context, o Options) (s surveyed, err error) {
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
	sources := sha256.New()
	for i, src := range r.sources {
		fmt.Fprintf(sources, "%d %q\n", i, src.Digest())
		err := src.Walk(ctx, func(item source.Item) error {
			s.items++
			return describe(sources, item)
		})
		if err != nil {
			return s, fmt.Errorf("walk source %s: %w", r.parsed.sources[i], err)
		}
	}
	s.planOptions = planOptions{Options: o, Sources: hex.EncodeToString(sources.Sum(nil)), Contract: r.cropper.contract}
	s.Options.replay, s.Options.from, s.Options.items = nil, 0, 0
	if r.cropper.detector != nil {
		s.Detector = r.cropper.detector.Digest()
	}
	if r.cropper.landmarks != nil {
		s.Landmarks = r.cropper.landmarks.Digest()
	}
	return s, nil
}

// describe writes what an item is, but for its bytes.
func describe(w io.Writer, item source.Item) error {
	_, err := fmt.Fprintf(w, "%q %q %q %v %v %q\n", item.Key, item.Identity, item.Split, item.Landmarks, item.Box, item.Attributes)
	return err
}

// WorkSummary is what a worker did.
type WorkSummary struct {
	Plan string `json:"plan"`
	// Tasks of this worker: Done in this run, Reused from an earlier one, and Busy with
	// another process.
	Tasks  int `json:"tasks"`
	Done   int `json:"done"`
	Reused int `json:"reused"`
	Busy   int `json:"busy"`
	// Seen, Written, Duplicates and Rejected are those of [Summary], over what was done;
	// duplicates of other tasks' crops are found by the merge.
	Seen            int     `json:"seen"`
	Written         int     `json:"written"`
	Duplicates      int     `json:"duplicates"`
	Rejected        int     `json:"rejected"`
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
}

// Work does a worker's tasks of the plan in a folder: each gives a dataset of its own there,
// made as [Run] makes one. Workers, ONNXRuntime, Progress and Logger of o are used, the
// rest is the plan's. Inputs that are not what they were are store.ErrPlan.
func Work(ctx context.Context, dir string, w worker.Worker, o Options) (s WorkSummary, err error) {
	begun := time.Now()
	p, planned, err := readPlan(ctx, dir, o)
	if err != nil {
		return s, err
	}
	s = WorkSummary{Plan: dir}
	for _, i := range w.Tasks(len(p.Tasks)) {
		s.Tasks++
		if err := s.task(ctx, partDataset(dir, i), p.Tasks[i], planned); err != nil {
			return s, err
		}
	}
	s.Seconds = time.Since(begun).Seconds()
	s.ImagesPerSecond = float64(s.Seen) / s.Seconds
	return s, nil
}

// partDataset is the dataset of a task.
func partDataset(plan string, task int) string {
	return filepath.Join(store.PartsFolder(plan), fmt.Sprintf("%06d.ds", task))
}

func (s *WorkSummary) task(ctx context.Context, part string, t store.PlanTask, o Options) error {
	// dataset.json is written last, and by the run that has done everything.
	switch d, err := store.Open(part); {
	case err == nil:
		s.Reused++
		return d.Close()
	case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrUnfinished):
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(part), 0o755); err != nil {
		return err
	}
	o.Out, o.from, o.items, o.MaxRejectRate, o.PairsOut = part, t.From, t.Rows, 1, ""
	done, err := Run(ctx, o)
	if errors.Is(err, store.ErrLocked) {
		s.Busy++
		return nil
	}
	if err != nil {
		return fmt.Errorf("task of items %d to %d: %w", t.From, t.From+t.Rows-1, err)
	}
	s.Done++
	s.Seen += done.Seen
	s.Written += done.Written
	s.Duplicates += done.Duplicates
	s.Rejected += done.Rejected
	return nil
}

// readPlan reads a plan and looks whether its inputs are what they were. The options are
// the plan's, with what is the machine's matter from o.
func readPlan(ctx context.Context, dir string, o Options) (store.Plan, Options, error) {
	p, _, err := store.ReadPlan(dir)
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
	planned.MaxRejectRate = o.MaxRejectRate
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

// MergePlan makes the dataset of a plan, or in another folder if out is not "", of what its
// workers did. It is an ordinary [Run], and may be interrupted like one, in which crops
// come out of the workers' datasets: the result is that of a single process. Nothing is
// written unless every part is there and whole: store.ErrNotFound names those that are
// missing.
func MergePlan(ctx context.Context, dir, out string, o Options) (Summary, error) {
	p, planned, err := readPlan(ctx, dir, o)
	if err != nil {
		return Summary{}, err
	}
	planned.Out = cmp.Or(out, planned.Out)
	planned.replay = &replay{tasks: p.Tasks, folder: dir}
	if err := planned.replay.complete(ctx); err != nil {
		return Summary{}, fmt.Errorf("merge plan %s: %w", dir, err)
	}
	s, err := Run(ctx, planned)
	return s, errors.Join(err, planned.replay.close())
}

// complete checks every part, and that there are no others.
func (r *replay) complete(ctx context.Context) error {
	var faults []error
	known := map[string]bool{}
	for i := range r.tasks {
		part := partDataset(r.folder, i)
		known[filepath.Base(part)] = true
		if len(faults) >= maxNamedParts {
			continue
		}
		report, err := store.Check(ctx, part, store.CheckOptions{ReadData: true})
		switch {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrUnfinished):
			faults = append(faults, fmt.Errorf("part %d: %w: its worker is not done", i, store.ErrNotFound))
		case err != nil:
			faults = append(faults, err)
		case !report.OK:
			for _, problem := range report.Problems {
				faults = append(faults, fmt.Errorf("%w: %s: %s", store.ErrDamaged, filepath.Join(part, problem.File), problem.What))
			}
		}
	}
	entries, err := os.ReadDir(store.PartsFolder(r.folder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !known[e.Name()] && strings.HasSuffix(e.Name(), ".ds") {
			faults = append(faults, fmt.Errorf("%s is of no task", filepath.Join(store.PartsFolder(r.folder), e.Name())))
		}
	}
	return errors.Join(faults...)
}

// maxNamedParts bounds how many parts an error names.
const maxNamedParts = 16
