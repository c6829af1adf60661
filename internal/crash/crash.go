// Package crash gives the end of a program that a fault of its own brings about (a Go panic or
// fatal error, an abort or a bad access in a native library) a status that stands for
// nothing else. Go's own is 2, which is that of wrong usage.
package crash

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
)

// Status is the exit status of a crash: what a shell makes of a process that SIGABRT has
// ended.
const Status = 128 + int(syscall.SIGABRT)

// faults are the signals that end a process by a fault of its own. SIGQUIT is among them, by
// which Go ends threads of a process that is crashing.
var faults = []syscall.Signal{syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGQUIT}

// ShellStatuses are the exit statuses that a shell has for crashes: 128 and the signal.
func ShellStatuses() []int {
	var statuses []int
	for _, fault := range faults {
		statuses = append(statuses, 128+int(fault))
	}
	return statuses
}

// Of is whether a process has crashed.
func Of(state *os.ProcessState) bool {
	if state == nil {
		return false
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && (status.Signaled() && slices.Contains(faults, status.Signal()) || status.Exited() && status.ExitStatus() == Status)
}

// Told runs what the program does and returns its exit status. When it crashes, on whatever
// goroutine or thread, the process ends by SIGABRT, after the stacks of all goroutines on
// standard error. It leaves no core file, unless GOTRACEBACK is set: who debugs the program
// decides for himself.
//
// A container's first process is not ended by signals of its own. There another process does
// the work, gets the signals that come, and tells its exit status.
func Told(program func() int) int {
	debug.SetTraceback("crash")
	if _, set := os.LookupEnv("GOTRACEBACK"); !set {
		leaveNoCore()
	}
	if os.Getpid() == 1 {
		if status, err := contained(); err == nil {
			return status
		} // else the work can still be done here
	}
	return program()
}

func leaveNoCore() {
	var core syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &core) == nil {
		core.Cur = 0
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &core) // a core file more does no harm
	}
}

// contained runs this process's command once more and returns its exit status.
func contained() (status int, err error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	child := exec.Command(program)
	child.Args = os.Args
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	// An interrupt at the terminal comes to this process alone, which passes it on once.
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	defer signal.Stop(signals)
	if err := child.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			if s != syscall.SIGCHLD && s != syscall.SIGURG { // these are this process's own
				_ = child.Process.Signal(s)
			}
		}
	}()
	_ = child.Wait() // its state tells
	return ended(child.ProcessState), nil
}

// ended is the exit status that a shell has for an ended process, [Status] for all crashes.
func ended(state *os.ProcessState) int {
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case Of(state):
		return Status
	case ok && status.Signaled():
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
