package torch_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The loops of simd/ compiled for arm64, whose baseline is NEON, give in an emulator what
// the baseline gives here, which the other tests compare with libtorch and with sums written
// out. PIPE_TEST_ARM64 makes it an error that there is no compiler or no emulator.
func TestARM64LoopsAgree(t *testing.T) {
	compiler, emulator := "aarch64-linux-gnu-g++", "qemu-aarch64"
	for _, tool := range []string{compiler, emulator} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("PIPE_TEST_ARM64") != "" {
				t.Fatal(err)
			}
			t.Skipf("%v (make test-arm64 installs it)", err)
		}
	}
	emulated := loopOutputs(t, "build-arm64", []string{"CXX=" + compiler}, emulator)
	agreeWithBaseline(t, "arm64", emulated, loopOutputs(t, "build-baseline", []string{"ISAS=baseline"}))
}

// loopOutputs compiles engine/outputs into a folder beside the engine's and runs it, by
// another program if one is given: a line for each result.
func loopOutputs(t *testing.T, folder string, variables []string, run ...string) []string {
	t.Helper()
	program := filepath.Join(folder, "outputs")
	build := exec.Command("make", append([]string{"-C", "engine", "BUILD=" + folder, program}, variables...)...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	command := append(run, filepath.Join("engine", program))
	out, err := exec.Command(command[0], command[1:]...).Output()
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
