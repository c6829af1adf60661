package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"facepipe/internal/imgcodec"
	"facepipe/testdata"
)

// planned is a job that is planned: a dataset, a teacher, and the digest of the cache that
// one process makes.
type planned struct {
	dataset, model, plan, digest string
}

// planFaces plans the embedding of some people's faces, a shard for each eight.
func planFaces(t *testing.T, people, shots int, model string) planned {
	t.Helper()
	faces, dir := alignedFaces(t, people, shots), t.TempDir()
	j := planned{dataset: filepath.Join(dir, "faces.ds"), model: model, plan: filepath.Join(dir, "job")}
	alone := filepath.Join(dir, "alone.ds")
	for _, dataset := range []string{j.dataset, alone} {
		expect(t, exitDone, "ingest", "--source", "folder="+faces, "--out", dataset, "--shard-rows", "8")
	}
	j.digest = expect(t, exitDone, "precompute-teacher", alone, "--teacher", model, "--flip", "--json").object(t)["digest"].(string)
	j.make(t, exitDone)
	return j
}

func (j planned) make(t *testing.T, code int, more ...string) outcome {
	t.Helper()
	return expect(t, code, append([]string{"plan", "precompute-teacher", j.dataset, "--teacher", j.model, "--flip", "--plan", j.plan}, more...)...)
}

func (j planned) worker(i, n int, more ...string) []string {
	return append([]string{"precompute-teacher", "--plan", j.plan, "--worker", fmt.Sprintf("%d/%d", i, n)}, more...)
}

// merged merges the plan and compares the cache with that of one process.
func (j planned) merged(t *testing.T) {
	t.Helper()
	m := expect(t, exitDone, "merge", "--plan", j.plan, "--json").object(t)
	if m["digest"] != j.digest {
		t.Errorf("the merge gave %v, one process %s", m, j.digest)
	}
	expect(t, exitDone, "check", j.dataset, "--read-data")
}

// repositoryTeacher is the teacher of the repository, which takes a while.
func repositoryTeacher(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "teacher.onnx")
	if err := os.WriteFile(path, testdata.Teacher, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPlan(t *testing.T) {
	j := planFaces(t, 5, 8, tinyTeacher(t))
	j.make(t, exitDone) // the same plan
	o := expect(t, exitFailed, "plan", "precompute-teacher", j.dataset, "--teacher", j.model, "--plan", j.plan)
	if !strings.Contains(o.stderr, "another plan") {
		t.Errorf("a second plan is refused without saying why: %s", o.stderr)
	}

	first := expect(t, exitDone, j.worker(0, 2, "--json")...).object(t)
	if number(t, first, "rows") != 24 || number(t, first, "computed") != 24 {
		t.Errorf("the first worker did %v", first)
	}
	if again := expect(t, exitDone, j.worker(0, 2, "--json")...).object(t); number(t, again, "computed") != 0 || number(t, again, "reused") != 24 {
		t.Errorf("the same worker again did %v", again)
	}
	o = expect(t, exitFailed, "merge", "--plan", j.plan)
	if !strings.Contains(o.stderr, "part 1: not found") || strings.Contains(o.stderr, "part 0:") {
		t.Errorf("missing parts are not named: %s", o.stderr)
	}
	if names := listed(t, j.dataset); names != "" {
		t.Errorf("a refused merge took a name: %s", names)
	}

	// What the second would do, as a scheduler tells it, with the dataset grown meanwhile.
	more := alignedFaces(t, 1, 1)
	c := exec.Command(program, "precompute-teacher", "--plan", j.plan, "--json")
	c.Env = append(os.Environ(), "JOB_COMPLETION_INDEX=1", "PIPE_WORKERS=2")
	expect(t, exitDone, "ingest", "--source", "folder="+more, "--key-prefix", "more/", "--out", j.dataset)
	if second := finished(t, c).object(t); number(t, second, "computed") != 16 {
		t.Errorf("the second worker did %v", second)
	}
	j.merged(t)
	if names := listed(t, j.dataset); names != "tiny" {
		t.Errorf("teachers are %s", names)
	}
	expect(t, exitDone, "merge", "--plan", j.plan) // nothing more

	if o := expect(t, exitDone, "merge", "--plan", j.plan, "--clean"); !strings.Contains(o.stdout, "removed     10 files") {
		t.Errorf("cleaned: %s", o.stdout)
	}
	if after := expect(t, exitDone, j.worker(0, 2, "--json")...).object(t); number(t, after, "computed") != 0 || number(t, after, "reused") != 24 {
		t.Errorf("a worker after that did %v", after)
	}
	j.merged(t)
	expect(t, exitUsage, "merge", j.dataset, j.dataset, "--out", j.plan, "--clean")
}

// The share of embeddings without use is held against --max-reject-rate by the merge, as one
// process does.
func TestPlanOfEmbeddingsWithoutUse(t *testing.T) {
	faces, dir := alignedFaces(t, 1, 6), t.TempDir()
	dark := imgcodec.NewImage(112, 112)
	for i := range dark.Pix {
		dark.Pix[i] = byte(i / 112 / 3 / 20) // rows 0 to 19 are black
	}
	savePNG(t, filepath.Join(faces, "dark.png"), dark)
	alone := filepath.Join(dir, "alone.ds")
	j := planned{dataset: filepath.Join(dir, "faces.ds"), model: fussyTeacher(t), plan: filepath.Join(dir, "job")}
	for _, dataset := range []string{j.dataset, alone} {
		expect(t, exitDone, "ingest", "--source", "folder="+faces, "--out", dataset)
	}
	j.make(t, exitDone, "--preprocess", "raw")
	if s := expect(t, exitDone, j.worker(0, 1, "--json")...).object(t); number(t, s, "invalid") != 2 {
		t.Errorf("the worker did %v", s)
	}
	one := expect(t, exitRejects, "precompute-teacher", alone, "--teacher", j.model, "--flip", "--preprocess", "raw", "--json").object(t)
	m := expect(t, exitRejects, "merge", "--plan", j.plan, "--json").object(t)
	if number(t, m, "invalid") != 2 || m["digest"] != one["digest"] {
		t.Errorf("the merge gave %v, one process %v", m, one)
	}
	o := expect(t, exitRejects, "merge", "--plan", j.plan)
	if !strings.Contains(o.stdout, "unusable    2 embeddings") || !strings.Contains(o.stderr, "2 of 14") {
		t.Errorf("%s\n%s", o.stdout, o.stderr)
	}
	expect(t, exitDone, "merge", "--plan", j.plan, "--max-reject-rate", "0.2")
	expect(t, exitUsage, "merge", "--plan", j.plan, "--max-reject-rate", "2")
}

func TestPlanRefuses(t *testing.T) {
	j := planFaces(t, 3, 8, tinyTeacher(t))
	for i := range 2 {
		expect(t, exitDone, j.worker(i, 2)...)
	}
	parts := filepath.Join(j.plan, "parts")
	arrows, err := filepath.Glob(filepath.Join(parts, "000001.*.arrow"))
	if err != nil || len(arrows) != 1 {
		t.Fatalf("%v, %v", arrows, err)
	}
	whole, err := os.ReadFile(arrows[0])
	if err != nil {
		t.Fatal(err)
	}
	rewrite := func(path string, data []byte) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if data != nil {
			writeFile(t, path, string(data))
		}
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 4
	second := filepath.Join(parts, "000001.json")
	for name, c := range map[string]struct {
		path string
		data []byte
		code int
		say  string
	}{
		"flipped bit":  {arrows[0], flipped, exitDamaged, "000001."},
		"short file":   {arrows[0], whole[:100], exitDamaged, "000001."},
		"lost file":    {arrows[0], nil, exitDamaged, "000001."},
		"of no task":   {filepath.Join(parts, "000007.json"), []byte("{}"), exitFailed, "000007.json is of no task"},
		"not a number": {filepath.Join(parts, "old.json"), []byte("{}"), exitFailed, "old.json is of no task"},
		"mixed":        {second, partOfAnotherTeacher(t, j.dataset), exitFailed, second + ": a part of another plan or model"},
	} {
		before, err := os.ReadFile(c.path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		rewrite(c.path, c.data)
		if o := expect(t, c.code, "merge", "--plan", j.plan); !strings.Contains(o.stderr, c.say) {
			t.Errorf("%s: %s", name, o.stderr)
		}
		if names := listed(t, j.dataset); names != "" {
			t.Errorf("%s: a refused merge took a name: %s", name, names)
		}
		rewrite(c.path, before)
	}
	j.merged(t)

	// Another model where the plan's was.
	replaced := planFaces(t, 1, 7, tinyTeacher(t))
	if err := os.WriteFile(replaced.model, testdata.Teacher, 0o644); err != nil {
		t.Fatal(err)
	}
	if o := expect(t, exitFailed, replaced.worker(0, 1)...); !strings.Contains(o.stderr, "replaced") {
		t.Errorf("another model is refused without saying why: %s", o.stderr)
	}
	// And its own from elsewhere, beside another dataset.
	if o := expect(t, exitFailed, append(replaced.worker(0, 1), j.dataset, "--teacher", j.model)...); !strings.Contains(o.stderr, "shard 0") {
		t.Errorf("another dataset is refused without saying why: %s", o.stderr)
	}
}

// partOfAnotherTeacher is the manifest that the second part of a dataset has in a plan for
// another teacher.
func partOfAnotherTeacher(t *testing.T, dataset string) []byte {
	t.Helper()
	other := planned{dataset: dataset, model: fussyTeacher(t), plan: filepath.Join(t.TempDir(), "job")}
	other.make(t, exitDone)
	expect(t, exitDone, other.worker(0, 1)...)
	data, err := os.ReadFile(filepath.Join(other.plan, "parts", "000001.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A worker is stopped in the middle of a shard. Its twin does everything, the merge runs and
// deletes what is left of the workers; then the worker goes on. Nobody fails, and nothing is
// doubled.
func TestStoppedWorkerComesBack(t *testing.T) {
	for _, clean := range []string{"--clean=false", "--clean"} {
		j := planFaces(t, 8, 16, repositoryTeacher(t))
		parts := filepath.Join(j.plan, "parts")
		c, stderr := begin(t, filepath.Join(parts, "000000.json"), j.worker(0, 1, "--threads", "1")...)
		unfinished := suspended(t, c.Process, filepath.Join(parts, ".tmp-*"))
		expect(t, exitDone, j.worker(0, 1)...)
		expect(t, exitDone, "merge", "--plan", j.plan, clean)
		for _, path := range unfinished {
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("%s stays: %v", path, err)
			}
		}
		if err := c.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("the worker that was stopped: %v\n%s", err, stderr)
		}
		if left, err := filepath.Glob(filepath.Join(parts, ".tmp-*")); err != nil || len(left) > 0 {
			t.Errorf("left %v, %v", left, err)
		}
		if m := expect(t, exitDone, "merge", "--plan", j.plan, "--json").object(t); number(t, m, "adopted") != 0 {
			t.Errorf("merged again: %v", m)
		}
		j.merged(t)
	}
}

// suspended stops a process at a moment at which there are files of a pattern, and returns
// these.
func suspended(t *testing.T, p *os.Process, pattern string) []string {
	t.Helper()
	for {
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for state := ""; state != "T"; time.Sleep(time.Millisecond) {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
			if err != nil {
				t.Fatal(err)
			}
			// The name before the state may hold anything, in brackets.
			state = strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[0]
			if state == "Z" {
				t.Fatal("it has ended already")
			}
		}
		if files, err := filepath.Glob(pattern); err != nil || len(files) > 0 {
			return files
		}
		if err := p.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// chaos is how long workers are killed and stopped, and how long they stand still at most;
// PIPE_CHAOS_SECONDS asks for more of it (make test-chaos).
type chaos struct{ lasts, stop time.Duration }

func chaosOf(t *testing.T) chaos {
	t.Helper()
	s := os.Getenv("PIPE_CHAOS_SECONDS")
	if s == "" {
		return chaos{4 * time.Second, 800 * time.Millisecond}
	}
	d, err := time.ParseDuration(s + "s")
	if err != nil {
		t.Fatalf("PIPE_CHAOS_SECONDS: %v", err)
	}
	return chaos{d, min(20*time.Second, d/4)}
}

// pause is how long a worker is stopped: one in eight for long.
func (c chaos) pause(rng *rand.Rand) time.Duration {
	if rng.IntN(8) == 0 {
		return time.Duration(rng.Int64N(int64(c.stop)))
	}
	return time.Duration(rng.IntN(800)) * time.Millisecond
}

// However four workers are killed and stopped, even if one is started twice, and whenever the
// merge is tried, what they come to is what one process makes.
func TestPlanUnderChaos(t *testing.T) {
	const workers = 4
	j := planFaces(t, 20, 16, repositoryTeacher(t))
	c := chaosOf(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	until := time.Now().Add(c.lasts)
	var met strikes
	rounds := 0
	for ; rounds == 0 || time.Now().Before(until); rounds++ {
		if rounds > 0 { // the plan from its beginning
			if err := os.RemoveAll(filepath.Join(j.plan, "parts")); err != nil {
				t.Fatal(err)
			}
			expect(t, exitDone, "teachers", "drop", j.dataset, "teacher")
		}
		var group sync.WaitGroup
		var mu sync.Mutex
		for w := range workers + 1 {
			group.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(rounds*100+w)))
				s := untilDone(t, j.worker(w%workers, workers, "--threads", "1", "--quiet"), rng, until, c)
				mu.Lock()
				defer mu.Unlock()
				met.kills += s.kills
				met.stops += s.stops
				met.longest = max(met.longest, s.longest)
			})
		}
		group.Go(func() { j.mergeEarly(t, rounds%2 == 1) })
		group.Wait()
		j.merged(t)
		if left, err := filepath.Glob(filepath.Join(j.plan, "parts", ".tmp-*")); err != nil || len(left) > 0 {
			t.Errorf("left %v, %v", left, err)
		}
	}
	if t.Logf("%d rounds, %d kills, %d stops of up to %v", rounds, met.kills, met.stops, met.longest.Round(time.Millisecond)); met.kills == 0 {
		t.Error("nobody was killed")
	}
}

// mergeEarly tries to merge until all parts are there, whatever the workers are doing then.
func (j planned) mergeEarly(t *testing.T, clean bool) {
	for {
		o := pipe(t, "merge", "--plan", j.plan, fmt.Sprintf("--clean=%t", clean))
		if o.code == exitDone {
			return
		}
		if o.code != exitFailed || !strings.Contains(o.stderr, "its worker is not done") {
			t.Errorf("an early merge ended with %d: %s", o.code, o.stderr)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// strikes are what a worker met with.
type strikes struct {
	kills, stops int
	longest      time.Duration // of the stops
}

// untilDone runs a command again and again, killing or stopping it at random moments until
// the time has come, and then to its end.
func untilDone(t *testing.T, args []string, rng *rand.Rand, until time.Time, c chaos) (met strikes) {
	for {
		p := exec.Command(program, args...)
		var stderr strings.Builder
		p.Stderr = &stderr
		if err := p.Start(); err != nil {
			t.Error(err)
			return met
		}
		done := make(chan error, 1)
		go func() { done <- p.Wait() }()
		killed := false
		for running := true; running; {
			var strike <-chan time.Time
			if time.Now().Before(until) && !killed {
				strike = time.After(time.Duration(50+rng.IntN(1500)) * time.Millisecond)
			}
			select {
			case err := <-done:
				running = false
				if err == nil {
					return met
				}
				if !killed {
					t.Errorf("%v: %v\n%s", args, err, &stderr)
					return met
				}
			case <-strike:
				if rng.IntN(3) > 0 {
					killed = true
					met.kills++
					_ = p.Process.Kill() // it may have ended just now
				} else {
					pause := c.pause(rng)
					met.stops++
					met.longest = max(met.longest, pause)
					_ = p.Process.Signal(syscall.SIGSTOP)
					time.Sleep(pause)
					_ = p.Process.Signal(syscall.SIGCONT)
				}
			}
		}
	}
}

// Photographs are shared out in the same way.
func TestIngestPlan(t *testing.T) {
	root, landmarks := photos(t, 3, 4)
	dir := t.TempDir()
	plan, dataset, alone := filepath.Join(dir, "job"), filepath.Join(dir, "faces.ds"), filepath.Join(dir, "alone.ds")
	inputs := []string{"--source", "folder=" + root, "--landmarks", landmarks, "--shard-rows", "5"}
	whole := expect(t, exitDone, append([]string{"ingest", "--out", alone, "--json"}, inputs...)...).object(t)
	expect(t, exitDone, append([]string{"plan", "ingest", "--out", dataset, "--plan", plan, "--task-items", "5"}, inputs...)...)
	script := expect(t, exitDone, append([]string{"plan", "ingest", "--out", dataset, "--plan", plan, "--task-items", "5", "--emit", "slurm"}, inputs...)...)
	if !strings.Contains(script.stdout, "ingest --plan "+plan+" --worker auto &") {
		t.Errorf("emitted is\n%s", script.stdout)
	}
	if o := expect(t, exitFailed, "merge", "--plan", plan); !strings.Contains(o.stderr, "part 2: not found") {
		t.Errorf("missing parts are not named: %s", o.stderr)
	}
	for i := range 2 {
		expect(t, exitDone, "ingest", "--plan", plan, "--worker", fmt.Sprintf("%d/2", i))
	}
	if o := expect(t, exitFailed, "precompute-teacher", "--plan", plan); !strings.Contains(o.stderr, "is one of ingest") {
		t.Errorf("a plan of another verb: %s", o.stderr)
	}
	merged := expect(t, exitDone, "merge", "--plan", plan, "--json").object(t)
	if merged["digest"] != whole["digest"] || number(t, merged, "written") != 12 {
		t.Errorf("the merge gave %v, one process %v", merged, whole)
	}
	expect(t, exitUsage, "ingest", "--plan", plan, "--out", dataset)
}
