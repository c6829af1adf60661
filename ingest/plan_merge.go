package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/plan"
)

// MergeOptions adjust [MergePlan].
type MergeOptions struct {
	// Clean deletes the workers' datasets once they are merged.
	Clean bool
	// Options are the plan's but for Out, where it is set, and Workers, ONNXRuntime,
	// MaxRejectRate, Progress and Logger.
	Options
}

// PlanMerge is what a merge of a plan came to: the summary of its [Run], and what of the
// workers' files was removed after it.
type PlanMerge struct {
	Summary
	cache.Removed
}

// MergePlan makes the dataset of a plan of what its workers did. It is an ordinary [Run] in
// which crops come out of the workers' datasets, and may be interrupted like one. The result
// is that of a single process.
//
// Nothing is written unless every part is there and whole: store.ErrNotFound names the
// missing ones. The dataset must be as it was when the plan was made, or as a merge of this
// very plan has left it: otherwise store.ErrPlan.
func MergePlan(ctx context.Context, dir string, o MergeOptions) (PlanMerge, error) {
	p, planned, err := readPlan(ctx, dir, o.Options)
	if err != nil {
		return PlanMerge{}, err
	}
	planned.Out = cmp.Or(o.Out, planned.Out)
	planned.made = &planCrops{ctx: ctx, tasks: p.Tasks, folder: dir, output: p.Output, progress: planned.Progress}
	if err := planned.made.ready(ctx, planned.Out); err != nil {
		return PlanMerge{}, fmt.Errorf("merge plan %s: %w", dir, err)
	}
	var m PlanMerge
	m.Summary, err = Run(ctx, planned)
	err = errors.Join(err, planned.made.close())
	var rejects *RejectRateError
	if err != nil && !errors.As(err, &rejects) {
		return m, err
	}
	if failed := m.finish(planned.made, o.Clean); failed != nil {
		return m, fmt.Errorf("the dataset is made; finish plan %s: %w", dir, failed)
	}
	return m, err
}

// finish records what the dataset has become, and deletes the parts if they are to go.
func (m *PlanMerge) finish(p *planCrops, clean bool) error {
	was, err := plan.ReadMergeState(p.folder)
	if err != nil {
		return err
	}
	now := plan.MergeState{Digest: m.Digest, Cleared: clean || was != nil && was.Cleared}
	if was == nil || *was != now {
		// Before the parts are deleted, so that no worker makes them again.
		if err := plan.WriteMergeState(p.folder, now); err != nil {
			return err
		}
	}
	if !clean {
		return nil
	}
	for i := range p.tasks {
		removed, err := plan.RemovePart(partDataset(p.folder, i))
		m.Removed.Files += removed.Files
		m.Removed.Bytes += removed.Bytes
		if err != nil {
			return err
		}
	}
	return nil
}

// ready says what keeps the parts from being merged.
func (p *planCrops) ready(ctx context.Context, out string) error {
	merged, err := plan.ReadMergeState(p.folder)
	if err != nil {
		return err
	}
	if merged == nil || !merged.Cleared {
		return p.complete(ctx)
	}
	// No parts are left. None are needed if they were merged into this dataset.
	if have, err := store.FindOutput(out); err != nil || have.Digest == merged.Digest {
		return err
	}
	return fmt.Errorf("%w: the parts were deleted when they had been merged (--clean), and %s is not what they had become; make another plan", store.ErrPlan, out)
}

// checkOutput refuses a dataset that is open for writing, unless the plan was made to append
// to it as it is or a merge of this very plan has left it so. sources are the numbers of the
// plan's.
func (p *planCrops) checkOutput(w *store.Writer, sources []int) error {
	if p == nil || p.output == nil {
		return nil
	}
	shards, of, err := w.Beyond(*p.output)
	if err != nil {
		return fmt.Errorf("%w; make another plan", err)
	}
	merged, err := plan.ReadMergeState(p.folder)
	switch {
	case err != nil:
		return err
	case shards == 0 && merged == nil:
		return plan.WriteMergeState(p.folder, plan.MergeState{})
	case shards == 0:
		return nil
	}
	if merged != nil && !slices.ContainsFunc(of, func(s int) bool { return !slices.Contains(sources, s) }) {
		return nil
	}
	remedy := "make another plan"
	if p.output.Digest == "" {
		remedy = "merge into a new folder with --out, or " + remedy
	}
	return fmt.Errorf("%w: %d shards of the dataset are of another job, and were not there when plan %s was made; %s", store.ErrPlan, shards, p.folder, remedy)
}

// complete checks every part, and that there are no others.
func (p *planCrops) complete(ctx context.Context) error {
	var faults []error
	known := map[string]bool{}
	bar := progress.New(p.progress, "verify", int64(itemsOf(p.tasks))).Of("photographs")
	defer bar.Finish()
	for i, t := range p.tasks {
		bar.Add(int64(t.Rows))
		part := partDataset(p.folder, i)
		known[filepath.Base(part)] = true
		if len(faults) >= maxNamedParts {
			continue
		}
		report, err := check.Run(ctx, part, check.Options{ReadData: true})
		switch {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrUnfinished):
			faults = append(faults, fmt.Errorf("part %d: %w: %s: its worker is not done", i, store.ErrNotFound, filepath.Join(part, "dataset.json")))
		case err != nil:
			faults = append(faults, err)
		case !report.OK:
			for _, problem := range report.Problems {
				faults = append(faults, fmt.Errorf("%w: %s: %s", store.ErrDamaged, filepath.Join(part, problem.File), problem.What))
			}
		}
	}
	entries, err := os.ReadDir(plan.PartsFolder(p.folder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !known[e.Name()] && strings.HasSuffix(e.Name(), ".ds") {
			faults = append(faults, fmt.Errorf("%s is of no task", filepath.Join(plan.PartsFolder(p.folder), e.Name())))
		}
	}
	return errors.Join(faults...)
}

// maxNamedParts bounds how many parts an error names.
const maxNamedParts = 16
