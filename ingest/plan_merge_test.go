package ingest_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"facepipe/ingest"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/plan"
)

// job is a planned ingest.
type job struct {
	options ingest.Options
	plan    string
}

// planned plans the ingest of a folder, with prefixed keys, into a dataset.
func planned(t *testing.T, root, prefix, out string) job {
	t.Helper()
	j := job{plan: filepath.Join(t.TempDir(), "job"), options: ingest.Options{
		Sources: []string{"folder=" + root}, KeyPrefixes: []string{prefix}, Out: out, ShardRows: 4, MaxRejectRate: 1}}
	j.make(t)
	return j
}

func (j job) make(t *testing.T) ingest.PlanSummary {
	t.Helper()
	p, err := ingest.MakePlan(t.Context(), j.options, j.plan, 5)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (j job) work(t *testing.T) ingest.WorkSummary {
	t.Helper()
	s, err := ingest.Work(t.Context(), j.plan, worker.Worker{Count: 1}, ingest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (j job) merge(t *testing.T, o ingest.MergeOptions) (ingest.PlanMerge, error) {
	t.Helper()
	o.MaxRejectRate = 1
	return ingest.MergePlan(t.Context(), j.plan, o)
}

func (j job) merged(t *testing.T, o ingest.MergeOptions) ingest.PlanMerge {
	t.Helper()
	m, err := j.merge(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// refused wants a merge to be refused and to change nothing.
func (j job) refused(t *testing.T, what, dataset, say string, o ingest.MergeOptions) {
	t.Helper()
	before := tree(t, dataset)
	if _, err := j.merge(t, o); !errors.Is(err, store.ErrPlan) || !strings.Contains(err.Error(), say) {
		t.Errorf("%s: %v", what, err)
	}
	sameTree(t, what, tree(t, dataset), before)
}

// alone is what plain ingests give, one after the other.
func alone(t *testing.T, jobs ...job) map[string]string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "alone.ds")
	for _, j := range jobs {
		j.options.Out = out
		mustRun(t, j.options)
	}
	return tree(t, out)
}

// Of two plans that were made for one new dataset only the first is merged into it; one that
// was made to append appends.
func TestTwoPlansIntoOneDataset(t *testing.T) {
	out, elsewhere := filepath.Join(t.TempDir(), "faces.ds"), filepath.Join(t.TempDir(), "other.ds")
	first, second := planned(t, untidy(t), "a/", out), planned(t, untidy(t), "b/", out)
	// The same photographs, made otherwise.
	third := first
	third.plan, third.options.Split = filepath.Join(t.TempDir(), "job"), "train=0.5,val=0.5"
	third.make(t)
	for _, j := range []job{first, second, third} {
		j.work(t)
	}
	first.merged(t, ingest.MergeOptions{})
	sameTree(t, "the first", tree(t, out), alone(t, first))
	const say = "merge into a new folder with --out, or make another plan"
	second.refused(t, "the second", out, say, ingest.MergeOptions{})
	third.refused(t, "the third", out, say, ingest.MergeOptions{})
	second.merged(t, ingest.MergeOptions{Options: ingest.Options{Out: elsewhere}})
	sameTree(t, "the second elsewhere", tree(t, elsewhere), alone(t, second))
	if again := first.merged(t, ingest.MergeOptions{}); again.Written != 0 || again.Digest == "" {
		t.Errorf("the first again: %+v", again)
	}

	appending := second
	appending.plan = filepath.Join(t.TempDir(), "job")
	appending.make(t)
	appending.work(t)
	for range 2 {
		appending.merged(t, ingest.MergeOptions{})
		sameTree(t, "appended", tree(t, out), alone(t, first, second))
	}
	first.refused(t, "the first after all", out, say, ingest.MergeOptions{})
	appending.refused(t, "onto another dataset", elsewhere, "make another plan", ingest.MergeOptions{Options: ingest.Options{Out: elsewhere}})

	// The same plan may be made again whatever has become of the dataset.
	for _, j := range []job{first, appending} {
		_, before, err := plan.Read(j.plan)
		if err != nil {
			t.Fatal(err)
		}
		if p := j.make(t); p.ID != before {
			t.Errorf("plan %s is %s now", before, p.ID)
		}
	}
}

// What a killed merge has left is taken up by the same plan's next, and by no other.
func TestInterruptedMerge(t *testing.T) {
	for name, base := range map[string]bool{"new": false, "appended": true} {
		out, whole := filepath.Join(t.TempDir(), "faces.ds"), filepath.Join(t.TempDir(), "whole.ds")
		jobs := []job{}
		if base {
			before := job{options: ingest.Options{Sources: []string{"folder=" + clashing(t)}, KeyPrefixes: []string{"before/"}, ShardRows: 4, MaxRejectRate: 1}}
			for _, dir := range []string{out, whole} {
				before.options.Out = dir
				mustRun(t, before.options)
			}
			jobs = append(jobs, before)
		}
		root := untidy(t)
		j, twin := planned(t, root, "a/", out), planned(t, root, "a/", out)
		j.work(t)
		twin.work(t)
		want := alone(t, append(jobs, j)...)
		j.merged(t, ingest.MergeOptions{Options: ingest.Options{Out: whole}})
		sameTree(t, name, tree(t, whole), want)

		killedAfterAShard(t, out, whole)
		twin.refused(t, name+", by another plan", out, "are of another job", ingest.MergeOptions{})
		if _, err := ingest.MakePlan(t.Context(), j.options, filepath.Join(t.TempDir(), "late"), 5); !errors.Is(err, store.ErrUnfinished) {
			t.Errorf("%s: a plan onto an unfinished dataset: %v", name, err)
		}
		m := j.merged(t, ingest.MergeOptions{})
		if m.Skipped == 0 || m.Written == 0 {
			t.Errorf("%s: went on: %+v", name, m)
		}
		if got := tree(t, out); !maps.Equal(got, want) {
			t.Errorf("%s: the dataset is not that of one process", name)
		}
	}
}

// killedAfterAShard leaves a dataset as a merge does that is killed after its first shard,
// the next of whole.
func killedAfterAShard(t *testing.T, dataset, whole string) {
	t.Helper()
	have, err := filepath.Glob(filepath.Join(dataset, "crops", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{".lock": ""}
	for name, data := range tree(t, whole) {
		if strings.HasPrefix(name, fmt.Sprintf("crops/%06d.", len(have))) {
			files[name] = data
		}
	}
	if len(files) != 3 {
		t.Fatalf("shard %d has %d files", len(have), len(files)-1)
	}
	for name, data := range files {
		path := filepath.Join(dataset, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// A plan of an older program does not say what its dataset was, and is appended.
func TestPlanWithoutOutput(t *testing.T) {
	out := filepath.Join(t.TempDir(), "faces.ds")
	j, other := planned(t, untidy(t), "a/", out), planned(t, untidy(t), "b/", out)
	other.work(t)
	other.merged(t, ingest.MergeOptions{})
	p, _, err := plan.Read(j.plan)
	if err != nil || p.Output == nil || p.Output.Digest != "" {
		t.Fatalf("%+v, %v", p.Output, err)
	}
	p.Output = nil
	j.plan = filepath.Join(t.TempDir(), "old")
	if _, err := plan.Write(j.plan, p); err != nil {
		t.Fatal(err)
	}
	j.work(t)
	j.merged(t, ingest.MergeOptions{})
	sameTree(t, "appended", tree(t, out), alone(t, other, j))
}

// A worker that is started twice at the same time leaves what it does alone would.
func TestWorkerStartedTwice(t *testing.T) {
	j := planned(t, untidy(t), "a/", filepath.Join(t.TempDir(), "faces.ds"))
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			s, err := ingest.Work(t.Context(), j.plan, worker.Worker{Count: 1}, ingest.Options{Workers: 1})
			if err != nil || s.Done+s.Reused+s.Busy != s.Tasks {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
	group.Wait()
	j.merged(t, ingest.MergeOptions{})
	sameTree(t, "merged", tree(t, j.options.Out), alone(t, j))
}

// With Clean the workers' datasets go, nobody makes them again, and the merge that was done
// is known.
func TestCleanMerge(t *testing.T) {
	out := filepath.Join(t.TempDir(), "faces.ds")
	j := planned(t, untidy(t), "a/", out)
	tasks := j.work(t).Tasks
	if m := j.merged(t, ingest.MergeOptions{}); m.Removed.Files != 0 {
		t.Errorf("removed unasked: %+v", m.Removed)
	}
	parts := func() int {
		entries, err := os.ReadDir(plan.PartsFolder(j.plan))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if parts() != tasks {
		t.Errorf("%d parts of %d tasks", parts(), tasks)
	}
	if m := j.merged(t, ingest.MergeOptions{Clean: true}); m.Removed.Files == 0 || m.Removed.Bytes == 0 || m.Written != 0 || parts() != 0 {
		t.Errorf("cleaned: %+v, left %d parts", m, parts())
	}
	if s := j.work(t); s.Done != 0 || s.Reused != tasks || parts() != 0 {
		t.Errorf("a worker after it: %+v, left %d parts", s, parts())
	}
	for _, clean := range []bool{false, true} {
		if m := j.merged(t, ingest.MergeOptions{Clean: clean}); m.Written != 0 || m.Digest == "" || m.Removed.Files != 0 {
			t.Errorf("again: %+v", m)
		}
	}
	sameTree(t, "after it", tree(t, out), alone(t, j))
	if _, err := j.merge(t, ingest.MergeOptions{Options: ingest.Options{Out: filepath.Join(t.TempDir(), "new.ds")}}); !errors.Is(err, store.ErrPlan) || !strings.Contains(err.Error(), "--clean") {
		t.Errorf("into a new folder: %v", err)
	}
}
