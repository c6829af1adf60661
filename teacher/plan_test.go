package teacher_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/info"
	"facepipe/store/plan"
	"facepipe/teacher"
	"facepipe/teacher/teachertest"
)

// job is a planned dataset.
type job struct {
	options teacher.Options
	plan    string
}

// planned plans the embedding of a dataset of its own.
func planned(t *testing.T, o teacher.Options, numbers ...int) job {
	t.Helper()
	o.Dataset = dataset(t, numbers...)
	j := job{options: o, plan: filepath.Join(t.TempDir(), "job")}
	if _, err := teacher.MakePlan(t.Context(), o, j.plan); err != nil {
		t.Fatal(err)
	}
	return j
}

func (j job) work(t *testing.T, index, count int) teacher.Summary {
	t.Helper()
	s, err := teacher.Work(t.Context(), j.plan, worker.Worker{Index: index, Count: count}, teacher.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// merge merges the plan; all embeddings may be without use.
func (j job) merge(t *testing.T, clean bool) teacher.PlanMerge {
	t.Helper()
	m, err := teacher.MergePlan(t.Context(), j.plan, teacher.MergeOptions{MaxRejectRate: 1, Clean: clean})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// alone is what one process makes of the same crops.
func alone(t *testing.T, o teacher.Options, numbers ...int) map[string]string {
	t.Helper()
	o.Dataset, o.MaxRejectRate = dataset(t, numbers...), 1
	return teachertest.Files(t, o.Dataset, precompute(t, o).Teacher)
}

// parts are the names of the files that the workers have made.
func (j job) parts(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(plan.PartsFolder(j.plan))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// teachers are the names of a dataset's caches.
func teachers(t *testing.T, dir string) string {
	t.Helper()
	states, err := info.Caches(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range states {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// Embeddings without use are counted by workers, and the merge judges them as one process
// does.
func TestPlanCountsEmbeddingsWithoutUse(t *testing.T) {
	numbers := append(upTo(8), teachertest.Dark)
	j := planned(t, teacher.Options{Model: tiny(t, plusRatio), Preprocess: "raw", Flip: true}, numbers...)
	if s := j.work(t, 0, 2); s.Invalid != 0 || s.Rows != 6 {
		t.Errorf("the first worker: %+v", s)
	}
	for _, computed := range []int{3, 0} {
		if s := j.work(t, 1, 2); s.Invalid != 2 || s.Computed != computed {
			t.Errorf("the second worker: %+v", s)
		}
	}
	for _, adopted := range []int{9, 0} {
		m, err := teacher.MergePlan(t.Context(), j.plan, teacher.MergeOptions{MaxRejectRate: 0.1})
		var rate *teacher.RejectRateError
		if !errors.As(err, &rate) || rate.Invalid != 2 || rate.Embeddings != 18 || rate.Max != 0.1 {
			t.Errorf("2 of 18: %v", err)
		}
		if m.Invalid != 2 || m.Adopted != adopted || m.Digest == "" {
			t.Errorf("the cache is complete all the same: %+v", m)
		}
	}
	if m, err := teacher.MergePlan(t.Context(), j.plan, teacher.MergeOptions{MaxRejectRate: 0.2}); err != nil || m.Invalid != 2 {
		t.Errorf("tolerated: %+v, %v", m, err)
	}
	if s := j.work(t, 1, 2); s.Invalid != 2 || s.Reused != 3 {
		t.Errorf("a worker after the merge: %+v", s)
	}
	if !maps.Equal(teachertest.Files(t, j.options.Dataset, "tiny"), alone(t, j.options, numbers...)) {
		t.Error("the cache is not that of one process")
	}
}

// A name that another cache has is noticed before anything is computed.
func TestPlanOfATakenName(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(9)...), Model: tiny(t, nil)}
	other := teacher.Options{Dataset: o.Dataset, Model: tiny(t, times(2)), Name: "tiny"}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrFingerprint) || !strings.HasSuffix(err.Error(), "; make another plan with --name") {
			t.Errorf("%s: %v", what, err)
		}
	}
	j := job{options: o, plan: filepath.Join(t.TempDir(), "job")}
	if _, err := teacher.MakePlan(t.Context(), o, j.plan); err != nil {
		t.Fatal(err)
	}
	precompute(t, other)
	late := filepath.Join(t.TempDir(), "late")
	_, err := teacher.MakePlan(t.Context(), o, late)
	refused("plan", err)
	if _, err := os.Stat(late); !os.IsNotExist(err) {
		t.Errorf("a plan was written: %v", err)
	}
	_, err = teacher.Work(t.Context(), j.plan, worker.Worker{Count: 1}, teacher.Options{})
	refused("work", err)
	if got := j.parts(t); len(got) > 0 {
		t.Errorf("the worker made %v", got)
	}
	_, err = teacher.MergePlan(t.Context(), j.plan, teacher.MergeOptions{})
	refused("merge", err)
	o.Name = "../up"
	if _, err := teacher.MakePlan(t.Context(), o, late); err == nil || !strings.Contains(err.Error(), "../up") {
		t.Errorf("a name that is none: %v", err)
	}
}

// A merge that is refused does not take the cache's name.
func TestRefusedMergeClaimsNothing(t *testing.T) {
	j := planned(t, teacher.Options{Model: tiny(t, nil)}, upTo(14)...)
	merge := func() error {
		_, err := teacher.MergePlan(t.Context(), j.plan, teacher.MergeOptions{})
		return err
	}
	j.work(t, 0, 2)
	if err := merge(); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "part 1: ") {
		t.Errorf("too early: %v", err)
	}
	j.work(t, 1, 2)
	arrows, err := filepath.Glob(filepath.Join(j.plan, "parts", "000002.*.arrow"))
	if err != nil || len(arrows) != 1 {
		t.Fatal(arrows, err)
	}
	data, err := os.ReadFile(arrows[0])
	if err != nil {
		t.Fatal(err)
	}
	bent := bytes.Clone(data)
	bent[len(bent)/2] ^= 1
	rewrite(t, arrows[0], bent)
	if err := merge(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), arrows[0]) {
		t.Errorf("damage in the last part: %v", err)
	}
	if got := teachers(t, j.options.Dataset); got != "" {
		t.Errorf("there is a cache: %s", got)
	}
	if _, err := os.Stat(filepath.Join(j.options.Dataset, "teachers")); !os.IsNotExist(err) {
		t.Errorf("the name is taken: %v", err)
	}
	rewrite(t, arrows[0], data)
	if err := merge(); err != nil || teachers(t, j.options.Dataset) != "tiny" {
		t.Errorf("mended: %v", err)
	}
}

// rewrite replaces a file that is read-only.
func rewrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := errors.Join(os.Remove(path), os.WriteFile(path, data, 0o444)); err != nil {
		t.Fatal(err)
	}
}

// A part of another plan is named, by workers and by the merge, and is no damage.
func TestPartOfAnotherPlan(t *testing.T) {
	j := planned(t, teacher.Options{Model: tiny(t, nil)}, upTo(8)...)
	j.work(t, 0, 1)
	other := planned(t, teacher.Options{Model: tiny(t, times(2))}, upTo(8)...)
	other.work(t, 0, 1)
	mixed := filepath.Join(plan.PartsFolder(j.plan), "000001.json")
	data, err := os.ReadFile(filepath.Join(plan.PartsFolder(other.plan), "000001.json"))
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, mixed, data)
	_, mergeErr := teacher.MergePlan(t.Context(), j.plan, teacher.MergeOptions{})
	_, workErr := teacher.Work(t.Context(), j.plan, worker.Worker{Count: 1}, teacher.Options{})
	for verb, err := range map[string]error{"merge": mergeErr, "work": workErr} {
		if !errors.Is(err, store.ErrPlan) || errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), mixed+": a part of another plan or model") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	// And of a dataset that was made anew.
	if err := os.RemoveAll(j.options.Dataset); err != nil {
		t.Fatal(err)
	}
	appendTo(t, j.options.Dataset, 1, 0, 2)
	_, err = teacher.Work(t.Context(), j.plan, worker.Worker{Count: 1}, teacher.Options{})
	if !errors.Is(err, store.ErrPlan) || !strings.Contains(err.Error(), "made anew since the plan") {
		t.Errorf("another dataset: %v", err)
	}
}

// What killed workers have left goes with the merge; with Clean all that workers did goes,
// and the plan is done all the same.
func TestMergeTidiesUp(t *testing.T) {
	j := planned(t, teacher.Options{Model: tiny(t, nil), Flip: true}, upTo(14)...)
	want := alone(t, j.options, upTo(14)...)
	j.work(t, 0, 1)
	const whole = 6 // three parts, each a file and its manifest
	if err := os.WriteFile(filepath.Join(plan.PartsFolder(j.plan), ".tmp-killed"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m := j.merge(t, false); m.Removed.Files != 1 || m.Removed.Bytes != 4 || len(j.parts(t)) != whole {
		t.Errorf("merged: %+v, left %v", m, j.parts(t))
	}
	if m := j.merge(t, true); m.Removed.Files != whole || m.Reused != 14 || len(j.parts(t)) != 0 {
		t.Errorf("cleaned: %+v, left %v", m, j.parts(t))
	}
	if s := j.work(t, 0, 1); s.Computed != 0 || s.Reused != 14 || len(j.parts(t)) != 0 {
		t.Errorf("a worker after it: %+v, left %v", s, j.parts(t))
	}
	if m := j.merge(t, true); m.Removed.Files != 0 || m.Digest == "" {
		t.Errorf("again: %+v", m)
	}
	if got := teachertest.Files(t, j.options.Dataset, "tiny"); !maps.Equal(got, want) {
		t.Error("the cache is not that of one process")
	}
	// A cache that was dropped is made again from the plan.
	if _, err := cache.Drop(j.options.Dataset, "tiny", false); err != nil {
		t.Fatal(err)
	}
	if s := j.work(t, 0, 1); s.Computed != 14 {
		t.Errorf("a worker after the cache was dropped: %+v", s)
	}
	j.merge(t, true)
	if got := teachertest.Files(t, j.options.Dataset, "tiny"); !maps.Equal(got, want) {
		t.Error("the cache that was made again is not that of one process")
	}
}

// A worker that is started twice at the same time computes everything twice, and it counts
// once.
func TestWorkerStartedTwice(t *testing.T) {
	j := planned(t, teacher.Options{Model: tiny(t, nil), Flip: true}, upTo(20)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	met := map[int]chan struct{}{}
	for shard := range 4 {
		met[shard] = make(chan struct{})
	}
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			// Each shard is begun by both before either ends it.
			o := teacher.WithBegin(teacher.Options{}, func(shard int) {
				select {
				case met[shard] <- struct{}{}:
				case <-met[shard]:
				case <-ctx.Done():
				}
			})
			s, err := teacher.Work(ctx, j.plan, worker.Worker{Count: 1}, o)
			if err != nil || s.Computed != 20 {
				t.Errorf("%+v, %v", s, err)
				cancel()
			}
		})
	}
	group.Wait()
	if got := j.parts(t); len(got) != 8 {
		t.Errorf("they made %v", got)
	}
	if m := j.merge(t, false); m.Adopted != 20 || m.Reused != 0 {
		t.Errorf("merged: %+v", m)
	}
	if !maps.Equal(teachertest.Files(t, j.options.Dataset, "tiny"), alone(t, j.options, upTo(20)...)) {
		t.Error("the cache is not that of one process")
	}
}

// A worker stands still in the middle of its work, while its twin does all of it and the
// merge runs. Then it goes on, and nothing changes.
func TestWorkerThatStoodStill(t *testing.T) {
	for _, clean := range []bool{false, true} {
		j := planned(t, teacher.Options{Model: tiny(t, nil), Flip: true}, upTo(20)...)
		stands, goesOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() {
			_, err := teacher.Work(t.Context(), j.plan, worker.Worker{Count: 1}, teacher.WithBegin(teacher.Options{}, func(shard int) {
				if shard == 2 {
					close(stands)
					<-goesOn
				}
			}))
			done <- err
		}()
		<-stands
		j.work(t, 0, 1)
		merged := j.merge(t, clean)
		before := teachertest.Files(t, j.options.Dataset, "tiny")
		close(goesOn)
		if err := <-done; err != nil {
			t.Errorf("clean %t: %v", clean, err)
		}
		if again := j.merge(t, clean); again.Digest != merged.Digest || again.Adopted != 0 {
			t.Errorf("clean %t: merged %+v, then %+v", clean, merged, again)
		}
		if got := teachertest.Files(t, j.options.Dataset, "tiny"); !maps.Equal(got, before) || !maps.Equal(got, alone(t, j.options, upTo(20)...)) {
			t.Errorf("clean %t: the cache is not that of one process", clean)
		}
		if clean && len(j.parts(t)) > 0 {
			t.Errorf("left %v", j.parts(t))
		}
	}
}

// A worker whose temporary file a merge has removed is content if its shard is done, and
// only then.
func TestWorkerWhoseFileIsGone(t *testing.T) {
	j := planned(t, teacher.Options{Model: tiny(t, nil)}, upTo(5)...)
	ds, err := store.Open(j.options.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	p, _, err := plan.Read(j.plan)
	if err != nil {
		t.Fatal(err)
	}
	commit := func() error {
		t.Helper()
		s, err := teacher.BeginPart(ds, *p.Teacher, j.plan, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := s.Append(make([]float32, 147), nil); err != nil {
				t.Fatal(err)
			}
		}
		temps, err := filepath.Glob(filepath.Join(plan.PartsFolder(j.plan), ".tmp-*"))
		if err != nil || len(temps) != 1 {
			t.Fatal(temps, err)
		}
		if err := os.Remove(temps[0]); err != nil {
			t.Fatal(err)
		}
		return s.Commit()
	}
	if err := commit(); err == nil {
		t.Error("it is content though nobody has done the shard")
	}
	j.work(t, 0, 1)
	if err := commit(); err != nil {
		t.Errorf("its twin has done the shard: %v", err)
	}
	j.merge(t, true)
	if err := commit(); err != nil {
		t.Errorf("the shard is in the cache: %v", err)
	}
	if got := j.parts(t); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}

// Nobody looks at a clock: files of the far past and of the future change nothing.
func TestPlanUnderSkewedClocks(t *testing.T) {
	o := teacher.Options{Model: tiny(t, nil), Flip: true}
	want := alone(t, o, upTo(14)...)
	for _, year := range []int{1971, 2199} {
		j := planned(t, o, upTo(14)...)
		skew := func() {
			t.Helper()
			then := time.Date(year, 1, 2, 3, 4, 5, 0, time.UTC)
			for _, root := range []string{j.plan, j.options.Dataset} {
				err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
					return errors.Join(err, os.Chtimes(path, then, then))
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.MkdirAll(plan.PartsFolder(j.plan), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, left := range []string{filepath.Join(plan.PartsFolder(j.plan), ".tmp-1"), filepath.Join(j.options.Dataset, ".lock")} {
			if err := os.WriteFile(left, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 {
			skew()
			if s := j.work(t, i, 2); s.Reused != 0 {
				t.Errorf("%d: worker %d: %+v", year, i, s)
			}
		}
		skew()
		if s := j.work(t, 0, 1); s.Computed != 0 {
			t.Errorf("%d: again: %+v", year, s)
		}
		if m := j.merge(t, false); m.Adopted != 14 || m.Removed.Files != 1 {
			t.Errorf("%d: merged %+v", year, m)
		}
		skew()
		if m := j.merge(t, false); m.Adopted != 0 {
			t.Errorf("%d: merged again %+v", year, m)
		}
		if !maps.Equal(teachertest.Files(t, j.options.Dataset, "tiny"), want) {
			t.Errorf("%d: the cache is not that of one process", year)
		}
	}
}

// A run over a dataset that grows meanwhile embeds what there was, and says so.
func TestDatasetThatGrowsDuringARun(t *testing.T) {
	var out bytes.Buffer
	o := teacher.Options{Dataset: dataset(t, upTo(14)...), Model: tiny(t, nil), Progress: &out}
	s := precompute(t, teacher.WithBegin(o, func(shard int) {
		if shard == 1 {
			appendTo(t, o.Dataset, 20, 21, 22)
		}
	}))
	if s.Rows != 14 || s.Computed != 14 || s.Appended != 3 || s.Digest == "" {
		t.Errorf("%+v", s)
	}
	if note := "note: 3 crops were appended to " + o.Dataset + " since the run began: the same command embeds them"; !strings.Contains(out.String(), note) {
		t.Errorf("%q is not in %q", note, out.String())
	}
	if again := precompute(t, o); again.Computed != 3 || again.Reused != 14 || again.Appended != 0 {
		t.Errorf("the same command again: %+v", again)
	}
}
