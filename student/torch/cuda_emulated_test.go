package torch_test

import (
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// The kernels for CUDA devices, compiled for the processor and run by an emulation of a device's
// threads, give what sums written out in float64 give: norms and their activations, depthwise
// convolutions and their gradients; in all element types, with wide loads and without, of odd
// sizes and channels, of values far from the others and of none that are finite. No thread reads
// beyond a tensor.
func TestCUDAKernelsInEmulation(t *testing.T) {
	build := exec.Command("make", "-C", "engine", "-s", "build/emulated")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	out, err := exec.Command("engine/build/emulated").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	last := regexp.MustCompile(`(\d+) cases, 0 wrong\n$`).FindSubmatch(out)
	if last == nil {
		t.Fatalf("it ends with %q", out[max(0, len(out)-300):])
	}
	if n, _ := strconv.Atoi(string(last[1])); n < 120 {
		t.Errorf("%d cases", n)
	}
}
