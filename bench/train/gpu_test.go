package main

import (
	"os"
	"os/exec"
	"path/filepath"
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

// All tests that look at devices are among those that it runs on one.
func TestGPUScriptRunsWhatLooksAtDevices(t *testing.T) {
	script, err := os.ReadFile("../gpu.sh")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`-test\.run '(\^Test.*)/\^cuda\$'`).FindSubmatch(script)
	packages := regexp.MustCompile(`for package in ([a-z ]+); do\n\t\tlimited`).FindSubmatch(script)
	if pattern == nil || packages == nil {
		t.Fatal("the script runs no tests")
	}
	named, run := strings.Fields(string(packages[1])), regexp.MustCompile(string(pattern[1]))
	files, err := filepath.Glob("../../student/*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, function := range strings.Split(string(text), "\nfunc ")[1:] {
			name, _, _ := strings.Cut(function, "(")
			if !strings.Contains(function, "torchtest.OnDevices(") {
				continue
			}
			found++
			if in := filepath.Base(filepath.Dir(file)); !run.MatchString(name) || !slices.Contains(named, in) {
				t.Errorf("it does not run %s of %s", name, in)
			}
		}
	}
	if found < 15 {
		t.Errorf("%d tests look at devices", found)
	}
}

// With a device, which here are programs that answer as one would, each result is a line as it is
// there and a row of the table at the end, and one that is not as wanted is status 1.
func TestGPUScriptTellsWhatItGot(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"stubs/nvidia-smi": "case $1 in -L) echo 'GPU 0: Fake';; *) echo 'Fake, 1.2, 9.0';; esac",
		"stubs/make":       "echo 'nccl       " + root + "/nccl.h'; echo 'nvcc       /bin/nvcc 13 2'",
		"stubs/python3": `case "$*" in *is_available*) echo True;; *nccl*) echo 2.30.7;; *kernels.py*)
			echo 'norm; 1x2; 100; 50; 40'; echo 'depthwise; 3x4; 90; 120; 10';; *) echo x;; esac`,
		"bin/bench-train": `case "$*" in *bf16*) echo 'they differ by 1'; exit 1;; *agree*) echo 'they differ by 1e-3';; esac`,
		"bin/pipe":        `case "$*" in *cosine*|*arcface*) echo '{"blocking_calls_per_step": 1.5}';; esac`,
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/bash\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("../gpu.sh")
	if err != nil {
		t.Fatal(err)
	}
	header := "#define NCCL_MAJOR 2\n#define NCCL_MINOR 29\n#define NCCL_PATCH 7\n"
	for name, text := range map[string]string{"bench/gpu.sh": string(script), "nccl.h": header} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("/bin/bash", filepath.Join(root, "bench/gpu.sh"), "--parts", "versions bandwidth agreement blocking")
	c.Env = append(os.Environ(), "PATH="+filepath.Join(root, "stubs")+":"+os.Getenv("PATH"), "PIPE_BENCH_PYTHON=python3", "PIPE_ENGINE=")
	out, _ := c.CombinedOutput()
	if c.ProcessState == nil || c.ProcessState.ExitCode() != 1 {
		t.Errorf("%v", c.ProcessState)
	}
	body, table, ended := strings.Cut(string(out), "| what | wanted | got | |")
	if !ended {
		t.Fatalf("no table:\n%s", out)
	}
	for _, want := range []string{
		"| nvcc | one | /bin/nvcc 13 2 | ok |",
		"| NCCL's header | 2.30.7, as PyTorch | 2.29.7 | bad |",
		"| norm, 1x2, GB/s | ≥ PyTorch's 50, 40 | 100 | ok |",
		"| depthwise, 3x4, GB/s | ≥ PyTorch's 120, 10 | 90 | bad |",
		"| 20 steps of cosine in fp32, TF32 off | within 0.01 of the processor's | they differ by 1e-3 | ok |",
		"| 20 steps of unified in bf16, TF32 off | within 0.05 of the processor's | status 1: they differ by 1 | bad |",
		"| blocking calls a step, cosine | ≤ 1 | 1.5 | bad |",
		"| blocking calls a step, arcface | ≤ 2 | 1.5 | ok |",
		"| blocking calls a step, unified | ≤ 1 |  | bad |", // which says nothing
	} {
		columns := strings.Split(want, " | ")
		if what := strings.TrimPrefix(columns[0], "| "); !strings.Contains(table, want) || !strings.Contains(body, "\n"+what+": ") {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
