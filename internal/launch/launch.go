// Package launch runs a program as several ranks on this machine. Ranks are processes that
// know of each other by torchrun's environment variables.
package launch

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"facepipe/internal/crash"
	"facepipe/internal/stop"
)

const (
	// stopped is the exit status of a rank that was asked to stop, EX_TEMPFAIL.
	stopped = 75
	// grace is how long ranks may take to end after one has failed, before they are killed. A
	// kill at any moment is safe.
	grace = 10 * time.Second
)

// Options say what to run.
type Options struct {
	// Program with Args is each rank's command.
	Program string
	Args    []string
	// Processes on this machine, which is number Node of Nodes. Every machine has as many.
	Processes, Nodes, Node int
	// Host and Port are where rank 0 waits for the others. On one machine Host "" is loopback
	// and Port 0 a free port. On several, Port 0 is torchrun's, 29500.
	Host string
	Port int
	// Cores are divided among the ranks.
	Cores int
	// Stdout and Stderr receive the ranks' lines, with the rank before each.
	Stdout, Stderr io.Writer
	// Summary, unless nil, receives what rank 0 writes to its standard output, as it is.
	Summary io.Writer
}

// ExitError is the end of the rank that failed first.
type ExitError struct {
	Rank int
	// Status is its exit status: [crash.Status] if it crashed, 1 if another signal ended it.
	Status int
	// State describes its end.
	State string
}

func (e *ExitError) Error() string { return fmt.Sprintf("rank %d failed (%s)", e.Rank, e.State) }

// Run starts the ranks and waits for all. Once one fails the others are ended, and the error
// is an [ExitError] of the first. When ctx ends, SIGTERM asks the ranks to stop, and the error
// is context.Canceled. It is the same if somebody else asked a rank to stop.
func Run(ctx context.Context, o Options) error {
	if err := o.settle(); err != nil {
		return err
	}
	// The system ends a child with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := ranks{ends: make(chan end, o.Processes)}
	lines := &lineLock{}
	for local := range o.Processes {
		if err := r.start(o, local, lines); err != nil {
			r.signal(syscall.SIGKILL)
			for range r.running {
				<-r.ends
			}
			return fmt.Errorf("start rank %d: %w", o.rank(local), err)
		}
	}
	return r.wait(ctx)
}

// rank is the number of this machine's process local among all machines'.
func (o *Options) rank(local int) int { return o.Node*o.Processes + local }

// settle fills in where the ranks meet.
func (o *Options) settle() error {
	if o.Nodes > 1 {
		if o.Port == 0 {
			o.Port = 29500
		}
		return nil
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Port != 0 {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(o.Host, "0"))
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	o.Port = l.Addr().(*net.TCPAddr).Port
	return l.Close()
}

// environment tells a rank who it is, and how many threads it may use unless the user has set
// that for all.
func (o *Options) environment(local int) []string {
	env := append(os.Environ(),
		"RANK="+strconv.Itoa(o.rank(local)), "WORLD_SIZE="+strconv.Itoa(o.Nodes*o.Processes),
		"LOCAL_RANK="+strconv.Itoa(local), "LOCAL_WORLD_SIZE="+strconv.Itoa(o.Processes),
		"MASTER_ADDR="+o.Host, "MASTER_PORT="+strconv.Itoa(o.Port))
	threads := strconv.Itoa(max(1, o.Cores/o.Processes))
	for _, name := range []string{"GOMAXPROCS", "OMP_NUM_THREADS"} {
		if _, set := os.LookupEnv(name); !set {
			env = append(env, name+"="+threads)
		}
	}
	return env
}

// end is how a rank ended.
type end struct {
	rank  int
	state *os.ProcessState
	err   error // of waiting, where there is no state
}

// ranks are the processes that run.
type ranks struct {
	commands []*exec.Cmd
	running  int
	ends     chan end
	asked    bool // to stop
}

func (r *ranks) start(o Options, local int, lines *lineLock) error {
	c := exec.Command(o.Program, o.Args...)
	c.Env = o.environment(local)
	// An interrupt at the terminal must reach the launcher alone, which asks each rank once. A
	// second signal would end a rank at once.
	c.SysProcAttr = attributes()
	c.WaitDelay = grace
	rank := o.rank(local)
	prefix := fmt.Sprintf("[%d] ", rank)
	out, errs := &lineWriter{w: o.Stdout, prefix: prefix, lock: lines}, &lineWriter{w: o.Stderr, prefix: prefix, lock: lines}
	c.Stdout, c.Stderr = out, errs
	if o.Summary != nil && rank == 0 {
		c.Stdout = o.Summary
	}
	if err := c.Start(); err != nil {
		return err
	}
	r.commands = append(r.commands, c)
	r.running++
	go func() {
		err := c.Wait()
		out.flush()
		errs.flush()
		r.ends <- end{rank, c.ProcessState, err}
	}()
	return nil
}

// signal sends a signal to all ranks. It does nothing to those that have ended.
func (r *ranks) signal(s os.Signal) {
	for _, c := range r.commands {
		_ = c.Process.Signal(s)
	}
}

// ask has all ranks stop, once: asked a second time, a rank ends at once.
func (r *ranks) ask() {
	if !r.asked {
		r.asked = true
		r.signal(syscall.SIGTERM)
	}
}

func (r *ranks) wait(ctx context.Context) error {
	asked := ctx.Done()
	var impatient <-chan time.Time
	var first error
	told := false
	for r.running > 0 {
		select {
		case <-asked:
			asked = nil
			r.ask()
		case <-impatient:
			r.signal(syscall.SIGKILL)
		case e := <-r.ends:
			r.running--
			failure := e.failure()
			switch {
			case failure == nil:
				continue
			case failure.Status == stopped, r.asked && e.terminated():
				// A rank that does not listen for signals yet has done nothing yet.
				told = true
			default:
				if first == nil {
					first, impatient = failure, time.After(grace)
				}
			}
			r.ask()
		}
	}
	if first == nil && told {
		return stop.Saying("the ranks were stopped")
	}
	return first
}

// terminated says whether the signal that asks ranks to stop ended this one.
func (e end) terminated() bool {
	if e.state == nil {
		return false
	}
	status, ok := e.state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// failure is nil after success.
func (e end) failure() *ExitError {
	switch {
	case e.state == nil:
		return &ExitError{e.rank, 1, e.err.Error()}
	case crash.Of(e.state):
		return &ExitError{e.rank, crash.Status, e.state.String()}
	case !e.state.Exited():
		return &ExitError{e.rank, 1, e.state.String()}
	case e.state.ExitCode() != 0:
		return &ExitError{e.rank, e.state.ExitCode(), e.state.String()}
	}
	return nil
}
