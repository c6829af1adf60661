package main

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"facepipe/internal/durable"
)

// smallRun is a distill of five epochs of two steps of sixteen crops.
//
// Its learning rate is low. From random weights, training doubles a rounding error many
// times within a step: on one rank, weights that differ in their last bit give losses
// that differ by a hundredth after ten steps at the usual rate, and by 1e-6 at this one.
// It still moves the losses by hundreds of times the tolerance.
func smallRun(dataset, out string, more ...string) []string {
	return append([]string{"distill", dataset, "--teacher", "tiny", "--width", "0.125", "--dim", "32", "--threads", "1",
		"--batch", "16", "--epochs", "5", "--lr", "2e-5", "--warmup", "0", "--schedule", "constant", "--log-every", "1",
		"--checkpoint-every", "1", "--keep-checkpoints", "100", "--sync-batch-norm",
		"--out", out, "--resume"}, more...)
}

// asRanks has as many ranks run the command.
func asRanks(n int, args []string) []string {
	return append([]string{"launch", "--nproc", strconv.Itoa(n), "--"}, args...)
}

// facesForRanks is a dataset of 32 crops with a teacher.
func facesForRanks(t *testing.T) (dataset string) {
	t.Helper()
	dataset = ingestAligned(t, 8, 4)
	precompute(t, dataset)
	return dataset
}

// closeCurves compares two runs' losses to so many parts of them.
func closeCurves(t *testing.T, want, got map[int]float64, steps int, tolerance float64) {
	t.Helper()
	if len(want) != steps || len(got) != steps {
		t.Fatalf("%d and %d steps are logged, want %d", len(want), len(got), steps)
	}
	worst := 0.0
	for _, step := range slices.Sorted(maps.Keys(want)) {
		apart := math.Abs(got[step]-want[step]) / math.Abs(want[step])
		worst = max(worst, apart)
		if !(apart <= tolerance) {
			t.Errorf("step %d: loss %v, want %v: %.2g of it apart", step, got[step], want[step], apart)
		}
	}
	t.Logf("losses are at most %.2g of them apart", worst)
}

// Two ranks with one global batch and synchronised batch normalisation do what one does,
// whatever the loss compares and remembers.
func TestTwoRanksEqualOne(t *testing.T) {
	dataset := facesForRanks(t)
	for _, loss := range [][]string{
		{"--loss", "cosine", "--lr", "1e-4"},
		{"--loss", "arcface", "--dim", "16", "--lr", "5e-6"},
		{"--loss", "adaface", "--config", sampledConfig(t), "--lr", "5e-6"},
		{"--loss", "unified", "--config", unifiedConfig(t), "--lr", "1e-5"},
	} {
		t.Run(loss[1], func(t *testing.T) {
			dir := t.TempDir()
			one, two, still := filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "still")
			expect(t, exitDone, smallRun(dataset, one, loss...)...)
			o := expect(t, exitDone, asRanks(2, smallRun(dataset, two, loss...))...)
			if !strings.Contains(o.stdout, "[0] ") || strings.Contains(o.stdout, "[1] ") {
				t.Errorf("not rank 0 alone printed the summary: %s", o.stdout)
			}
			closeCurves(t, lossCurve(t, one), lossCurve(t, two), 10, 1e-5)
			expect(t, exitDone, smallRun(dataset, still, append(loss, "--lr", "1e-12")...)...)
			if moved := math.Abs(lossCurve(t, still)[10]/lossCurve(t, one)[10] - 1); moved < 20*1e-5 {
				t.Errorf("ten steps moved the loss by only %.2g of it", moved)
			} else {
				t.Logf("ten steps moved the loss by %.2g of it", moved)
			}
			for _, name := range []string{"student.onnx", "summary.json", "run.json"} {
				if _, err := os.Stat(filepath.Join(two, name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// unifiedConfig has the bank and the mining take part within few steps.
func unifiedConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "distill.yaml")
	writeFile(t, path, "loss:\n  iled: {warmup: 2}\n  rpsd: {bank: 24, negatives: 8, ramp: 2}\n")
	return path
}

// sampledConfig has a step take some of the identities, other ones each time.
func sampledConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "distill.yaml")
	writeFile(t, path, "loss:\n  sample: 0.9\n")
	return path
}

// A run that is killed goes on as another number of ranks, and back.
func TestKilledRanksGoOnAsOthers(t *testing.T) {
	dataset := facesForRanks(t)
	whole, changed := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "changed")
	config := []string{"--loss", "unified", "--config", unifiedConfig(t), "--epochs", "8", "--lr", "5e-6"}
	expect(t, exitDone, smallRun(dataset, whole, config...)...)
	args := smallRun(dataset, changed, config...)
	for i, ranks := range []int{1, 2} {
		c, _ := begin(t, filepath.Join(changed, "checkpoints", fmt.Sprintf("step-%09d*", 3+4*i)), asRanks(ranks, args)...)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // killed
		// The ranks end with the launcher, but not before it.
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			lock, err := durable.TryLock(filepath.Join(changed, ".lock"))
			if err == nil {
				_ = lock.Unlock()
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	summary := expect(t, exitDone, append(args, "--json")...).object(t)
	if at := number(t, summary, "resumed_at"); at < 7 {
		t.Errorf("the last process went on after step %v", at)
	}
	closeCurves(t, lossCurve(t, whole), lossCurve(t, changed), 16, 1e-5)
}

// The same run of two ranks twice, once stopped on the way by a signal to one of them,
// is the same bit by bit.
func TestStoppedRanks(t *testing.T) {
	dataset := facesForRanks(t)
	whole, parted, config := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parted"), sampledConfig(t)
	run := func(out string) []string {
		return smallRun(dataset, out, "--loss", "adaface", "--config", config, "--epochs", "12")
	}
	expect(t, exitDone, asRanks(2, run(whole))...)

	// Without the launcher, so that only rank 1 is told.
	ranks := startRanks(t, 2, run(parted))
	waitFor(t, filepath.Join(parted, "checkpoints", "*"))
	if err := ranks[1].Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for rank, c := range ranks {
		_ = c.Wait() // the status tells
		if code := c.ProcessState.ExitCode(); code != exitStopped {
			t.Errorf("rank %d: %v, want status %d\n%s", rank, c.ProcessState, exitStopped, c.Stderr)
		}
	}
	expect(t, exitDone, asRanks(2, run(parted))...)
	sameCurve(t, whole, parted)
}

// liveLog is what a process says, to be read while it runs.
type liveLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *liveLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *liveLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startRanks begins ranks by torchrun's environment.
func startRanks(t *testing.T, n int, args []string) []*exec.Cmd {
	t.Helper()
	port := freePort(t)
	var ranks []*exec.Cmd
	for rank := range n {
		c := exec.Command(program, args...)
		c.Env = append(os.Environ(), rankEnvironment(rank, n, port)...)
		c.Stderr = new(liveLog)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ranks = append(ranks, c)
	}
	return ranks
}

func rankEnvironment(rank, size, port int) []string {
	return []string{fmt.Sprintf("RANK=%d", rank), fmt.Sprintf("WORLD_SIZE=%d", size), fmt.Sprintf("LOCAL_RANK=%d", rank),
		"MASTER_ADDR=127.0.0.1", fmt.Sprintf("MASTER_PORT=%d", port)}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func waitFor(t *testing.T, milestone string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if found, _ := filepath.Glob(milestone); len(found) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not appear", milestone)
		}
	}
}

// A rank that dies takes the others with it, and soon.
func TestRankDies(t *testing.T) {
	dataset := facesForRanks(t)
	out := filepath.Join(t.TempDir(), "run")
	ranks := startRanks(t, 2, smallRun(dataset, out, "--loss", "cosine", "--epochs", "10000"))
	waitFor(t, filepath.Join(out, "checkpoints", "*"))
	dying := rand.IntN(2)
	if err := ranks[dying].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for rank, c := range ranks {
		_ = c.Wait() // the status tells
		if rank == dying {
			continue
		}
		if code := c.ProcessState.ExitCode(); code != exitFailed || time.Since(begun) > 20*time.Second {
			t.Errorf("rank %d after %v: %v\n%s", rank, time.Since(begun), c.ProcessState, c.Stderr)
		}
		if text := fmt.Sprint(c.Stderr); !strings.Contains(text, "another rank") {
			t.Errorf("rank %d says %q", rank, text)
		}
	}
}

// Ranks that are alone end after their time, and name the address.
func TestNobodyAtMaster(t *testing.T) {
	dataset := facesForRanks(t)
	port := freePort(t)
	for rank, want := range []string{
		fmt.Sprintf("rank 0 of 2: only 1 of 2 ranks came to 127.0.0.1:%d within 1s; missing: 1\n", port),
		fmt.Sprintf("rank 1 of 2: timed out after 1s: no rank 0 at 127.0.0.1:%d: dial tcp", port),
	} {
		c := exec.Command(program, smallRun(dataset, filepath.Join(t.TempDir(), "run"), "--rendezvous-timeout", "1s")...)
		c.Env = append(os.Environ(), rankEnvironment(rank, 2, port)...)
		if o := finished(t, c); o.code != exitFailed || !strings.Contains(o.stderr, want) {
			t.Errorf("rank %d ended with %d: %s", rank, o.code, o.stderr)
		}
	}
}

// Ranks that were told different things refuse, and name one of them.
func TestRanksDisagree(t *testing.T) {
	dataset, other := facesForRanks(t), facesForRanks(t)
	expect(t, exitDone, "ingest", "--source", "folder="+alignedFaces(t, 9, 4), "--out", other)
	precompute(t, other)
	pairs := pairsFile(t, 8, 4)
	for _, c := range []struct {
		name string
		args [2][]string
		want string
	}{
		{"settings", [2][]string{smallRun(dataset, "OUT", "--lr", "0.1"), smallRun(dataset, "OUT", "--lr", "0.2")}, "options.lr"},
		{"validation", [2][]string{smallRun(dataset, "OUT", "--val-pairs", pairs), smallRun(dataset, "OUT")}, "another val_pairs"},
		{"its epochs", [2][]string{smallRun(dataset, "OUT", "--val-pairs", pairs), smallRun(dataset, "OUT", "--val-pairs", pairs, "--validate-every", "2")}, "another validate_every"},
		{"datasets", [2][]string{smallRun(dataset, "OUT"), smallRun(other, "OUT")}, "has the dataset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, port := filepath.Join(t.TempDir(), "run"), freePort(t)
			done := make(chan outcome, 2)
			for rank, args := range c.args {
				args = slices.Clone(args)
				args[slices.Index(args, "OUT")] = out
				cmd := exec.Command(program, args...)
				cmd.Env = append(os.Environ(), rankEnvironment(rank, 2, port)...)
				go func() { done <- finished(t, cmd) }()
			}
			for range c.args {
				if o := <-done; o.code != exitUsage || !strings.Contains(o.stderr, c.want) {
					t.Errorf("status %d: %s", o.code, o.stderr)
				}
			}
		})
	}
}

func TestRanksUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		say  string
	}{
		"batch that does not divide": {asRanks(3, smallRun("d", "o")), "multiple of the 3 ranks"},
		"more ranks than rows":       {asRanks(3, smallRun("d", "o", "--batch", "2")), "2 crops for 3 ranks"},
		"one row each":               {asRanks(2, smallRun("d", "o", "--batch", "2", "--sync-batch-norm=false")), "--sync-batch-norm"},
		"no ranks":                   {asRanks(0, smallRun("d", "o")), "--nproc"},
		"another verb":               {asRanks(2, []string{"eval"}), "distill"},
		"nothing to run":             {[]string{"launch", "--nproc", "2"}, "distill"},
		"no master":                  {[]string{"launch", "--nproc", "2", "--nnodes", "2", "--", "distill"}, "--master-addr"},
		"no such machine":            {[]string{"launch", "--nproc", "2", "--node-rank", "1", "--", "distill"}, "--node-rank"},
		"no such port":               {[]string{"launch", "--nproc", "2", "--master-port", "70000", "--", "distill"}, "--master-port"},
	} {
		if o := expect(t, exitUsage, c.args...); !strings.Contains(o.stderr, c.say) {
			t.Errorf("%s: %s", name, o.stderr)
		}
	}
}

// With --json there is one object, that of rank 0, or that of the failure.
func TestLaunchPrintsJSON(t *testing.T) {
	dataset := facesForRanks(t)
	out := filepath.Join(t.TempDir(), "run")
	summary := expect(t, exitDone, asRanks(2, smallRun(dataset, out, "--json", "--epochs", "1"))...).object(t)
	if steps := number(t, summary, "steps"); steps != 2 {
		t.Errorf("%v steps", steps)
	}
	failure := expect(t, exitUsage, append([]string{"launch", "--json"}, asRanks(3, smallRun(dataset, out))[1:]...)...).object(t)
	if _, ok := failure["error"]; !ok {
		t.Errorf("%v", failure)
	}
}

// Rank 0 scores the student while the others wait.
func TestRanksWithValidation(t *testing.T) {
	dataset := facesForRanks(t)
	args := smallRun(dataset, filepath.Join(t.TempDir(), "run"), "--val-pairs", pairsFile(t, 8, 4), "--json", "--epochs", "2")
	summary := expect(t, exitDone, asRanks(2, args)...).object(t)
	figures, _ := summary["validation"].(map[string]any)
	number(t, figures, "accuracy")
}

// Norms that the file of --init has folded away get the same statistics on any number of
// ranks.
func TestRanksInitEqualsOne(t *testing.T) {
	dataset, dir := facesForRanks(t), t.TempDir()
	one, two, first := filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "first")
	expect(t, exitDone, smallRun(dataset, first, "--loss", "cosine", "--lr", "1e-2")...)
	args := []string{"--loss", "cosine", "--lr", "1e-5", "--epochs", "2", "--init", filepath.Join(first, "student.onnx")}
	expect(t, exitDone, smallRun(dataset, one, args...)...)
	expect(t, exitDone, asRanks(2, smallRun(dataset, two, args...))...)
	closeCurves(t, lossCurve(t, one), lossCurve(t, two), 4, 1e-5)
}

// A rank that is asked to stop while norms get their statistics does not leave the others:
// all stop after a step.
func TestRankStoppedInInit(t *testing.T) {
	dataset, dir := facesForRanks(t), t.TempDir()
	first, out := filepath.Join(dir, "first"), filepath.Join(dir, "run")
	expect(t, exitDone, smallRun(dataset, first, "--loss", "cosine", "--epochs", "1")...)
	args := smallRun(dataset, out, "--loss", "cosine", "--epochs", "10000", "--init", filepath.Join(first, "student.onnx"))
	ranks := startRanks(t, 2, args)
	said := func(rank int) string { return fmt.Sprint(ranks[rank].Stderr) }
	for deadline := time.Now().Add(time.Minute); !strings.Contains(said(0), "start from"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("rank 0 did not begin: %s", said(0))
		}
	}
	if err := ranks[1].Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for rank, c := range ranks {
		_ = c.Wait() // the status tells
		if code := c.ProcessState.ExitCode(); code != exitStopped {
			t.Errorf("rank %d: %v, want status %d\n%s", rank, c.ProcessState, exitStopped, said(rank))
		}
	}
}
