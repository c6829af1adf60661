package torchtest

import (
	"os"
	"testing"

	"golang.org/x/sys/cpu"

	"facepipe/student/torch"
)

// isaVariable says to a test for which instruction set it was started; the engine is told
// by its own variable.
const isaVariable = "PIPE_TEST_ISA"

// EachISA runs the test as a process for each instruction set that the engine has loops
// for and the processor understands, since an engine chooses once. It returns the lines
// that each printed with "> " before them. In these processes EachISA runs body, in which
// convolutions in bfloat16 are the engine's own, too, and does not return.
func EachISA(t *testing.T, body func(t *testing.T, e *torch.Engine)) map[string][]string {
	t.Helper()
	if isa := os.Getenv(isaVariable); isa != "" {
		e := Open(t)
		if e.SIMD() != isa || e.BFloat16() != "own" {
			t.Fatalf("the engine runs in %s, bfloat16 by %q; want %s by its own loops", e.SIMD(), e.BFloat16(), isa)
		}
		body(t, e)
		t.SkipNow() // what was printed is for the test that started this one to judge
	}
	lines := map[string][]string{}
	for _, isa := range isas() {
		lines[isa] = Restart(t, isaVariable+"="+isa, "PIPE_SIMD="+isa)
	}
	return lines
}

// isas are the instruction sets that the processor understands, of those that the engine
// has loops for.
func isas() []string {
	x := cpu.X86
	list := []string{"baseline"}
	if !x.HasAVX2 || !x.HasFMA || !x.HasBMI1 || !x.HasBMI2 {
		return list
	}
	list = append(list, "avx2")
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL {
		list = append(list, "avx512")
	}
	return list
}
