package study

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/filedigest"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/plan"
)

// PlanVerb is the verb of plans that [MakePlan] makes.
const PlanVerb = "compare"

// job is what a plan says of a study.
type job struct {
	Study       string `json:"study"`
	StudyDigest string `json:"study_digest"`
	Out         string `json:"out"`
	// Rows are the digests of all rows, in the order of the tasks.
	Rows []string `json:"rows"`
}

// PlanSummary says what a plan is of.
type PlanSummary struct {
	Plan  string `json:"plan"`
	ID    string `json:"id"`
	Study string `json:"study"`
	Out   string `json:"out"`
	Tasks int    `json:"tasks"`
}

// MakePlan writes a plan by which workers train the rows of a study, one row a task. The same plan
// may be there already; another one is [store.ErrPlan].
func MakePlan(ctx context.Context, s *Study, o Options, folder string) (sum PlanSummary, err error) {
	r, err := open(ctx, s, o)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	j, err := r.job()
	if err != nil {
		return sum, err
	}
	options, err := json.Marshal(j)
	if err != nil {
		return sum, err
	}
	p := plan.Plan{Verb: PlanVerb, Dataset: r.train.Dir(), DatasetDigest: r.train.Digest(), Options: options}
	if p.Dataset, err = filepath.Abs(p.Dataset); err != nil {
		return sum, err
	}
	for i := range r.rows {
		p.Tasks = append(p.Tasks, plan.Task{From: i, Rows: 1})
	}
	id, err := plan.Write(folder, p)
	return PlanSummary{folder, id, j.Study, j.Out, len(r.rows)}, err
}

// job describes the opened study.
func (r *runner) job() (j job, err error) {
	if j.Study, err = filepath.Abs(r.Path); err != nil {
		return j, err
	}
	if j.Out, err = filepath.Abs(r.o.Out); err != nil {
		return j, err
	}
	if j.StudyDigest, err = filedigest.Of(j.Study); err != nil {
		return j, err
	}
	for _, row := range r.rows {
		j.Rows = append(j.Rows, row.Digest)
	}
	return j, nil
}

// openPlan opens the study of a plan, which must be as it was.
func openPlan(ctx context.Context, folder string, o Options) (*runner, error) {
	p, _, err := plan.Read(folder)
	if err != nil {
		return nil, err
	}
	if p.Verb != PlanVerb {
		return nil, fmt.Errorf("%w: %s is a plan of %s: run pipe %[3]s --plan", store.ErrPlan, folder, p.Verb)
	}
	var j job
	if err := json.Unmarshal(p.Options, &j); err != nil {
		return nil, fmt.Errorf("%w: plan %s: %w", store.ErrPlan, folder, err)
	}
	s, err := Read(j.Study)
	if err != nil {
		return nil, err
	}
	o.Out = j.Out
	r, err := open(ctx, s, o)
	if err != nil {
		return nil, err
	}
	now, err := r.job()
	if err == nil && (now.StudyDigest != j.StudyDigest || !slices.Equal(now.Rows, j.Rows)) {
		err = fmt.Errorf("%w: the study %s, its dataset or a teacher's cache is not what it was when plan %s was made; make another plan", store.ErrPlan, j.Study, folder)
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// Work does a worker's rows of a plan: those that no other process holds. Rows that fail are no
// error: [MergePlan] tells of them.
func Work(ctx context.Context, folder string, w worker.Worker, o Options) (result *Result, err error) {
	r, err := openPlan(ctx, folder, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	r.o.Mine = func(row int) bool { return row%w.Count == w.Index }
	result, err = r.run(ctx)
	if errors.Is(err, ErrRows) {
		err = nil
	}
	return result, err
}

// MergePlan writes the table of a plan whose workers are done. It comes with an error, too:
// [ErrRows] if rows failed, another if some are missing.
func MergePlan(ctx context.Context, folder string, o Options) (result *Result, err error) {
	r, err := openPlan(ctx, folder, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.claimStudy(ctx, r.o.Out, r.train); err != nil {
		return nil, err
	}
	if err := r.timeTeacher(ctx); err != nil {
		return nil, err
	}
	if result, err = r.write(ctx); err != nil {
		return nil, err
	}
	var missing []string
	for _, row := range result.Rows {
		if row.State != Done && row.State != Failed {
			missing = append(missing, fmt.Sprintf("%s (%s)", row.Row, row.State))
		}
	}
	if len(missing) > 0 {
		return result, fmt.Errorf("merge plan %s: %d of %d rows are not done: %s; their workers go on when they are started again", folder, len(missing), len(result.Rows), strings.Join(missing, "; "))
	}
	return result, result.err()
}

// Paths are the files and folders that the study reads.
func (s *Study) Paths() ([]string, error) {
	rows, err := s.expand()
	if err != nil {
		return nil, err
	}
	paths := []string{s.Path, s.Dataset, s.TeacherModel}
	tests := s.Tests
	if s.Validation != nil {
		tests = append(slices.Clone(tests), *s.Validation)
	}
	for _, t := range tests {
		paths = append(paths, t.Dataset, t.Pairs, t.Bin)
	}
	for _, row := range rows {
		paths = append(append(paths, row.options.Init), row.options.Exclude...)
	}
	slices.Sort(paths)
	return slices.DeleteFunc(slices.Compact(paths), func(path string) bool { return path == "" }), nil
}
