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
	if info := expect(t, exitDone, "info", j.dataset, "--json").object(t); number(t, info["teachers"].([]any)[0].(map[string]any), "rows") != 0 {
		t.Errorf("a refused merge took something: %v", info["teachers"])
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
	// Again there is nothing more. The cache has the records of the plan and of both workers.
	if o := expect(t, exitDone, "merge", "--plan", j.plan); !strings.Contains(o.stdout, "  runs        3 are recorded, 40 crops computed: ") {
		t.Errorf("the merge says\n%s", o.stdout)
	}
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
	extra := filepath.Join(parts, "000007.json")
	for name, c := range map[string]struct {
		path string
		data []byte
		code int
		say  string
	}{
		"flipped bit":  {arrows[0], flipped, exitDamaged, "000001."},
		"short file":   {arrows[0], whole[:100], exitDamaged, "000001."},
		"lost file":    {arrows[0], nil, exitDamaged, "000001."},
		"of no task":   {extra, []byte("{}"), exitFailed, "000007.json is of no task"},
		"not a number": {filepath.Join(parts, "old.json"), []byte("{}"), exitFailed, "old.json is of no task"},
	} {
		rewrite(c.path, c.data)
		if o := expect(t, c.code, "merge", "--plan", j.plan); !strings.Contains(o.stderr, c.say) {
			t.Errorf("%s: %s", name, o.stderr)
		}
		if c.path == arrows[0] {
			rewrite(c.path, whole)
		} else {
			rewrite(c.path, nil)
		}
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

// chaosSeconds is how long workers are killed and stopped; PIPE_CHAOS_SECONDS asks for
// more.
func chaosSeconds(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("PIPE_CHAOS_SECONDS")
	if s == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(s + "s")
	if err != nil {
		t.Fatalf("PIPE_CHAOS_SECONDS: %v", err)
	}
	return d
}

// However four workers are killed and stopped, and even if one is started twice, what they
// come to is what one process makes.
func TestPlanUnderChaos(t *testing.T) {
	const workers = 4
	j := planFaces(t, 20, 16, repositoryTeacher(t))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	until := time.Now().Add(chaosSeconds(t))
	kills := 0
	for round := 0; round == 0 || time.Now().Before(until); round++ {
		if round > 0 { // the plan from its beginning
			if err := os.RemoveAll(filepath.Join(j.plan, "parts")); err != nil {
				t.Fatal(err)
			}
			expect(t, exitDone, "teachers", "drop", j.dataset, "teacher")
		}
		var group sync.WaitGroup
		var mu sync.Mutex
		for w := range workers + 1 {
			group.Go(func() {
				n := untilDone(t, j.worker(w%workers, workers, "--threads", "1", "--quiet"), rand.New(rand.NewPCG(seed, uint64(round*100+w))), until)
				mu.Lock()
				defer mu.Unlock()
				kills += n
			})
		}
		group.Wait()
		j.merged(t)
	}
	if t.Logf("%d kills", kills); kills == 0 {
		t.Error("nobody was killed")
	}
}

// untilDone runs a command again and again, killing or stopping it at random moments until
// the time has come, and then to its end. It returns how often it was killed.
func untilDone(t *testing.T, args []string, rng *rand.Rand, until time.Time) (kills int) {
	for {
		c := exec.Command(program, args...)
		var stderr strings.Builder
		c.Stderr = &stderr
		if err := c.Start(); err != nil {
			t.Error(err)
			return kills
		}
		done := make(chan error, 1)
		go func() { done <- c.Wait() }()
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
					return kills
				}
				if !killed {
					t.Errorf("%v: %v\n%s", args, err, &stderr)
					return kills
				}
			case <-strike:
				if rng.IntN(3) > 0 {
					killed = true
					kills++
					_ = c.Process.Kill() // it may have ended just now
				} else {
					_ = c.Process.Signal(syscall.SIGSTOP)
					time.Sleep(time.Duration(rng.IntN(800)) * time.Millisecond)
					_ = c.Process.Signal(syscall.SIGCONT)
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
