package torch_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes files of a folder, by their paths in it. Those in bin can be run.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path, mode := filepath.Join(root, name), os.FileMode(0o644)
		if filepath.Base(filepath.Dir(path)) == "bin" {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// found is what the engine's Makefile finds for CUDA, by name.
func found(t *testing.T, variables ...string) map[string]string {
	t.Helper()
	c := exec.Command("make", append([]string{"-s", "-C", "engine", "found", "SYSTEM_CUDA=/does/not/exist"}, variables...)...)
	c.Env = append(os.Environ(), "LIBTORCH=", "CUDA_HOME=", "NCCL=")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	m := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		m[name] = strings.TrimSpace(value)
	}
	return m
}

// NCCL's header and CUDA's are those beside libtorch, whatever else is there, and the CUDA
// runtime is libtorch's own where it serves nvcc's code.
func TestBuildFindsCUDA(t *testing.T) {
	nvcc := func(release string) string {
		return fmt.Sprintf("#!/bin/sh\necho 'Cuda compilation tools, release %s, V%s.86'\n", release, release)
	}
	version := func(code int) string { return fmt.Sprintf("#define CUDART_VERSION  %d\n", code) }
	const wants = "#include <cuda_fp16.h>\n"
	torch := map[string]string{
		"torch/include/ATen/ATen.h":  "#error C++20 or later\n",
		"torch/lib/libtorch_cpu.so":  "_ZN4c10d16ProcessGroupGlooC1E",
		"torch/lib/libtorch_cuda.so": "_ZN4c10d16ProcessGroupNCCLC1E",
		"torch/lib/libc10.so":        "_ZNSt7__cxx1112basic_string",
	}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{}
		for _, files := range []map[string]string{torch, more} {
			for name, text := range files {
				all[name] = text
			}
		}
		return all
	}
	of13 := with(map[string]string{
		"nvidia/nccl/include/nccl.h": wants, "nvidia/cu13/include/cuda_fp16.h": "", "nvidia/cu13/include/cuda_runtime_api.h": version(13020),
		"nvidia/cu13/include/cublas_v2.h": "", "nvidia/cu13/include/cusparse.h": "", "nvidia/cu13/include/cusolverDn.h": "",
		"nvidia/cu13/lib/libcudart.so.13": "",
	})
	of12 := with(map[string]string{
		"nvidia/nccl/include/nccl.h": wants, "nvidia/cuda_runtime/include/cuda_fp16.h": "#include <nv/target>\n",
		"nvidia/cuda_runtime/include/cuda_runtime_api.h": version(12010), "nvidia/cuda_runtime/lib/libcudart.so.12": "",
		"nvidia/cublas/include/cublas_v2.h": "", "nvidia/cusparse/include/cusparse.h": "", "nvidia/cusolver/include/cusolverDn.h": "",
	})
	toolkit := func(release string) map[string]string {
		return map[string]string{"bin/nvcc": nvcc(release), "include/nccl.h": "#error of another version\n", "include/nv/target": "",
			"include/cuda_fp16.h": "", "include/cublas_v2.h": "", "include/cusparse.h": "", "include/cusolverDn.h": ""}
	}
	for name, c := range map[string]struct {
		site, toolkit map[string]string
		want          map[string]string // SITE and TOOLKIT stand for the folders
	}{
		"no libtorch for CUDA": {map[string]string{"torch/lib/libtorch_cpu.so": ""}, toolkit("13.2"), map[string]string{"nccl": "none", "nvcc": "none", "cudart": "none"}},
		"the wheel's own":      {of13, nil, map[string]string{"nccl": "SITE/nvidia/nccl/include/nccl.h", "torch": "SITE/torch/include, c++20, ABI 1"}},
		"a std::string of before 2015": {with(map[string]string{"torch/lib/libc10.so": "_ZN3c105ErrorC1ENS_14SourceLocationESs\n_ZGTtNSt11range_errorC1ERKNSt7__cxx1112basic_string"}), nil,
			map[string]string{"torch": "SITE/torch/include, c++20, ABI 0"}},
		"beside a toolkit of another version": {of13, toolkit("13.1"),
			map[string]string{"nccl": "SITE/nvidia/nccl/include/nccl.h", "nvcc": "TOOLKIT/bin/nvcc 13 1", "cudart": "SITE/nvidia/cu13/lib/libcudart.so.13 13 2"}},
		"a newer nvcc":       {of13, toolkit("13.3"), map[string]string{"nvcc": "TOOLKIT/bin/nvcc 13 3", "cudart": "static"}},
		"an nvcc of another": {of13, toolkit("12.9"), map[string]string{"nvcc": "TOOLKIT/bin/nvcc 12 9", "cudart": "static"}},
		"an nvcc beside it": {with(map[string]string{"nvidia/cu13/bin/nvcc": nvcc("13.2")}), nil,
			map[string]string{"nvcc": "SITE/nvidia/cu13/bin/nvcc 13 2", "cudart": "static", "nccl": "none"}},
		"a header that includes what is not there": {of12, nil, map[string]string{"nccl": "none"}},
		"but in the toolkit": {of12, toolkit("12.1"),
			map[string]string{"nccl": "SITE/nvidia/nccl/include/nccl.h", "cudart": "SITE/nvidia/cuda_runtime/lib/libcudart.so.12 12 1"}},
		"libtorch alone with a toolkit": {torch, map[string]string{"include/nccl.h": "", "include/cublas_v2.h": "", "include/cusparse.h": "", "include/cusolverDn.h": "", "bin/nvcc": nvcc("12.8")},
			map[string]string{"nccl": "TOOLKIT/include/nccl.h", "cudart": "static"}},
	} {
		t.Run(name, func(t *testing.T) {
			site := tree(t, c.site)
			variables, folders := []string{"LIBTORCH=" + site + "/torch"}, []string{"SITE", site}
			if c.toolkit != nil {
				home := tree(t, c.toolkit)
				variables, folders = append(variables, "CUDA_HOME="+home), append(folders, "TOOLKIT", home)
			}
			got := found(t, variables...)
			for name, want := range c.want {
				if want = strings.NewReplacer(folders...).Replace(want); got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		})
	}
}

// Folders are those that whoever runs make means, although the engine is made in another one.
func TestBuildTakesRelativeFolders(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("make", "-n", "-C", root, "engine", "LIBTORCH=some/torch", "NCCL=some/nccl")
	out, err := c.CombinedOutput()
	for _, want := range []string{" LIBTORCH=" + root + "/some/torch", " NCCL=" + root + "/some/nccl"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: no %q in\n%.2000s", err, want, out)
		}
	}
}

// An exception that nobody catches, as c10d's thread that watches NCCL throws one, ends the
// process with status 1 and a line that says what it means.
func TestUncaughtExceptionEnds(t *testing.T) {
	const program = `#include "uncaught.h"
#include <stdexcept>
#include <thread>
int main() {
  engine::end_on_uncaught("rank 1 of 2: a collective failed");
  std::thread([] { throw std::runtime_error("watchdog: time is up"); }).join();
}
`
	dir := tree(t, map[string]string{"main.cc": program})
	binary := filepath.Join(dir, "main")
	if out, err := exec.Command("g++", "-std=c++17", "-pthread", "-Iengine", "-o", binary, filepath.Join(dir, "main.cc"), "engine/uncaught.cc").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command(binary)
	out, err := c.CombinedOutput()
	if code := c.ProcessState.ExitCode(); err == nil || code != 1 || string(out) != "pipe: rank 1 of 2: a collective failed: watchdog: time is up\n" {
		t.Errorf("status %d, %q", code, out)
	}
}
