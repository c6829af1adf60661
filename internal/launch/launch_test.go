package launch

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"facepipe/internal/crash"
)

// shell runs a script as ranks.
func shell(ctx context.Context, n int, script string) (out, errs string, err error) {
	var stdout, stderr bytes.Buffer
	err = Run(ctx, Options{Program: "/bin/sh", Args: []string{"-c", script}, Processes: n, Nodes: 1, Cores: 8,
		Stdout: &stdout, Stderr: &stderr})
	return stdout.String(), stderr.String(), err
}

func sorted(text string) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	slices.Sort(lines)
	return lines
}

func TestEnvironment(t *testing.T) {
	for _, name := range []string{"GOMAXPROCS", "OMP_NUM_THREADS"} {
		if _, set := os.LookupEnv(name); set {
			t.Setenv(name, "") // restored afterwards
			os.Unsetenv(name)
		}
	}
	out, errs, err := shell(t.Context(), 2, `echo $RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR $GOMAXPROCS $OMP_NUM_THREADS
		test $MASTER_PORT -gt 0 || exit 1; printf 'no end' >&2`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sorted(out), []string{"[0] 0 2 0 2 127.0.0.1 4 4", "[1] 1 2 1 2 127.0.0.1 4 4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := sorted(errs), []string{"[0] no end", "[1] no end"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The ranks of the second of three machines, whose users have set the threads.
func TestEnvironmentOfSeveralMachines(t *testing.T) {
	t.Setenv("GOMAXPROCS", "3")
	t.Setenv("OMP_NUM_THREADS", "5")
	var out bytes.Buffer
	err := Run(t.Context(), Options{Program: "/bin/sh", Args: []string{"-c", "echo $RANK $WORLD_SIZE $LOCAL_RANK $MASTER_ADDR:$MASTER_PORT $GOMAXPROCS $OMP_NUM_THREADS"},
		Processes: 2, Nodes: 3, Node: 1, Host: "head", Cores: 8, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sorted(out.String()), []string{"[2] 2 6 0 head:29500 3 5", "[3] 3 6 1 head:29500 3 5"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Of several ranks that fail the first one's status counts, and nobody waits for a rank
// that would go on for long.
func TestFailure(t *testing.T) {
	begun := time.Now()
	_, _, err := shell(t.Context(), 3, `test $RANK = 1 && exit 4; trap 'exit 1' TERM; while :; do sleep 0.05; done`)
	var failed *ExitError
	if !errors.As(err, &failed) || failed.Rank != 1 || failed.Status != 4 || time.Since(begun) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
}

func TestKilledRank(t *testing.T) {
	_, _, err := shell(t.Context(), 2, `test $RANK = 0 && kill -9 $$; exec sleep 60`)
	var failed *ExitError
	if !errors.As(err, &failed) || failed.Rank != 0 || failed.Status != 1 || !strings.Contains(failed.Error(), "killed") {
		t.Errorf("%v", err)
	}
}

// A rank that crashes is none that was used in a wrong way, whichever signal it was.
func TestCrashedRank(t *testing.T) {
	for _, name := range []string{"ABRT", "SEGV"} {
		_, _, err := shell(t.Context(), 2, `ulimit -c 0; test $RANK = 1 && kill -`+name+` $$; exec sleep 60`)
		var failed *ExitError
		if !errors.As(err, &failed) || failed.Rank != 1 || failed.Status != crash.Status {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who is asked to stop asks each rank once, and waits for all.
func TestStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ready := &watcher{want: 2, reached: cancel}
	err := Run(ctx, Options{Program: "/bin/sh", Args: []string{"-c", `trap 'echo asked; exit 75' TERM; echo ready; while :; do sleep 0.05; done`},
		Processes: 2, Nodes: 1, Cores: 1, Stdout: ready, Stderr: ready})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got, want := sorted(ready.String()), []string{"[0] asked", "[0] ready", "[1] asked", "[1] ready"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// One rank that was asked by somebody else is enough.
func TestOneRankIsStopped(t *testing.T) {
	_, _, err := shell(t.Context(), 2, `trap 'exit 75' TERM; test $RANK = 1 && kill -TERM $$; while :; do sleep 0.05; done`)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// So is one that stops while the other does not listen yet.
func TestStopBeforeARankListens(t *testing.T) {
	_, _, err := shell(t.Context(), 2, `test $RANK = 1 && exit 75; exec sleep 60`)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestProgramThatIsNone(t *testing.T) {
	if err := Run(t.Context(), Options{Program: "/does/not/exist", Processes: 2, Nodes: 1}); err == nil || !strings.Contains(err.Error(), "rank 0") {
		t.Error(err)
	}
}

// The launcher's own end, even by SIGKILL, is that of its ranks.
func TestKilledLauncher(t *testing.T) {
	if os.Getenv("PIPE_TEST_LAUNCHER") != "" {
		_ = Run(t.Context(), Options{Program: "/bin/sh", Args: []string{"-c", `echo $$; exec sleep 60`},
			Processes: 1, Nodes: 1, Stdout: os.Stdout, Stderr: os.Stderr})
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	c := exec.Command(os.Args[0], "-test.run=^TestKilledLauncher$")
	c.Env = append(os.Environ(), "PIPE_TEST_LAUNCHER=1")
	begun := make(chan struct{})
	out := &watcher{want: 1, reached: func() { close(begun) }}
	c.Stdout = out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // killed, as the state tells
	if c.ProcessState.Exited() {
		t.Fatalf("it ended by itself: %v", c.ProcessState)
	}
	pid := strings.TrimSpace(strings.TrimPrefix(out.String(), "[0] "))
	for deadline := time.Now().Add(10 * time.Second); runs(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %s goes on", pid)
		}
	}
}

// runs is whether a process is there, and not only its end to be taken notice of.
func runs(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}

// watcher collects output and calls reached after so many lines.
type watcher struct {
	mu      sync.Mutex
	text    bytes.Buffer
	want    int
	reached func()
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := bytes.Count(w.text.Bytes(), []byte("\n"))
	w.text.Write(p)
	if after := bytes.Count(w.text.Bytes(), []byte("\n")); before < w.want && after >= w.want {
		w.reached()
	}
	return len(p), nil
}

func (w *watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	l := &lineWriter{w: &out, prefix: "> ", lock: &lineLock{}}
	for _, part := range []string{"a", "b\nc\n\n", "", "d", strings.Repeat("x", longestLine)} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	l.flush()
	want := "> ab\n> c\n> \n> d" + strings.Repeat("x", longestLine) + "\n"
	if out.String() != want {
		t.Errorf("%.40q", out.String())
	}
}
