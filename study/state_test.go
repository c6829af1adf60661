package study

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"facepipe/internal/durable"
	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/store/storetest"
	"facepipe/student"
	"facepipe/student/torch"
)

// What a row has reached follows from its files.
func TestStates(t *testing.T) {
	_, s := madeStudy(t, labelsAlone)
	r := opened(t, s, filepath.Join(t.TempDir(), "study"))
	row := r.rows[0]
	is := func(want State) {
		t.Helper()
		if state, err := row.state(t.Context(), r.measured); err != nil || state != want {
			t.Errorf("%s, %v, want %s", state, err, want)
		}
	}
	is(New)
	touch(t, row, rowFile, "{}")
	is(Begun)
	lock, err := row.claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	is(Running)
	// Whoever only looks holds the lock for a moment: that keeps nobody from the row.
	time.AfterFunc(50*time.Millisecond, func() { _ = lock.Unlock() })
	again, err := row.claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Unlock(); err != nil {
		t.Fatal(err)
	}
	touch(t, row, "summary.json", `{"steps": 1}`)
	touch(t, row, "student.onnx", "")
	is(Begun) // of two steps
	touch(t, row, "summary.json", `{"steps": 2}`)
	is(Trained)
	touch(t, row, failedFile, `{"error": "x"}`)
	is(Failed)
	touch(t, row, figuresFile, `{"measured": "by other tests"}`)
	is(Failed)
	touch(t, row, figuresFile, fmt.Sprintf(`{"measured": %q}`, r.measured))
	is(Done)
	touch(t, row, figuresFile, fmt.Sprintf(`{"measured": %q, "row": "another"}`, r.measured))
	if _, err := row.state(t.Context(), r.measured); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), figuresFile+": it is of another row; remove it") {
		t.Errorf("figures of another row: %v", err)
	}
	touch(t, row, figuresFile, `{"measured`)
	if _, err := row.state(t.Context(), r.measured); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), figuresFile+": ") || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("damage: %v", err)
	}
}

// A row has its folder by what it is, not by its name; what the study has no more is told apart
// from what changed.
func TestFolders(t *testing.T) {
	dir, s := madeStudy(t, labelsAlone)
	out := filepath.Join(t.TempDir(), "study")
	before := opened(t, s, out)
	for _, row := range before.rows {
		touch(t, row, rowFile, "{}")
		if err := before.begin(row); err != nil {
			t.Fatal(err)
		}
	}
	after := opened(t, rewritten(t, dir, `
axes: {seed: [1, 2]}
rows: [{name: margin, settings: {loss: arcface}}, {name: cosface, settings: {loss: cosface, lr: 0.01}}]
tests: [{name: faces, dataset: test.ds, pairs: pairs.txt}]`), out)
	if margin := after.rows[0]; margin.Group != "margin" || margin.dir != before.rows[0].dir {
		t.Errorf("%s is in %s", margin.Group, margin.dir)
	}
	res, err := after.result(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Changed) != 2 || res.Changed[0].Row != "cosface, seed 1" || !slices.Equal(res.Changed[0].Differs, []string{"options.lr"}) || res.States[Stale] != 2 || res.States[Begun] != 2 || res.Gone != nil {
		t.Errorf("changed %v, gone %v, %v", res.Changed, res.Gone, res.States)
	}
	if says := strings.Join(res.Says, "\n"); !strings.Contains(says, "cosface, seed 2 is stale: options.lr changed") {
		t.Error(says)
	}
	fewer := opened(t, rewritten(t, dir, strings.Replace(labelsAlone, ", cosface", "", 1)), out)
	if res, err = fewer.result(t.Context()); err != nil || res.Changed != nil || !slices.Equal(res.Gone, []string{"cosface, seed 1", "cosface, seed 2"}) {
		t.Errorf("changed %v, gone %v, %v", res.Changed, res.Gone, err)
	}
}

// A dataset that changes between two rows ends the study there, and says why.
func TestChangedBetweenRows(t *testing.T) {
	dir, s := madeStudy(t, labelsAlone)
	r := opened(t, s, filepath.Join(t.TempDir(), "study"))
	addPhotos(t, filepath.Join(dir, "train.ds"), contract, people(200, 203, 2))
	_, err := r.run(t.Context())
	if !errors.Is(err, errChanged) || !strings.Contains(err.Error(), "crops_digest") || !strings.Contains(err.Error(), `"arcface, seed 1"`) {
		t.Errorf("%v", err)
	}
	now := opened(t, s, r.o.Out)
	res, err := now.result(t.Context())
	if err != nil || len(res.Changed) != 1 || res.States[Stale] != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	// The folder is still this study's; that of another name or dataset is not.
	if err := now.claimStudy(t.Context(), r.o.Out, now.train); err != nil {
		t.Error(err)
	}
	other := *s
	for _, path := range []string{filepath.Join(dir, "other.yaml"), s.Path} {
		other.Path = path
		if path == s.Path {
			other.Dataset = filepath.Join(dir, "test.ds")
		}
		if path == s.Path {
			if err := s.claimStudy(t.Context(), filepath.Dir(path), now.train); !errors.Is(err, ErrUsage) || strings.Contains(err.Error(), "study.yaml") {
				t.Errorf("a folder of datasets: %v", err) // in which its own file is in nobody's way
			}
		}
		if err := other.claimStudy(t.Context(), r.o.Out, now.tests[0].validation().Dataset); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "study.yaml on ") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What belongs to something else is refused before anything else is looked at, also where nothing is
// to be trained.
func TestForeignFolders(t *testing.T) {
	dir, s := madeStudy(t, labelsAlone)
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Out: dir}, "is no study and not empty"},
		{Options{Out: filepath.Join(dir, "study"), Reuse: []string{filepath.Join(dir, "train.ds")}}, "train.ds: there is no study"},
	} {
		if _, err := Foresee(t.Context(), s, c.o, 0); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// Rows that failed are trained again only if somebody asks for it, and so they are foreseen.
func TestForeseenFailures(t *testing.T) {
	_, s := madeStudy(t, labelsAlone)
	o := Options{Out: filepath.Join(t.TempDir(), "study")}
	touch(t, opened(t, s, o.Out).rows[0], failedFile, `{"error": "x"}`)
	for _, o.RetryFailed = range []bool{false, true} {
		a, err := Foresee(t.Context(), s, o, 3600)
		if want := map[bool]int{false: 6, true: 8}[o.RetryFailed]; err != nil || a.Steps != want || *a.Hours != float64(want) {
			t.Errorf("%+v, %v, want %d steps", a, err, want)
		}
	}
}

// A run leaves at most so much: AdamW's moments with the weights in every checkpoint.
func TestBytesOfARun(t *testing.T) {
	var o student.Options
	o.KeepCheckpoints = 2
	if got := bytesAParameter(o); got != 4+2*12 {
		t.Errorf("%d bytes", got)
	}
	o.KeepBest, o.EMA = "accuracy", 0.5
	if got := bytesAParameter(o); got != 2*4+3*16 {
		t.Errorf("the best, with averages: %d bytes", got)
	}
}

// heard is called with all that is written.
type heard func(text string)

func (h heard) Write(text []byte) (int, error) {
	h(string(text))
	return len(text), nil
}

// failing is an opened study of two rows that are going to fail.
func failing(t *testing.T) *runner {
	t.Helper()
	dir, _ := madeStudy(t, labelsAlone)
	list := filepath.Join(dir, "out.txt")
	storetest.WriteText(t, list, "0\n")
	r := opened(t, rewritten(t, dir, `
rows: [{name: a, settings: {loss: arcface, exclude: out.txt}}, {name: b, settings: {loss: cosface, exclude: out.txt}}]
tests: [{name: faces, dataset: test.ds, pairs: pairs.txt}]`), filepath.Join(t.TempDir(), "study"))
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	return r
}

// A table that cannot be written ends the study at once: no row begins that nobody would see.
func TestTableThatCannotBeWritten(t *testing.T) {
	r := failing(t)
	r.o.Progress = heard(func(text string) {
		table := filepath.Join(r.o.Out, tableMarkdown)
		if !strings.Contains(text, "a, seed 1 failed: ") {
			return
		}
		if err := errors.Join(os.Remove(table), os.Mkdir(table, 0o755)); err != nil {
			t.Error(err)
		}
	})
	if _, err := r.run(t.Context()); err == nil || !strings.Contains(err.Error(), "write "+tableMarkdown) {
		t.Error(err)
	}
	if state, err := r.rows[1].reached(r.measured); err != nil || state != New {
		t.Errorf("%s, %v", state, err)
	}
}

// A row that another process has let go of meanwhile is taken after the others, and none is tried
// twice.
func TestRowThatBecomesFree(t *testing.T) {
	r := failing(t)
	touch(t, r.rows[0], rowFile, "{}")
	lock, err := r.rows[0].claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	r.o.RetryFailed, r.o.Progress = true, heard(func(text string) {
		row, _, ok := strings.Cut(text, " failed: ")
		if !ok {
			return
		}
		if failed = append(failed, row[len(row)-len("a, seed 1"):]); len(failed) == 1 {
			if err := lock.Unlock(); err != nil {
				t.Error(err)
			}
		}
	})
	if _, err := r.run(t.Context()); !errors.Is(err, ErrRows) || !slices.Equal(failed, []string{"b, seed 1", "a, seed 1"}) {
		t.Errorf("%q, %v", failed, err)
	}
}

// Many processes that begin a study at once are in nobody's way.
func TestBegunByMany(t *testing.T) {
	_, s := madeStudy(t, labelsAlone)
	r := opened(t, s, "")
	for range 3 {
		r.o.Out = filepath.Join(t.TempDir(), "study")
		if err := findFolders(r.o.Out, r.rows); err != nil {
			t.Fatal(err)
		}
		var all errgroup.Group
		for range 4 {
			all.Go(func() error {
				for range 2 {
					if err := r.claimStudy(t.Context(), r.o.Out, r.train); err != nil {
						return err
					}
					if _, err := r.write(t.Context()); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// A row whose run somebody goes on with by hand is left alone, and has not failed.
func TestRowInUse(t *testing.T) {
	_, s := madeStudy(t, labelsAlone)
	r := opened(t, s, filepath.Join(t.TempDir(), "study"))
	touch(t, r.rows[0], "metrics.jsonl", "")
	lock, err := durable.TryLock(r.rows[0].file(".lock"))
	if err != nil {
		t.Fatal(err)
	}
	if state, err := r.take(t.Context(), 0, r.rows[0]); state != "" || err != nil {
		t.Errorf("%s, %v", state, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if state, err := r.rows[0].reached(r.measured); state != Begun || err != nil {
		t.Errorf("%s, %v", state, err)
	}
}

// What every row would meet ends the study; what is a row's own does not.
func TestFatal(t *testing.T) {
	for _, err := range []error{unix.ENOSPC, &os.PathError{Op: "write", Err: unix.EDQUOT}, store.ErrDamaged, torch.ErrEngine, errChanged} {
		if !fatal(fmt.Errorf("row: %w", err)) {
			t.Errorf("%v lets the next row begin", err)
		}
	}
	if fatal(errors.New("diverged at step 3")) || fatal(durable.ErrLocked) {
		t.Error("a row's own failure ends the study")
	}
}

// Scores are read back bit by bit; those of another list, or damaged ones, are an error that says
// what to remove.
func TestScores(t *testing.T) {
	_, s := madeStudy(t, labelsAlone)
	r := opened(t, s, t.TempDir())
	one, dir := r.tests[0], t.TempDir()
	distances := make([]float64, 80)
	for i := range distances {
		distances[i] = float64(i) / 21
	}
	var f figures
	write := func() (digest string) {
		t.Helper()
		digest, err := one.writeScores(dir, distances)
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	path := filepath.Join(dir, one.scoresFile())
	digest := write()
	for _, f.Scores = range []map[string]string{nil, {one.scoresFile(): digest}} {
		if scores, err := one.readScores(dir, f); err != nil || scores.Same() != 40 || scores.Different() != 40 {
			t.Errorf("%v", err)
		}
	}
	refused := func(want string) {
		t.Helper()
		if _, err := one.readScores(dir, f); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove "+filepath.Join(dir, figuresFile)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	distances[3] = math.Nextafter(distances[3], 1)
	write()
	refused("is not what was written")
	f.Scores = map[string]string{}
	refused("is not what was written")
	f.Scores = nil
	distances = distances[:79]
	write()
	refused("79 distances of 80")
	distances = append(distances, math.NaN())
	write()
	refused("no distance")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range [][]byte{data[:len(data)-1], data[:7], nil, binary.LittleEndian.AppendUint64(slices.Clone(data), 0)} {
		if err := os.WriteFile(path, cut, 0o644); err != nil {
			t.Fatal(err)
		}
		refused("")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refused("no such file")
}

// With the teacher in the loop a step takes longer, but where no teacher is asked.
func TestCostOfTheTeacher(t *testing.T) {
	_, s := madeStudy(t, labelsAlone)
	r := opened(t, s, t.TempDir())
	r.tests, r.teacher = nil, &TeacherCost{SecondsPerCrop: 2}
	row := r.rows[0]
	for teacher, want := range map[student.TeacherNames]float64{"": 0, "t": 1 + 2*float64(row.Outlook.StepCrops)} {
		row.options.Teacher = teacher
		g, err := r.group([]done{{row, figures{cost: cost{SecondsPerStep: 1}}}}, nil)
		if err != nil || g.Cost.WithTeacher != want {
			t.Errorf("%q: %+v, %v, want %g", teacher, g.Cost, err, want)
		}
	}
}

// A teacher that is timed on the processor says nothing of steps on another device.
func TestTeacherOfAnotherDevice(t *testing.T) {
	_, s := madeStudy(t, labelsAlone+"\nteacher_model: none.onnx")
	r := opened(t, s, t.TempDir())
	if err := r.timeTeacher(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	var told strings.Builder
	r.rows[0].options.Device, r.o.Progress = "cuda:1", &told
	if err := r.timeTeacher(t.Context()); err != nil || r.teacher != nil || !strings.Contains(told.String(), "nothing of steps on cuda:1") {
		t.Errorf("%v, %+v, %s", err, r.teacher, told.String())
	}
}

// Inputs differ in the keys whose values do, numbers to their last digit.
func TestDiffering(t *testing.T) {
	read := func(text string) (v map[string]any) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	a := read(`{"options": {"seed": 12345678901234567890, "lr": 0.15, "teacher": "a"}, "crops": 7}`)
	b := read(`{"options": {"seed": 12345678901234567891, "lr": 0.15, "fraction": 0.3}, "crops": 7}`)
	if got := differing(a, b); !slices.Equal(got, []string{"options.fraction", "options.seed", "options.teacher"}) {
		t.Error(got)
	}
	if got := differing(a, a); got != nil {
		t.Error(got)
	}
}

// Lines are told once, bars every time, and whoever watches bars does so.
func TestOnce(t *testing.T) {
	var b bytes.Buffer
	w := once(&b)
	for range 3 {
		fmt.Fprintln(w, "note: the same")
		bar := progress.New(w, "bar", 4)
		bar.Add(4)
		bar.Finish()
	}
	if n := strings.Count(b.String(), "note: the same"); n != 1 {
		t.Errorf("told %d times", n)
	}
	if n := strings.Count(b.String(), "bar: 4/4"); n != 3 {
		t.Errorf("%d bars in %s", n, b.String())
	}
}
