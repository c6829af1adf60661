package check

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
	"facepipe/store/plan"
)

// RunPlan looks for damage in a plan's folder: the plan, what its workers did, and how far that was
// merged. It is [Run] otherwise; o.ReadData reads the parts, too. The plan's dataset need not be
// there.
func RunPlan(ctx context.Context, dir string, o Options) (Report, error) {
	f := NewFindings(dir)
	p, _, err := plan.Read(dir)
	if errors.Is(err, store.ErrVersion) {
		return f.Report(), err
	}
	planFile := filepath.Join(dir, plan.File)
	if errors.Is(err, store.ErrNotFound) {
		err = errors.New("missing, though there are parts: put back a copy, or make the plan again in a new folder")
	}
	f.Fault(planFile, err)
	if err != nil {
		return f.Report(), nil
	}
	_, err = plan.ReadMergeState(dir)
	f.Fault(dir, err)
	if p.Teacher != nil {
		err = embeddingParts(ctx, f, dir, &p, o)
	} else {
		err = datasetParts(ctx, f, dir, o)
	}
	return f.Report(), err
}

// embeddingParts looks at the parts of a teacher's cache, and at the records of their making.
func embeddingParts(ctx context.Context, f *Findings, dir string, p *plan.Plan, o Options) error {
	var missing []string
	for _, t := range p.Tasks {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, err := cache.AuditPart(plan.PartsFolder(dir), *p.Teacher, cache.PartOf{Shard: t.Shard, Rows: t.Rows, Crops: t.Crops}, o.ReadData)
		f.Fault(filepath.Join(plan.PartsFolder(dir), table.ManifestName(t.Shard)), err)
		if err == nil && !done {
			missing = append(missing, table.ManifestName(t.Shard))
		}
	}
	if n := len(missing); n > 0 {
		const named = 8
		list := strings.Join(missing[:min(n, named)], ", ")
		if n > named {
			list += " …"
		}
		f.Note("%d of %d tasks have no part (%s): they are not done, or were merged and cleaned away", n, len(p.Tasks), list)
	}
	return cache.AuditRuns(cache.RunsFolder(dir), p.Teacher.Fingerprint, func(err error) error {
		f.Fault(cache.RunsFolder(dir), err)
		return nil
	})
}

// datasetParts looks at the datasets that workers made, if the plan's are such.
func datasetParts(ctx context.Context, f *Findings, dir string, o Options) error {
	entries, err := os.ReadDir(plan.PartsFolder(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	f.Fault(plan.PartsFolder(dir), err)
	for _, e := range entries {
		part := filepath.Join(plan.PartsFolder(dir), e.Name())
		f.Fault(part, durable.NoLinks(plan.PartsFolder(dir), e.Name()))
		if !e.IsDir() || !store.IsDataset(part) {
			continue
		}
		r, err := Run(ctx, part, o)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrUnfinished):
			f.Note("%s is unfinished: its worker is at it, or was interrupted", part)
		default:
			f.Fault(part, err)
			f.Include(part, r)
		}
	}
	return nil
}
