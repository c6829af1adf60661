package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"facepipe/ingest/detect/detecttest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
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
	j := planned{dataset: filepath.Join(dir, "faces.ds"), model: model, plan: filepath.Join(dir, "the 100% job")}
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
	// Again there is nothing more. The cache has the records of the plan and of both workers.
	if o := expect(t, exitDone, "merge", "--plan", j.plan); !strings.Contains(o.stdout, "  runs        3 are recorded, 40 crops computed: ") {
		t.Errorf("the merge says\n%s", o.stdout)
	}

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

// emitted is a job as a plan prints it, and the command line of its workers.
func emitted(t *testing.T, args ...string) (o outcome, worker string) {
	t.Helper()
	o = expect(t, exitDone, append([]string{"plan"}, args...)...)
	line := regexp.MustCompile(`(?m)^(.* --worker auto.*) &$`).FindStringSubmatch(o.stdout)
	if line == nil {
		t.Fatalf("no worker in\n%s", o.stdout)
	}
	return o, line[1]
}

// A job for GPUs is planned on a machine that has none, and every flag that says how its
// workers run is in what they run.
func TestPlanEmitsWhatWasGiven(t *testing.T) {
	dataset, model, donor := ingestAligned(t, 2, 4), tinyTeacher(t), ingestAligned(t, 1, 4)
	runtime := anyRuntime(t)
	for flags, want := range map[string]string{
		"":                                      "",
		"--provider cuda --workers 16 --gpus 1": " --provider cuda",
		"--provider cuda --gpus 3":              " --provider cuda --devices 0,1,2",
		"--provider cuda --gpus 2 --devices 1":  " --provider cuda --devices 1",
		"--provider tensorrt --half":            " --provider tensorrt",
		"--provider cuda --allow-fallback --batch 512 --threads 3": " --provider cuda --allow-fallback --batch 512 --threads 3",
		"--batch auto --reuse " + donor:                            " --batch auto --reuse " + donor,
		"--onnxruntime " + runtime:                                 " --onnxruntime " + runtime,
	} {
		job := filepath.Join(t.TempDir(), "job")
		_, worker := emitted(t, append([]string{"precompute-teacher", dataset, "--teacher", model, "--flip", "--plan", job, "--emit", "slurm"},
			strings.Fields(flags)...)...)
		if want := program + " precompute-teacher --plan " + job + " --worker auto" + want; worker != want {
			t.Errorf("%s: workers run\n%s, want\n%s", flags, worker, want)
		}
		// What is emitted is understood; only the provider is not here.
		if o := finished(t, exec.Command("sh", "-c", worker)); o.code != exitDone && !strings.Contains(o.stderr, "is not usable with") {
			t.Errorf("%s: the worker ended with %d: %s", flags, o.code, o.stderr)
		}
	}
}

// anyRuntime is the path of the ONNX Runtime that is found without a flag.
func anyRuntime(t *testing.T) string {
	t.Helper()
	path, err := ort.Library("").Path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Folders may be called what they like, and be named as seen from here.
func TestPlanEmitsOddPaths(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `it's "a" $HOME`)
	dataset := filepath.Join(dir, "faces.ds")
	expect(t, exitDone, "ingest", "--source", "folder="+alignedFaces(t, 2, 4), "--out", dataset)
	c := exec.Command(program, "plan", "precompute-teacher", "faces.ds", "--teacher", tinyTeacher(t), "--plan", "the job", "--emit", "slurm", "--reuse", "faces.ds")
	c.Dir, c.Env = dir, append(os.Environ(), "PIPE_ONNXRUNTIME="+anyRuntime(t))
	o := finished(t, c)
	line := regexp.MustCompile(`(?m)^(.* --worker auto.*) &$`).FindStringSubmatch(o.stdout)
	if o.code != exitDone || line == nil {
		t.Fatalf("%+v", o)
	}
	if o := finished(t, exec.Command("sh", "-c", line[1])); o.code != exitDone {
		t.Errorf("%s: %+v", line[1], o)
	}
	expect(t, exitDone, "merge", "--plan", filepath.Join(dir, "the job"))
}

// A container has its own pipe.
func TestPlanForPods(t *testing.T) {
	dir := t.TempDir()
	dataset, model, job := filepath.Join(dir, "faces.ds"), filepath.Join(dir, "teacher.onnx"), filepath.Join(dir, "job")
	expect(t, exitDone, "ingest", "--source", "folder="+alignedFaces(t, 1, 4), "--out", dataset)
	if err := os.Rename(tinyTeacher(t), model); err != nil {
		t.Fatal(err)
	}
	args := []string{"plan", "precompute-teacher", dataset, "--teacher", model, "--plan", job, "--emit", "k8s", "--image", "i", "--claim", "c", "--mount", dir}
	for program, more := range map[string][]string{"pipe": nil, "/opt/pipe": {"--program", "/opt/pipe"}} {
		o := expect(t, exitDone, append(args, more...)...)
		if want := fmt.Sprintf(`command: [%q,"precompute-teacher","--plan",%q,"--worker","auto"]`, program, job); !strings.Contains(o.stdout, want) {
			t.Errorf("%s: emitted is\n%s", program, o.stdout)
		}
	}
}

func TestPlanNotes(t *testing.T) {
	args := []string{"precompute-teacher", ingestAligned(t, 1, 4), "--teacher", tinyTeacher(t), "--plan", filepath.Join(t.TempDir(), "job"), "--emit", "slurm"}
	if o, _ := emitted(t, append(args, "--workers", "1001")...); strings.Contains(o.stderr, "MaxArraySize") {
		t.Errorf("1001 workers: %s", o.stderr)
	}
	o, _ := emitted(t, append(args, "--workers", "1002", "--max-running", "50", "--sbatch", "--partition=gpu", "--sbatch", "--qos=low")...)
	if !strings.Contains(o.stderr, "note: 1002 workers") {
		t.Errorf("1002 workers: %s", o.stderr)
	}
	for _, line := range []string{"#SBATCH --array=0-1001%50\n", "#SBATCH --partition=gpu\n#SBATCH --qos=low\n"} {
		if !strings.Contains(o.stdout, line) {
			t.Errorf("emitted without %s", line)
		}
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
	job, dataset, alone := filepath.Join(dir, "job"), filepath.Join(dir, "faces.ds"), filepath.Join(dir, "alone.ds")
	inputs := []string{"--source", "folder=" + root, "--landmarks", landmarks, "--shard-rows", "5"}
	whole := expect(t, exitDone, append([]string{"ingest", "--out", alone, "--json"}, inputs...)...).object(t)
	expect(t, exitDone, append([]string{"plan", "ingest", "--out", dataset, "--plan", job, "--task-items", "5"}, inputs...)...)
	script := expect(t, exitDone, append([]string{"plan", "ingest", "--out", dataset, "--plan", job, "--task-items", "5", "--emit", "slurm"}, inputs...)...)
	if !strings.Contains(script.stdout, "ingest --plan "+job+" --worker auto &") {
		t.Errorf("emitted is\n%s", script.stdout)
	}
	if o := expect(t, exitFailed, "merge", "--plan", job); !strings.Contains(o.stderr, "part 2: not found") {
		t.Errorf("missing parts are not named: %s", o.stderr)
	}
	for i := range 2 {
		expect(t, exitDone, "ingest", "--plan", job, "--worker", fmt.Sprintf("%d/2", i))
	}
	if o := expect(t, exitFailed, "precompute-teacher", "--plan", job); !strings.Contains(o.stderr, "is one of ingest") {
		t.Errorf("a plan of another verb: %s", o.stderr)
	}
	merged := expect(t, exitDone, "merge", "--plan", job, "--json").object(t)
	if merged["digest"] != whole["digest"] || number(t, merged, "written") != 12 {
		t.Errorf("the merge gave %v, one process %v", merged, whole)
	}
	expect(t, exitUsage, "ingest", "--plan", job, "--out", dataset)
}

// The detector of an ingest runs on the runtime that the plan was made with; the merge looks
// at it, too.
func TestIngestPlanKeepsTheRuntime(t *testing.T) {
	dir := t.TempDir()
	detector, job := filepath.Join(dir, "det.onnx"), filepath.Join(dir, "job")
	writeFile(t, detector, string(detecttest.Model(detecttest.Options{Kind: "scrfd"})))
	root, _ := photos(t, 1, 2)
	o, worker := emitted(t, "ingest", "--source", "folder="+root, "--detector", "scrfd="+detector, "--out", filepath.Join(dir, "faces.ds"), "--plan", job,
		"--emit", "slurm", "--onnxruntime", anyRuntime(t))
	if want := " --onnxruntime " + anyRuntime(t); !strings.HasSuffix(worker, want) || !strings.Contains(o.stdout, "merge --plan "+job+want+"\n") {
		t.Errorf("emitted is\n%s", o.stdout)
	}
	if o := expect(t, exitFailed, "merge", "--plan", job, "--onnxruntime", "/no/such.so"); !strings.Contains(o.stderr, "/no/such.so") {
		t.Errorf("the merge with another runtime: %s", o.stderr)
	}
}
