package crash

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// asked has a process of these tests end in a certain way.
const asked = "PIPE_TEST_CRASH"

func TestMain(m *testing.M) {
	if how := os.Getenv(asked); how != "" {
		os.Exit(Told(func() int { return end(how) }))
	}
	os.Exit(m.Run())
}

// end ends the process, or returns an exit status.
func end(how string) int {
	switch how {
	case "panic":
		panic("as asked")
	case "goroutine":
		go panic("as asked")
		select {}
	case "stack":
		debug.SetMaxStack(1 << 20)
		return endless(1)
	case "maps":
		writeAtOnce()
	case "memory":
		limit := syscall.Rlimit{Cur: 4 << 30, Max: 4 << 30}
		if err := syscall.Setrlimit(syscall.RLIMIT_AS, &limit); err != nil {
			return 1
		}
		return len(make([]byte, 1<<40))
	case "access":
		return int(*(*byte)(unsafe.Add(nil, 1<<40)))
	case "wait":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("waiting")
		<-stop
		return 75
	case "usage":
		return 2
	}
	return 0
}

func endless(n int) int {
	if n == 0 {
		return 0
	}
	return n + endless(n+1)
}

func writeAtOnce() {
	m := map[int]int{}
	for range 4 {
		go func() {
			for i := 0; ; i++ {
				m[i%8] = i
			}
		}()
	}
	select {}
}

// process is one of these tests that ends in a certain way, in a folder of its own.
func process(t *testing.T, how string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env, c.Dir = append(os.Environ(), asked+"="+how), t.TempDir()
	return c
}

func finished(t *testing.T, c *exec.Cmd) (said string) {
	t.Helper()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String()
}

// Whatever a crash comes from, the process has crashed for who waits for it, says why, and
// leaves no core file.
func TestCrash(t *testing.T) {
	for how, says := range map[string]string{"panic": "as asked", "goroutine": "as asked", "stack": "stack", "maps": "concurrent map writes",
		"memory": "memory", "access": "fault"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c := process(t, how)
			said := finished(t, c)
			if !Of(c.ProcessState) || ended(c.ProcessState) != Status || !strings.Contains(said, says) {
				t.Errorf("%v: %.500s", c.ProcessState, said)
			}
			if left, err := filepath.Glob(filepath.Join(c.Dir, "*")); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
}

func TestNoCrash(t *testing.T) {
	for how, status := range map[string]int{"usage": 2, "nothing": 0} {
		c := process(t, how)
		if finished(t, c); Of(c.ProcessState) || ended(c.ProcessState) != status {
			t.Errorf("%s: %v", how, c.ProcessState)
		}
	}
	if Of(nil) {
		t.Error("what did not begin has crashed")
	}
}

// A signal from outside that stands for a fault is a crash, another one is not.
func TestSignals(t *testing.T) {
	for s, status := range map[syscall.Signal]int{syscall.SIGSEGV: Status, syscall.SIGABRT: Status, syscall.SIGQUIT: Status, syscall.SIGKILL: 137, syscall.SIGTERM: 75} {
		c := process(t, "wait")
		signalled(t, c, s)
		if got := ended(c.ProcessState); got != status || Of(c.ProcessState) != (status == Status) {
			t.Errorf("%v: status %d, %v", s, got, c.ProcessState)
		}
	}
}

// signalled runs a process that waits, and sends it a signal.
func signalled(t *testing.T, c *exec.Cmd, s syscall.Signal) {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, c)
	if n, err := out.Read(make([]byte, 64)); n == 0 {
		t.Fatal(err)
	}
	if err := c.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // its state tells
}

// start skips the test where nobody may make a container.
func start(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if err := c.Start(); errors.Is(err, syscall.EPERM) && c.SysProcAttr != nil {
		t.Skip("no namespaces:", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// The first process of a container tells the same as any.
func TestContained(t *testing.T) {
	contain := func(t *testing.T, how string) *exec.Cmd {
		c := process(t, how)
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		if os.Getuid() != 0 {
			c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		}
		return c
	}
	for how, status := range map[string]int{"panic": Status, "access": Status, "usage": 2, "nothing": 0} {
		c := contain(t, how)
		start(t, c)
		_ = c.Wait() // its state tells
		if got := c.ProcessState.ExitCode(); got != status {
			t.Errorf("%s: %v, want status %d", how, c.ProcessState, status)
		}
	}
	begun := time.Now()
	c := contain(t, "wait")
	signalled(t, c, syscall.SIGTERM)
	if got := c.ProcessState.ExitCode(); got != 75 || time.Since(begun) > time.Minute {
		t.Errorf("after SIGTERM: %v", c.ProcessState)
	}
}
