package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// addressSpace protects the machine from a verb that swells: it dies, and is counted.
	addressSpace = 4 << 30
	// maxPrinted is what is kept of an output.
	maxPrinted = 1 << 20
	// memorySlack is what a verb may use beyond its usual peak, besides a multiple of the
	// damaged file's size.
	memorySlack = 160 << 20
	// patience is how long a verb may take beyond many times its usual time.
	patience = 20 * time.Second
)

// hit is a run that met with damage.
type hit struct {
	outcome
	peak int64 // resident bytes
	took time.Duration
	hung bool
	died bool // by a signal that this test did not send
}

// printed is what a run wrote, up to a limit.
type printed struct{ bytes.Buffer }

func (p *printed) Write(data []byte) (int, error) {
	p.Buffer.Write(data[:min(len(data), maxPrinted-min(p.Len(), maxPrinted))])
	return len(data), nil
}

// strike runs the program in a folder, within limits.
func strike(t *testing.T, dir string, limit time.Duration, wrapper []string, args ...string) (h hit) {
	line := append(append(append([]string(nil), wrapper...), program), args...)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, line[0], line[1:]...)
	var stdout, stderr printed
	c.Dir, c.Stdout, c.Stderr, c.WaitDelay = dir, &stdout, &stderr, time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	begun := time.Now()
	if err := c.Start(); err != nil {
		t.Error(err)
		return h
	}
	as := unix.Rlimit{Cur: addressSpace, Max: addressSpace}
	_ = unix.Prlimit(c.Process.Pid, unix.RLIMIT_AS, &as, nil) // it may have ended already
	stop := follow(c.Process.Pid)
	_ = c.Wait() // the state tells
	h.took, h.peak = time.Since(begun), stop().peak
	h.outcome = outcome{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	h.hung = ctx.Err() != nil
	h.died = !c.ProcessState.Exited() && !h.hung
	return h
}

// crashText is what a Go program or the C++ library says when it breaks down.
var crashText = regexp.MustCompile(`(?m)^(panic: |fatal error: |unexpected fault address|runtime: |SIG[A-Z]+: |goroutine \d+ .*\[|terminate called|.*: double free|.*AddressSanitizer)`)

func (h hit) crashed() bool {
	return h.died || h.code >= 126 || crashText.MatchString(h.stderr)
}

// says is whether the run named one of the files.
func (h hit) says(files []string) bool {
	text := h.stdout + h.stderr
	for _, f := range files {
		if strings.Contains(text, filepath.Base(f)) {
			return true
		}
	}
	return false
}

// excerpt is what the run printed, short enough to be read.
func (h hit) excerpt() string {
	short := func(s string) string {
		if s = strings.TrimSpace(s); len(s) > 700 {
			return s[:500] + " ... " + s[len(s)-180:]
		}
		return s
	}
	return fmt.Sprintf("status %d after %.1f s, %d MiB\nstdout: %s\nstderr: %s", h.code, h.took.Seconds(), h.peak>>20, short(h.stdout), short(h.stderr))
}

// reader is a command line that reads what is damaged. Its paths are relative to the world.
type reader struct {
	args   []string
	out    string // what it makes, relative to the world; "" for nothing
	costly bool   // takes a second or so: tried with fewer damages
	check  bool   // must notice every damage that is no exception
	// visual marks pages for people: what they hold is not compared.
	visual bool

	usual leaves
	peak  int64
	took  time.Duration
}

func (v *reader) name() string {
	if len(v.args) > 1 && (v.args[0] == "teachers" || v.args[0] == "index" || v.args[0] == "plan") {
		return v.args[0] + " " + v.args[1]
	}
	return v.args[0]
}

// limit is how long the verb may take.
func (v *reader) limit() time.Duration { return patience + 20*v.took }

// leaves are what a verb gave: the leaves of its JSON object, and digests of the files it made.
type leaves map[string]string

// leavesOf is what a verb that ended well left in a world.
func leavesOf(world, out string, h hit) leaves {
	r := leaves{}
	var v any
	stdout := strings.ReplaceAll(h.stdout, world, "WORLD") // plans name it
	if json.Unmarshal([]byte(stdout), &v) == nil {
		r.add("", v)
	} else {
		r["stdout"] = stdout
	}
	if out == "" {
		return r
	}
	_ = filepath.WalkDir(filepath.Join(world, out), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		rel, _ := filepath.Rel(world, path)
		r["file "+rel] = digestOf(path)
		return nil
	})
	return r
}

// digestOf tells contents apart: the size, and the first of the bytes, since some files have no end.
func digestOf(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return "no file"
	}
	f, err := os.Open(path)
	if err != nil {
		return "unreadable"
	}
	defer f.Close()
	hash := sha256.New()
	_, err = io.CopyN(hash, f, 64<<20)
	if err != nil && err != io.EOF {
		return err.Error()
	}
	return fmt.Sprintf("%d bytes %x", info.Size(), hash.Sum(nil)[:8])
}

func (r leaves) add(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			r.add(path+"."+key, value)
		}
	case []any:
		for i, value := range v {
			r.add(fmt.Sprintf("%s[%d]", path, i), value)
		}
	default:
		r[path] = fmt.Sprint(v)
	}
}

// measured are leaves of summaries that no two runs share, and records of runs, any of which may
// be deleted; whether what is derived, or a part that a worker makes, was there
// or was made anew, and how large it is; and the id of a plan, which covers where its
// dataset lies.
var measured = regexp.MustCompile(`second|cost\.load|(centres|neighbours|index)_bytes|\.(reused|computed)$|^\.id$|_per_|memory|bytes_read|\.runs\b|latency|workers|cpu|file .*(\.lock|/index/|/runs/)`)

// common is what two undamaged runs agree in.
func (r leaves) common(other leaves) leaves {
	same := leaves{}
	for key, value := range r {
		if other[key] == value && !measured.MatchString(key) {
			same[key] = value
		}
	}
	return same
}

// differs names a leaf in which a run differs from what is usual, "" if there is none. What it calls
// damaged itself, in the place of what is derived, is no other result.
func (r leaves) differs(got leaves) string {
	for key, value := range r {
		if got[key] != value && got[key] != "damaged" {
			return fmt.Sprintf("%s is %.80q, was %.80q", key, got[key], value)
		}
	}
	return ""
}
