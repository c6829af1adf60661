package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faceStudy is a study of tiny students on generated faces.
type faceStudy struct {
	dir, file, out string
	teacher        string // its model
	tests          string // besides the list of pairs
}

// newStudy draws its datasets. Its test has people that it trains on.
func newStudy(t *testing.T) *faceStudy {
	t.Helper()
	dataset := ingestAligned(t, 4, 6)
	s := &faceStudy{teacher: precompute(t, dataset), dir: t.TempDir(), out: filepath.Join(t.TempDir(), "study")}
	s.file = filepath.Join(s.dir, "study.yaml")
	for name, to := range map[string]string{"faces.ds": dataset, "test.ds": ingestAligned(t, 8, 4), "pairs.txt": pairsFile(t, 8, 4)} {
		if err := os.Symlink(to, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, "axes: {loss: [cosine, l2], seed: [1, 2]}")
	return s
}

// write writes the study's file, with what differs from study to study.
func (s *faceStudy) write(t *testing.T, more string) {
	t.Helper()
	writeFile(t, s.file, `dataset: faces.ds
base: {teacher: tiny, threads: 1, batch: 6, warmup_epochs: 0, size: {width: 0.125, dim: 16}}
budget: {epochs: 2}
tests: [{name: faces, dataset: test.ds, pairs: pairs.txt}`+s.tests+`]
`+more+"\n")
}

func (s *faceStudy) args(more ...string) []string {
	return append([]string{"compare", s.file, "--out", s.out, "--json"}, more...)
}

// table is what a study says, without times and memory.
func (s *faceStudy) table(t *testing.T) (groups map[string]any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.out, "table.json"))
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Groups []map[string]any
	}
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	groups = map[string]any{}
	for _, g := range table.Groups {
		delete(g, "cost")
		groups[g["name"].(string)] = g
	}
	return groups
}

// states are how many rows are how far.
func states(v map[string]any) string {
	counts := map[string]int{}
	for _, row := range v["rows"].([]any) {
		counts[row.(map[string]any)["state"].(string)]++
	}
	return fmt.Sprint(counts)
}

// A study is foreseen, trained, added to, and shown; what is done is not done again.
func TestCompare(t *testing.T) {
	s := newStudy(t)
	if a := expect(t, exitDone, s.args("--dry-run")...).object(t); states(a) != "map[new:4]" || number(t, a, "steps") != 32 || len(a["warnings"].([]any)) != 1 {
		t.Errorf("%v", a)
	}
	if _, err := os.Stat(s.out); err == nil {
		t.Error("a dry run leaves a folder")
	}
	check := expect(t, exitDone, s.args("--check")...).object(t)
	if says := fmt.Sprint(check["says"]); states(check) != "map[done:2 new:2]" || !strings.Contains(says, "2 seeds would find a difference") {
		t.Errorf("the check: %v", check)
	}
	before, err := os.Stat(filepath.Join(s.out, check["rows"].([]any)[0].(map[string]any)["folder"].(string)))
	if err == nil {
		t.Errorf("%v lies beside the rows", before)
	}
	o := expect(t, exitDone, s.args()...)
	all := o.object(t)
	if states(all) != "map[done:4]" || strings.Contains(o.stderr, "cosine, seed") {
		t.Errorf("the baseline is trained again: %s", o.stderr)
	}
	for _, name := range []string{"table.md", "table.csv"} {
		text, err := os.ReadFile(filepath.Join(s.out, name))
		if err != nil || !strings.Contains(string(text), "l2") {
			t.Errorf("%s (%v):\n%s", name, err, text)
		}
	}
	l2 := s.table(t)["l2"].(map[string]any)
	if figures := fmt.Sprint(l2["figures"]); !strings.Contains(figures, "2 seeds: cannot be significant at 5 %") || !strings.Contains(figures, "p_adjusted") {
		t.Errorf("l2 has %s", figures)
	}

	s.write(t, "axes: {loss: [cosine, l2], seed: [1, 2, 3]}")
	o = expect(t, exitDone, s.args()...)
	if states(o.object(t)) != "map[done:6]" || strings.Contains(o.stderr, "seed 1") || strings.Contains(o.stderr, "seed 2") || !strings.Contains(o.stderr, "l2, seed 3: done") {
		t.Errorf("a seed is added: %s", o.stderr)
	}
	again := *s
	again.out = filepath.Join(t.TempDir(), "again")
	o = expect(t, exitDone, again.args("--reuse", s.out)...)
	if strings.Count(o.stderr, " is taken over from "+s.out) != 6 || strings.Contains(o.stderr, "done in") || !reflect.DeepEqual(again.table(t), s.table(t)) {
		t.Errorf("rows of another study are made anew: %s", o.stderr)
	}
	expect(t, exitDone, "check", again.out)
	// Another name is no other run, and another test no other training.
	s.write(t, `axes: {seed: [1, 2, 3]}
rows: [{name: A, settings: {loss: cosine}}, {name: B, settings: {loss: l2}}]
select: ""
baseline: B`)
	if o = expect(t, exitDone, s.args()...); strings.Contains(o.stderr, "row ") || s.table(t)["A"] == nil {
		t.Errorf("rows of another name are trained: %s", o.stderr)
	}
	page := filepath.Join(s.dir, "page.html")
	report := expect(t, exitDone, "report", s.out, "--out", page, "--json").object(t)
	part := report["parts"].([]any)[0].(map[string]any)
	if sections := fmt.Sprint(part["sections"]); part["kind"] != "study" || sections != "[says on1 worth learning cost differing rows]" {
		t.Errorf("the page has %s", sections)
	}

	elsewhere := *s
	elsewhere.file = filepath.Join(s.dir, "other.yaml")
	elsewhere.write(t, "axes: {loss: [cosine, l2]}")
	if o := expect(t, exitUsage, elsewhere.args()...); !strings.Contains(o.stderr, "choose another --out") {
		t.Error(o.stderr)
	}
	elsewhere.out = filepath.Join(s.dir, "faces.ds")
	if o := expect(t, exitUsage, elsewhere.args()...); !strings.Contains(o.stderr, "is no study") {
		t.Error(o.stderr)
	}
}

// A row that fails stops no other, is listed first, and is trained again if that is asked for.
func TestCompareWithFailures(t *testing.T) {
	s := newStudy(t)
	s.tests = ", {bin: " + binFile(t, "others.bin", 8, 4) + "}"
	s.write(t, `rows: [{name: wild, settings: {loss: l2, lr: 1e9}}, {name: tame, settings: {loss: cosine}}]
baseline: tame`)
	o := expect(t, exitRejects, s.args("--fail-fast")...)
	if r := o.object(t); states(r) != "map[failed:1 new:1]" {
		t.Errorf("--fail-fast: %v", r)
	}
	o = expect(t, exitRejects, "compare", s.file, "--out", s.out)
	if !strings.HasPrefix(o.stdout, "FAILED wild, seed 1: ") || !strings.Contains(o.stdout, "1 of 2 rows are done") || strings.Contains(o.stderr, "row 1 of 2") || !strings.Contains(o.stdout, "OTHERS ACCURACY") {
		t.Errorf("%s\n%s", o.stdout, o.stderr)
	}
	if o = expect(t, exitRejects, s.args("--retry-failed")...); !strings.Contains(o.stderr, "row 1 of 2: wild, seed 1 failed") || strings.Contains(o.stderr, "row 2") {
		t.Error(o.stderr)
	}
	// What distill refuses is said of all rows before anything runs.
	s.out += "2"
	s.write(t, `rows: [{name: a, settings: {batch: 99}}, {name: b, settings: {teacher: nobody}}, {name: c, settings: {loss: cosine}}, {name: d, settings: {loss: cosine, epochs: 2}}]`)
	if o := expect(t, exitUsage, s.args("--device", "tpu")...); !strings.Contains(o.stderr, `device "tpu"`) {
		t.Error(o.stderr)
	}
	o = expect(t, exitUsage, s.args()...)
	for _, want := range []string{"3 of 4 rows cannot", `row "a, seed 1": `, `row "b, seed 1": `, "nobody", `row "d, seed 1": it is the same run as "c, seed 1"`} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("%q is not in %s", want, o.stderr)
		}
	}
	if _, err := os.Stat(s.out); err == nil {
		t.Error("a refused study leaves a folder")
	}
}

// A dataset that has grown makes rows stale: they are named with what changed, and trained anew.
func TestCompareOfStaleRows(t *testing.T) {
	s := newStudy(t)
	s.write(t, "axes: {loss: [cosine]}\nvalidation: {name: val, dataset: test.ds, pairs: pairs.txt}\nselect: accuracy\nteacher_model: "+s.teacher)
	first := expect(t, exitDone, s.args()...).object(t)
	if states(first) != "map[done:1]" || !strings.Contains(fmt.Sprint(first["chosen_by"]), "best checkpoint by accuracy on val") {
		t.Errorf("%v", first)
	}
	cost := first["groups"].([]any)[0].(map[string]any)["cost"].(map[string]any)
	if number(t, cost, "seconds_per_step_with_teacher") <= number(t, cost, "seconds_per_step") || first["teacher"] == nil {
		t.Errorf("the teacher in the loop costs nothing: %v", cost)
	}
	dataset := filepath.Join(s.dir, "faces.ds")
	expect(t, exitDone, "ingest", "--source", "folder="+alignedFaces(t, 6, 6), "--key-prefix", "more/", "--out", dataset)
	if o := expect(t, exitUsage, s.args()...); !strings.Contains(o.stderr, "cosine, seed 1") || !strings.Contains(o.stderr, "lacks") {
		t.Errorf("a cache that lacks crops: %s", o.stderr)
	}
	precompute(t, dataset)
	a := expect(t, exitDone, s.args("--dry-run")...).object(t)
	if changed := fmt.Sprint(a["changed"]); states(a) != "map[stale:1]" || !strings.Contains(changed, "crops_digest") {
		t.Errorf("%v", a)
	}
	again := expect(t, exitDone, s.args()...).object(t)
	if states(again) != "map[done:1]" || again["changed"] != nil || len(again["gone"].([]any)) != 1 {
		t.Errorf("%v", again)
	}
	// Another list of pairs is measured, and by another validation another checkpoint is chosen.
	s.write(t, "axes: {loss: [cosine]}\nvalidation: {name: val, dataset: test.ds, pairs: pairs.txt}\nselect: eer")
	if a = expect(t, exitDone, s.args("--dry-run")...).object(t); states(a) != "map[stale:1]" || !strings.Contains(fmt.Sprint(a["changed"]), "select") {
		t.Errorf("%v", a)
	}
}

// Killed at any moment and started again, a study comes to the same table; so it does by a
// plan's workers.
func TestKilledCompare(t *testing.T) {
	s := newStudy(t)
	begun := time.Now()
	expect(t, exitDone, s.args()...)
	lasts := time.Since(begun)
	whole := s.table(t)

	killed := *s
	killed.out = filepath.Join(t.TempDir(), "study")
	for range 4 {
		c := exec.Command(program, killed.args()...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lasts/8 + rand.N(lasts/4))
		_ = c.Process.Kill() // fails if it has just ended
		_ = c.Wait()
		if _, err := os.Stat(filepath.Join(killed.out, "study.json")); err == nil {
			expect(t, exitDone, "check", killed.out) // a kill is no damage
		}
	}
	expect(t, exitDone, killed.args()...)
	expect(t, exitDone, "check", killed.out)
	if got := killed.table(t); !reflect.DeepEqual(got, whole) {
		t.Errorf("after kills the table is %v\nand without %v", got, whole)
	}
	// A row that is trained and not measured is only measured.
	figures, err := filepath.Glob(filepath.Join(killed.out, "rows", "l2-seed2-*", "figures.json"))
	if err != nil || len(figures) != 1 || os.Remove(figures[0]) != nil {
		t.Fatal(figures, err)
	}
	if a := expect(t, exitDone, killed.args("--dry-run")...).object(t); states(a) != "map[done:3 trained:1]" || number(t, a, "steps") != 0 {
		t.Errorf("%v", a)
	}
	if o := expect(t, exitDone, killed.args()...); strings.Contains(o.stderr, "distill") || !reflect.DeepEqual(killed.table(t), whole) {
		t.Errorf("it is trained again, or measured otherwise: %s", o.stderr)
	}
}

// Workers of a plan share the rows; the merge tells what is missing, and writes the table.
func TestComparePlan(t *testing.T) {
	s := newStudy(t)
	plan := filepath.Join(t.TempDir(), "job")
	planned := []string{"plan", "compare", s.file, "--out", s.out, "--plan", plan}
	expect(t, exitDone, planned...)
	_, worker := emitted(t, append(planned[1:], "--emit", "slurm", "--workers", "4", "--threads", "1")...)
	if !strings.Contains(worker, "compare --plan "+plan+" --worker auto --threads 1") {
		t.Errorf("the job runs %s", worker)
	}
	c, stderr := begin(t, filepath.Join(s.out, "rows", "*", "checkpoints", "*"), "compare", "--plan", plan, "--worker", "1/2")
	stopped(t, c, stderr, syscall.SIGINT)
	saysOnce(t, stderr)
	if o := expect(t, exitFailed, "merge", "--plan", plan); !strings.Contains(o.stderr, "4 of 4 rows are not done: cosine, seed 1 (new); l2, seed 1 (begun)") {
		t.Error(o.stderr)
	}
	other := exec.Command(program, "compare", "--plan", plan, "--worker", "0/2", "-q")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	expect(t, exitDone, "compare", "--plan", plan, "--worker", "1/2", "-q")
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
	m := expect(t, exitDone, "merge", "--plan", plan, "--json").object(t)
	if states(m) != "map[done:4]" {
		t.Errorf("%v", m)
	}
	table := s.table(t)
	s.out = filepath.Join(t.TempDir(), "alone")
	expect(t, exitDone, s.args()...)
	if !reflect.DeepEqual(table, s.table(t)) {
		t.Error("workers come to another table than one process")
	}
	s.write(t, "axes: {loss: [cosine, rkd], seed: [1, 2]}")
	if o := expect(t, exitFailed, "compare", "--plan", plan, "--worker", "0/2"); !strings.Contains(o.stderr, "make another plan") {
		t.Error(o.stderr)
	}
	expect(t, exitUsage, "merge", "--plan", plan, "--clean")
}
