package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"facepipe/ingest/detect/detecttest"
	"facepipe/internal/crash"
	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
	"facepipe/internal/stop"
)

// kills is how often each verb is killed; PIPE_KILLS asks for more.
func kills(t *testing.T) int {
	t.Helper()
	s := os.Getenv("PIPE_KILLS")
	if s == "" {
		return 5
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("PIPE_KILLS: %v", err)
	}
	return n
}

// struckInAll counts the kills of all verbs.
var struckInAll atomic.Int64

// job is a command whose result lies in a folder of its own.
type job struct {
	dir  string
	args []string
}

// killAtRandom begins a job and kills it with SIGKILL at random moments, each time
// running the same command again on what was left, until it has struck often enough.
// A job that comes to its end is compared with whole, which was never killed.
func killAtRandom(t *testing.T, begin func() job, same func(t *testing.T, whole, killed string)) {
	t.Helper()
	whole := begin()
	duration := timed(t, whole.args...)
	j := begin()
	for struck := 0; struck < kills(t); {
		c := exec.Command(program, j.args...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		delay := rand.N(duration)
		time.Sleep(delay)
		_ = c.Process.Kill() // fails if it has just ended
		_ = c.Wait()         // the state tells
		t.Logf("after %v: %v", delay.Round(time.Millisecond), c.ProcessState)
		switch {
		case !c.ProcessState.Exited():
			struck++
			struckInAll.Add(1)
		case !c.ProcessState.Success():
			t.Fatalf("after %d kills: %v", struck, c.ProcessState)
		default:
			same(t, whole.dir, j.dir)
			j = begin()
		}
	}
	expect(t, exitDone, j.args...)
	same(t, whole.dir, j.dir)
}

// timed runs the command to its end.
func timed(t *testing.T, args ...string) time.Duration {
	t.Helper()
	begun := time.Now()
	expect(t, exitDone, args...)
	return time.Since(begun)
}

func TestKilledIngest(t *testing.T) {
	source := "folder=" + alignedFaces(t, 6, 8)
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		return job{dataset, []string{"ingest", "--source", source, "--out", dataset, "--shard-rows", "3"}}
	}, sameDataset)
}

// Photographs with several faces, so that kills fall between two of one photograph.
func TestKilledIngestOfAllFaces(t *testing.T) {
	root := t.TempDir()
	model := filepath.Join(root, "detector.onnx")
	writeFile(t, model, string(detecttest.Model(detecttest.Options{Kind: "scrfd"})))
	if err := os.Mkdir(filepath.Join(root, "photos"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		img := imgcodec.NewImage(384, 128)
		for p := range img.Pix {
			img.Pix[p] = byte(80 + (i*7919+p*p/3)%61)
		}
		for face := range 1 + i%4 {
			detecttest.Draw(img, 40+96*face, 56)
		}
		writeFile(t, filepath.Join(root, "photos", fmt.Sprintf("%02d.png", i)), string(imgcodec.EncodePNG(img)))
	}
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		return job{dataset, []string{"ingest", "--source", "folder=" + filepath.Join(root, "photos"), "--detector", "scrfd=" + model,
			"--faces", "all", "--min-sharpness", "1", "--split", "train=0.8,val=0.2", "--out", dataset, "--shard-rows", "3"}}
	}, sameDataset)
}

func TestKilledPrecompute(t *testing.T) {
	source, model := "folder="+alignedFaces(t, 6, 8), tinyTeacher(t)
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		expect(t, exitDone, "ingest", "--source", source, "--out", dataset, "--shard-rows", "3")
		return job{dataset, []string{"precompute-teacher", dataset, "--teacher", model, "--flip"}}
	}, sameDataset)
}

// TestKilledReuse: half of the crops are copied, in other shards than they lie in there.
func TestKilledReuse(t *testing.T) {
	source, model := "folder="+alignedFaces(t, 6, 8), tinyTeacher(t)
	donor := ingestAligned(t, 3, 8)
	expect(t, exitDone, "precompute-teacher", donor, "--teacher", model, "--flip")
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		expect(t, exitDone, "ingest", "--source", source, "--out", dataset, "--shard-rows", "3")
		return job{dataset, []string{"precompute-teacher", dataset, "--teacher", model, "--flip", "--reuse", donor}}
	}, sameDataset)
}

func TestKilledAppend(t *testing.T) {
	first, second := "folder="+alignedFaces(t, 4, 5), "folder="+alignedFaces(t, 6, 8)
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		expect(t, exitDone, "ingest", "--source", first, "--out", dataset, "--shard-rows", "3")
		return job{dataset, []string{"ingest", "--source", second, "--key-prefix", "more/", "--out", dataset, "--shard-rows", "3"}}
	}, sameDataset)
}

func TestKilledMerge(t *testing.T) {
	var inputs []string
	for _, n := range []int{3, 5} { // the second has all people of the first
		dataset := ingestAligned(t, n, 8)
		precompute(t, dataset)
		inputs = append(inputs, dataset)
	}
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "merged.ds")
		return job{dataset, append([]string{"merge", "--out", dataset, "--shard-rows", "3"}, inputs...)}
	}, sameDataset)
}

// TestKilledPlanMerge: whatever a merge has taken over, tidied up and cleaned, the next goes on.
func TestKilledPlanMerge(t *testing.T) {
	source, model := "folder="+alignedFaces(t, 6, 8), tinyTeacher(t)
	for verb, plan := range map[string]func(dataset, plan string){
		"precompute-teacher": func(dataset, plan string) {
			expect(t, exitDone, "ingest", "--source", source, "--out", dataset, "--shard-rows", "3")
			expect(t, exitDone, "plan", "precompute-teacher", dataset, "--teacher", model, "--flip", "--plan", plan)
		},
		"ingest": func(dataset, plan string) {
			expect(t, exitDone, "plan", "ingest", "--source", source, "--out", dataset, "--shard-rows", "3", "--plan", plan, "--task-items", "7")
		},
	} {
		t.Run(verb, func(t *testing.T) {
			killAtRandom(t, func() job {
				dir := t.TempDir()
				dataset, folder := filepath.Join(dir, "faces.ds"), filepath.Join(dir, "job")
				plan(dataset, folder)
				expect(t, exitDone, verb, "--plan", folder, "--worker", "0/1")
				return job{dir, []string{"merge", "--plan", folder, "--clean"}}
			}, func(t *testing.T, whole, killed string) {
				t.Helper()
				sameDataset(t, filepath.Join(whole, "faces.ds"), filepath.Join(killed, "faces.ds"))
				if left, err := os.ReadDir(filepath.Join(killed, "job", "parts")); err != nil || len(left) > 0 {
					t.Errorf("left %v, %v", left, err)
				}
			})
		})
	}
}

func TestKilledIndexRebuild(t *testing.T) {
	source := "folder=" + alignedFaces(t, 6, 8)
	killAtRandom(t, func() job {
		dataset := filepath.Join(t.TempDir(), "faces.ds")
		expect(t, exitDone, "ingest", "--source", source, "--out", dataset, "--shard-rows", "3")
		return job{dataset, []string{"index", "rebuild", dataset}}
	}, func(t *testing.T, whole, killed string) {
		t.Helper()
		sameDataset(t, whole, killed)
		if notes := expect(t, exitDone, "check", killed, "--read-data", "--json").object(t)["notes"]; notes != nil {
			t.Errorf("after kills: %v", notes)
		}
	})
}

// TestKilledExport: there is nothing under the export's name, or all of it.
func TestKilledExport(t *testing.T) {
	dataset := ingestAligned(t, 6, 8)
	killAtRandom(t, func() job {
		out := filepath.Join(t.TempDir(), "crops")
		return job{out, []string{"export", dataset, "--to", "folder", "--out", out}}
	}, func(t *testing.T, whole, killed string) {
		t.Helper()
		sameFiles(t, whole, killed)
		if rest, err := os.ReadDir(filepath.Dir(killed)); err != nil || len(rest) != 1 {
			t.Errorf("beside the export there is %v: %v", rest, err)
		}
	})
}

func TestKilledDistill(t *testing.T) {
	dataset := ingestAligned(t, 4, 6)
	precompute(t, dataset)
	killAtRandom(t, func() job {
		out := filepath.Join(t.TempDir(), "run")
		return job{out, distillArgs(dataset, out, "--epochs", "6", "--loss", "unified", "--checkpoint-every", "3",
			"--batch", "3", "--accumulate", "2", "--ema", "0.9")}
	}, func(t *testing.T, whole, killed string) {
		t.Helper()
		sameCurve(t, whole, killed)
		name := filepath.Join("checkpoints", "step-000000024.safetensors")
		if !bytes.Equal(contents(t, whole)[name], contents(t, killed)[name]) {
			t.Error("the final checkpoints differ after kills")
		}
	})
}

// sameCurve compares the losses of two runs of 6 epochs of 4 steps, bit by bit.
func sameCurve(t *testing.T, whole, killed string) {
	t.Helper()
	want, got := lossCurve(t, whole), lossCurve(t, killed)
	if len(want) != 24 || len(got) != 24 {
		t.Errorf("%d steps are logged without kills, %d with, want 24", len(want), len(got))
	}
	for step, loss := range want {
		if got[step] != loss {
			t.Errorf("step %v: loss %v after kills, %v without", step, got[step], loss)
		}
	}
}

// lossCurve reads the losses of a run by step; a step must be logged once.
func lossCurve(t *testing.T, run string) map[int]float64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(run, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	curve := map[int]float64{}
	for line := range strings.Lines(string(data)) {
		var l struct {
			Step int
			Loss *float64
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if l.Loss == nil {
			continue
		}
		if _, twice := curve[l.Step]; twice {
			t.Errorf("step %d is logged twice", l.Step)
		}
		curve[l.Step] = *l.Loss
	}
	return curve
}

// sameDataset compares all files but locks, which may name who was killed, the index, which
// is derived and holds Badger's own numbering of its files, and the records of runs, which
// hold times; and looks for damage.
func sameDataset(t *testing.T, whole, killed string) {
	t.Helper()
	sameFiles(t, whole, killed)
	expect(t, exitDone, "check", killed, "--read-data")
}

func sameFiles(t *testing.T, whole, killed string) {
	t.Helper()
	want, got := contents(t, whole), contents(t, killed)
	for name, data := range want {
		if other, there := got[name]; !there {
			t.Errorf("%s is missing after kills", name)
		} else if !bytes.Equal(data, other) {
			t.Errorf("%s differs after kills", name)
		}
	}
	for name := range got {
		if _, there := want[name]; !there {
			t.Errorf("%s is left over after kills", name)
		}
	}
}

func contents(t *testing.T, root string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "index" || e.IsDir() && e.Name() == "runs" {
			return fs.SkipDir
		}
		if e.IsDir() || strings.HasPrefix(e.Name(), ".lock") {
			return nil
		}
		files[name], err = os.ReadFile(filepath.Join(root, name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// begin starts the program and waits until a file exists, by which the run is known
// to be in the middle of its work.
func begin(t *testing.T, milestone string, args ...string) (c *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	return beginWhen(t, func() bool {
		found, _ := filepath.Glob(milestone)
		return len(found) > 0
	}, args...)
}

// beginWhen starts the program and waits until it is so far.
func beginWhen(t *testing.T, soFar func() bool, args ...string) (c *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	c, stderr = exec.Command(program, args...), new(bytes.Buffer)
	c.Stderr = stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		if soFar() {
			return c, stderr
		}
		if time.Now().After(deadline) {
			_ = c.Process.Kill()
			t.Fatalf("pipe %v did not get so far: %s", args, stderr)
		}
		time.Sleep(time.Millisecond)
	}
}

// stopped sends a signal and wants the exit status that means "go on later".
func stopped(t *testing.T, c *exec.Cmd, stderr *bytes.Buffer, signal syscall.Signal) {
	t.Helper()
	if err := c.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // the status tells
	if code := c.ProcessState.ExitCode(); code != exitStopped {
		t.Errorf("after %v: %v, want status %d\n%s", signal, c.ProcessState, exitStopped, stderr)
	}
}

// saysOnce wants it said once, and in words for a user, that the same command goes on.
func saysOnce(t *testing.T, stderr fmt.Stringer) {
	t.Helper()
	if said := strings.Count(stderr.String(), stop.GoOn); said != 1 {
		t.Errorf("what to do is said %d times:\n%s", said, stderr)
	}
	if strings.Contains(stderr.String(), context.Canceled.Error()) {
		t.Errorf("a stop reads\n%s", stderr)
	}
}

// A crash in the middle of the work is no wrong usage, also not for launch's caller, and what
// is on disk is whole.
func TestCrashIsNoWrongUsage(t *testing.T) {
	dataset := filepath.Join(t.TempDir(), "faces.ds")
	ingest := []string{"ingest", "--source", "folder=" + alignedFaces(t, 8, 10), "--out", dataset, "--shard-rows", "1"}
	c, stderr := begin(t, filepath.Join(dataset, "crops", "000000.json"), ingest...)
	if err := c.Process.Signal(syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // its state tells
	if !crash.Of(c.ProcessState) || !strings.Contains(stderr.String(), "SIGSEGV") {
		t.Errorf("%v: %.200s", c.ProcessState, stderr)
	}
	expect(t, exitDone, ingest...)
	expect(t, exitDone, "check", dataset, "--read-data")
}

// A wait for another process that builds the index is stopped like work.
func TestStopWaitingForIndex(t *testing.T) {
	dataset := ingestAligned(t, 4, 4)
	if err := os.RemoveAll(filepath.Join(dataset, "index")); err != nil {
		t.Fatal(err)
	}
	lock, err := durable.TryLock(filepath.Join(dataset, ".lock-index"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	pairs := filepath.Join(t.TempDir(), "pairs.txt")
	writeFile(t, pairs, "a.png b.png 1\na.png c.png 0\n")
	for _, args := range [][]string{
		{"eval", "--model", tinyTeacher(t), "--dataset", dataset, "--pairs", pairs},
		{"ingest", "--source", "folder=" + alignedFaces(t, 2, 2), "--key-prefix", "more/", "--out", dataset},
	} {
		begun := time.Now()
		c, stderr := beginWhen(t, func() bool { return time.Since(begun) > time.Second }, args...)
		stopped(t, c, stderr, syscall.SIGTERM)
	}
}

func TestStopAndGoOn(t *testing.T) {
	source, model := "folder="+alignedFaces(t, 8, 10), tinyTeacher(t)
	dataset, run := filepath.Join(t.TempDir(), "faces.ds"), filepath.Join(t.TempDir(), "run")
	for _, verb := range []struct {
		milestone string
		args      []string
	}{
		{filepath.Join(dataset, "crops", "000000.json"), []string{"ingest", "--source", source, "--out", dataset, "--shard-rows", "1"}},
		{filepath.Join(dataset, "teachers", "tiny", "000000.json"), []string{"precompute-teacher", dataset, "--teacher", model, "--flip"}},
		{filepath.Join(run, "checkpoints", "*"), distillArgs(dataset, run, "--epochs", "4", "--checkpoint-every", "2")},
	} {
		c, stderr := begin(t, verb.milestone, verb.args...)
		stopped(t, c, stderr, syscall.SIGTERM)
		saysOnce(t, stderr)
		if verb.args[0] == "precompute-teacher" && !strings.Contains(stderr.String(), "pipe: stopped; the finished shards are kept, "+stop.GoOn+"\n") {
			t.Errorf("a run that was stopped says\n%s", stderr)
		}
		o := expect(t, exitDone, append(verb.args, "--json")...)
		o.object(t)
	}
	expect(t, exitDone, "check", dataset, "--read-data")

	// A worker is told by a scheduler that its time is up.
	plan := filepath.Join(t.TempDir(), "job")
	expect(t, exitDone, "plan", "precompute-teacher", dataset, "--teacher", model, "--flip", "--name", "shared", "--plan", plan)
	worker := []string{"precompute-teacher", "--plan", plan, "--worker", "0/1"}
	c, stderr := begin(t, filepath.Join(plan, "parts", "000000.json"), worker...)
	stopped(t, c, stderr, syscall.SIGUSR1)
	saysOnce(t, stderr)
	expect(t, exitFailed, "merge", "--plan", plan)
	expect(t, exitDone, worker...)
	expect(t, exitDone, "merge", "--plan", plan)
}

// A scheduler signals a worker and its parent, which passes it on: many of the same are one,
// up to the process' last moment.
func TestStoppedManyTimesAtOnce(t *testing.T) {
	dataset, model := ingestAligned(t, 8, 10), tinyTeacher(t)
	args := []string{"precompute-teacher", dataset, "--teacher", model, "--flip", "--no-self-test", "--batch", "1"}
	c, stderr := begin(t, filepath.Join(dataset, "teachers", "tiny", ".tmp-*"), args...)
	waited := make(chan error, 1)
	go func() { waited <- c.Wait() }()
	for ended := false; !ended; {
		select {
		case <-waited: // the status tells
			ended = true
		default:
			if err := c.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
		}
	}
	if code := c.ProcessState.ExitCode(); code != exitStopped && code != exitDone {
		t.Errorf("%v\n%s", c.ProcessState, stderr)
	}
}

// Who did not say --resume is told to.
func TestStoppedWithoutResume(t *testing.T) {
	dataset := ingestAligned(t, 4, 6)
	precompute(t, dataset)
	for name, c := range map[string]struct {
		args   []string
		resume string
		say    string
	}{
		"distill":              {nil, "--resume=false", "run again with --resume to go on"},
		"distill that resumes": {nil, "--resume", "run the same command again to go on"},
		"launch":               {[]string{"launch", "--nproc", "2", "--"}, "--resume=false", "run again with --resume to go on"},
	} {
		t.Run(name, func(t *testing.T) {
			run := filepath.Join(t.TempDir(), "run")
			args := append(c.args, distillArgs(dataset, run, "--epochs", "1000", "--checkpoint-every", "2", c.resume)...)
			command, stderr := begin(t, filepath.Join(run, "checkpoints", "*"), args...)
			stopped(t, command, stderr, syscall.SIGTERM)
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			for _, line := range lines {
				if strings.Contains(line, "to go on") != strings.Contains(line, c.say) || strings.Contains(line, context.Canceled.Error()) {
					t.Errorf("it says %q", line)
				}
			}
			if last := lines[len(lines)-1]; !strings.Contains(last, c.say) {
				t.Errorf("the last line is %q", last)
			}
		})
	}
}

// A scheduler that is about to end a job sends either signal. The step in flight is
// finished, a checkpoint says so, and what goes on is the run that nobody stopped.
func TestStoppedDistill(t *testing.T) {
	dataset := ingestAligned(t, 4, 6)
	precompute(t, dataset)
	args := func(out string, more ...string) []string {
		return distillArgs(dataset, out, append([]string{"--epochs", "6", "--loss", "unified", "--batch", "3",
			"--accumulate", "2", "--ema", "0.9", "--checkpoint-every", "1000"}, more...)...)
	}
	whole, run := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "run")
	expect(t, exitDone, args(whole)...)
	for i, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR1} {
		before := len(journal(t, run))
		c, stderr := beginWhen(t, func() bool { return len(journal(t, run)) >= before+2 }, args(run, "--workers", strconv.Itoa(1+i))...)
		stopped(t, c, stderr, signal)
		steps := len(journal(t, run))
		if steps == 24 {
			t.Fatalf("after %v: the run was at its end", signal)
		}
		newest := filepath.Join(run, "checkpoints", fmt.Sprintf("step-%09d.safetensors", steps))
		if _, err := os.Stat(newest); err != nil {
			t.Errorf("after %v: %v", signal, err)
		}
	}
	expect(t, exitDone, args(run)...)
	sameCurve(t, whole, run)
	name := filepath.Join("checkpoints", "step-000000024.safetensors")
	if !bytes.Equal(contents(t, whole)[name], contents(t, run)[name]) {
		t.Error("the final checkpoints differ")
	}
}

// journal is the lines of a run's journal, which may not exist yet.
func journal(t *testing.T, run string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(run, "metrics.jsonl"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(data)))
}

// TestTwoRunsAtOnce: the second is refused and says why; the first does not notice.
func TestTwoRunsAtOnce(t *testing.T) {
	source := "folder=" + alignedFaces(t, 8, 10)
	dataset := filepath.Join(t.TempDir(), "faces.ds")
	args := []string{"ingest", "--source", source, "--out", dataset, "--shard-rows", "1"}
	c, stderr := begin(t, filepath.Join(dataset, "crops", "000000.json"), args...)
	o := pipe(t, args...)
	if say := fmt.Sprintf("%s: in use by another run (process %d on ", filepath.Join(dataset, ".lock"), c.Process.Pid); o.code != exitFailed || !strings.Contains(o.stderr, say) {
		t.Errorf("the second run ended with %d and said %q", o.code, o.stderr)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("the first run: %v\n%s", err, stderr)
	}
	if rows := number(t, expect(t, exitDone, append(args, "--json")...).object(t), "rows"); fmt.Sprint(rows) != "80" {
		t.Errorf("%v crops of 80", rows)
	}
}
