package teacher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/plan"
)

// MergeOptions adjust [MergePlan].
type MergeOptions struct {
	// Dataset is where the plan's dataset lies on this machine, "" for where the plan says.
	Dataset string
	// Clean deletes the parts once they are in the cache.
	Clean bool
	// MaxRejectRate is that of [Options].
	MaxRejectRate float64
	// Progress receives the bars; nil is silent.
	Progress io.Writer
}

// PlanMerge is what a merge of a plan came to.
type PlanMerge struct {
	Plan    string `json:"plan"`
	ID      string `json:"id"`
	Dataset string `json:"dataset"`
	Teacher string `json:"teacher"`
	// Rows of the plan, of which some were Adopted from the workers' parts and some Reused, as
	// they were in the cache.
	Rows    int `json:"rows"`
	Adopted int `json:"adopted"`
	Reused  int `json:"reused"`
	// Runs sums up the records of the plan's runs, which the cache has now.
	Runs cache.RunTotals `json:"runs"`
	// Invalid is the number of embeddings of the cache that have no use, see [Summary].
	Invalid int `json:"invalid"`
	// MissingShards of the dataset, which has grown since, are not in the plan.
	MissingShards int `json:"missing_shards"`
	// Digest identifies the cached embeddings; "" while shards are missing.
	Digest string `json:"digest,omitempty"`
	// Removed is what workers had left unfinished, and the parts if they were to go.
	cache.Removed
	// Notes say what could not be removed.
	Notes []string `json:"notes,omitempty"`
}

// MergePlan copies what the workers of a plan have done into the cache of its dataset. The
// cache becomes what a single process would have made. Nothing is copied, and the cache's name
// is not taken, unless all parts are there and whole. The error names all parts that are
// missing, damaged, of no task, of another teacher or of other crops.
//
// Errors: store.ErrNotFound for parts that are missing, store.ErrPlan, store.ErrDamaged,
// store.ErrLocked; store.ErrFingerprint when the cache's name is taken; [*RejectRateError],
// with which the cache is complete all the same.
func MergePlan(ctx context.Context, dir string, o MergeOptions) (PlanMerge, error) {
	p, id, err := plan.Read(dir)
	if err != nil {
		return PlanMerge{}, err
	}
	if err := checkVerb(dir, &p); err != nil {
		return PlanMerge{}, err
	}
	m := PlanMerge{Plan: dir, ID: id, Dataset: cmp.Or(o.Dataset, p.Dataset), Teacher: p.Teacher.Name, Rows: p.Rows()}
	ds, err := openPlanned(m.Dataset, &p)
	if err != nil {
		return m, err
	}
	defer ds.Close()
	s, err := openPlanParts(ds, *p.Teacher, dir)
	if err != nil {
		return m, err
	}
	if err := s.complete(ctx, p.Tasks, o.Progress); err != nil {
		return m, stopping(fmt.Errorf("merge plan %s: %w", dir, err), keepsNothing)
	}
	if err := m.adopt(ctx, s, p.Tasks, o.Progress); err != nil {
		return m, err
	}
	cache, err := m.conclude(ds)
	if err != nil {
		return m, err
	}
	if o.Clean {
		if err := m.clear(s); err != nil {
			return m, err
		}
	}
	return m, tooManyInvalid(cache, o.MaxRejectRate)
}

// adopt copies what the cache lacks, and tidies up after the workers.
func (m *PlanMerge) adopt(ctx context.Context, s *planParts, tasks []plan.Task, out io.Writer) (err error) {
	w, err := cache.Create(s.ds, s.info)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	missing := map[int]bool{} // of the cache, which is ours only now
	for _, shard := range w.MissingShards() {
		missing[shard] = true
	}
	if m.Runs, err = w.AdoptRuns(cache.RunsFolder(m.Plan)); err != nil {
		return fmt.Errorf("merge plan %s: %w", m.Plan, err)
	}
	bar := progress.New(out, "merge", int64(m.Rows)).Of("crops")
	defer bar.Finish()
	for _, t := range tasks {
		if err := ctx.Err(); err != nil {
			return stopping(err, keepsNothing)
		}
		if !missing[t.Shard] {
			m.Reused += t.Rows
			bar.Skip(int64(t.Rows))
			continue
		}
		if err := s.parts.Adopt(w, t.Shard); err != nil {
			return err
		}
		m.Adopted += t.Rows
		bar.Add(int64(t.Rows))
	}
	// What workers have left does no harm, so this is no error.
	if m.Removed, err = s.parts.Tidy(); err != nil {
		m.Notes = append(m.Notes, fmt.Sprintf("what killed workers have left stays: %v", err))
	}
	return nil
}

// clear deletes the parts.
func (m *PlanMerge) clear(s *planParts) error {
	r, err := s.parts.Clear()
	m.Removed.Files += r.Files
	m.Removed.Bytes += r.Bytes
	if err != nil {
		return fmt.Errorf("the cache is made; remove the parts of plan %s: %w", m.Plan, err)
	}
	return nil
}

// conclude reads back what the cache has become.
func (m *PlanMerge) conclude(ds *store.Dataset) (*cache.Cache, error) {
	cache, err := cache.Open(ds, m.Teacher)
	if err != nil {
		return nil, err
	}
	m.Invalid = cache.Invalid()
	if m.MissingShards = len(cache.MissingShards()); m.MissingShards == 0 {
		m.Digest, err = cache.Digest()
	}
	return cache, err
}

// maxNamedParts bounds how many parts an error names.
const maxNamedParts = 16

// complete reads the parts of all tasks whose shards the cache lacks, and says what is
// wrong with them.
func (s *planParts) complete(ctx context.Context, tasks []plan.Task, out io.Writer) error {
	var faults []error
	var shards, missing []int
	rows := 0
	for _, t := range tasks {
		shards = append(shards, t.Shard)
		if !s.cached(t.Shard) {
			missing = append(missing, t.Shard)
			rows += t.Rows
		}
	}
	bar := progress.New(out, "verify", int64(rows)).Of("crops")
	defer bar.Finish()
	for _, shard := range missing {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.parts.Verify(shard); err != nil {
			faults = append(faults, err)
		}
		bar.Add(int64(s.ds.ShardRows(shard)))
	}
	extra, err := s.parts.Extra(shards)
	if err != nil {
		return err
	}
	for _, path := range extra {
		faults = append(faults, fmt.Errorf("%s is of no task", path))
	}
	if n := len(faults); n > maxNamedParts {
		faults = append(faults[:maxNamedParts], fmt.Errorf("and %d more", n-maxNamedParts))
	}
	return errors.Join(faults...)
}
