package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Of bench/gpu.sh, without a device: it says so with a status of its own, knows its arguments, and
// prints what it would do, in the order in which a time-out loses least.
func TestGPUScriptWithoutADevice(t *testing.T) {
	empty := t.TempDir()
	run := func(path string, arguments ...string) (string, int) {
		t.Helper()
		c := exec.Command("/bin/bash", append([]string{"../gpu.sh"}, arguments...)...)
		c.Env = append(os.Environ(), "PATH="+path, "PIPE_BENCH_PYTHON=")
		out, err := c.CombinedOutput()
		if c.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), c.ProcessState.ExitCode()
	}
	// A folder of the tools that it takes before it looks for a device, and no nvidia-smi.
	for _, tool := range []string{"dirname", "cat"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, empty+"/"+tool); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		arguments []string
		status    int
		says      string
	}{
		"no device":      {nil, 3, "no CUDA device here"},
		"unknown part":   {[]string{"--parts", "tests nonsense"}, 2, "no part nonsense"},
		"unknown flag":   {[]string{"--fast"}, 2, "usage: "},
		"no value":       {[]string{"--dir"}, 2, "usage: "},
		"help":           {[]string{"--help"}, 0, "--dry-run"},
		"part of a plan": {[]string{"--dry-run", "--parts", "bandwidth"}, 0, "bench/peers/kernels.py"},
	} {
		if out, status := run(empty, c.arguments...); status != c.status || !strings.Contains(out, c.says) {
			t.Errorf("%s: status %d, want %d, and %q:\n%s", name, status, c.status, c.says, out)
		}
	}
	plan, status := run(os.Getenv("PATH"), "--dry-run")
	var parts []string
	for _, m := range regexp.MustCompile(`(?m)^== (\w+)`).FindAllStringSubmatch(plan, -1) {
		parts = append(parts, m[1])
	}
	want := []string{"versions", "build", "tests", "sanitizer", "bandwidth", "agreement", "blocking", "speed", "resume", "teacher"}
	if status != 0 || !slices.Equal(parts, want) {
		t.Errorf("status %d, parts %v, want %v:\n%s", status, parts, want, plan)
	}
	for _, part := range strings.Split(plan, "\n== ")[1:] {
		if !strings.Contains(part, "\n+ ") {
			t.Errorf("nothing is done in %q", part)
		}
	}
}
