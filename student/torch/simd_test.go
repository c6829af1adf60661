package torch_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ebitengine/purego"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// oddChannels fill no vector of any instruction set, or some and a rest.
var oddChannels = []int{1, 3, 7, 17, 33, 130}

// outcome is what a piece of work gave, in elements that a tolerance goes with.
type outcome struct {
	Name   string
	DType  torch.DType
	Values []float64
}

// Every instruction set gives what the baseline gives, but for what a product and a sum in
// one instruction round less, and sums in another order: a unit in the last place of what
// is stored in bfloat16, and some of sums in float32 and float64.
func TestInstructionSetsAgree(t *testing.T) {
	byISA := torchtest.EachISA(t, func(t *testing.T, e *torch.Engine) {
		for _, o := range outcomes(t, e) {
			text, err := json.Marshal(o)
			if err != nil {
				t.Fatalf("%s: %v", o.Name, err)
			}
			fmt.Printf("> %s\n", text)
		}
	})
	for isa, lines := range byISA {
		agreeWithBaseline(t, isa, lines, byISA["baseline"])
	}
}

// agreeWithBaseline compares outcomes, as lines of JSON, with those of the baseline.
func agreeWithBaseline(t *testing.T, isa string, lines, baseline []string) {
	t.Helper()
	tolerance := map[torch.DType]float64{torch.Float64: 1e-14, torch.Float32: 3e-6, torch.BFloat16: 1.0 / 128}
	if len(baseline) == 0 || len(lines) != len(baseline) {
		t.Fatalf("%s gave %d results, the baseline %d", isa, len(lines), len(baseline))
	}
	for i := range lines {
		var got, want outcome
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(baseline[i]), &want); err != nil {
			t.Fatal(err)
		}
		near(t, isa+", "+want.Name, got.Values, want.Values, tolerance[want.DType])
	}
}

// outcomes are those of everything that the engine has loops for.
func outcomes(t *testing.T, e *torch.Engine) (all []outcome) {
	dtypes := []torch.DType{torch.BFloat16, torch.Float32, torch.Float64}
	for _, channels := range oddChannels {
		// One image, and one pixel of each of some.
		for _, in := range []normInput{newNormInput(1, channels, 5, 3), newNormInput(4, channels, 1, 1)} {
			for _, c := range normCases(dtypes...) {
				results := in.run(t, e, c, true)
				for _, name := range slices.Sorted(maps.Keys(results)) {
					all = append(all, outcome{fmt.Sprint("norm ", c, " of ", in.shape, ": ", name), c.dtype, results[name]})
				}
			}
		}
	}
	for _, c := range convolutions {
		x, w := c.input()
		for _, dtype := range dtypes {
			y, dx, dw, _ := c.run(t, e, dtype, x, w)
			name := fmt.Sprintf("convolution %+v in %v: ", c, dtype)
			all = append(all, outcome{name + "y", dtype, y}, outcome{name + "dx", dtype, dx}, outcome{name + "dw", dtype, dw})
		}
	}
	for _, n := range append(oddChannels, 1<<14+5) {
		all = append(all, steps(t, e, n)...)
	}
	return append(all, pixelsOf(t, e)...)
}

// steps moves n values by each form of the optimizer's step, twice.
func steps(t *testing.T, e *torch.Engine, n int) (all []outcome) {
	for _, c := range []torch.SGD{
		{Rate: 0.1}, {Rate: 0.1, Momentum: 0.9, Decay: 0.1, Clip: 0.5}, {Rate: 0.1, Momentum: 0.9, Decay: 0.1, Nesterov: true},
	} {
		s := torchtest.Scope(t, e)
		rng := rand.New(rand.NewPCG(1, 2))
		drawn := func() torch.Tensor { return s.To(torch.FromData(s, "cpu", exact(rng, n), n), torch.Float32) }
		p, g := drawn(), drawn()
		v := s.ZerosLike(p)
		var lengths []float64
		for range 2 {
			terms := torch.Terms{Loss: torch.FromData(s, "cpu", []float64{1}, 1), Limit: 1}
			lengths = append(lengths, torch.ToData[float64](s, s.SGDStep(c, terms, []torch.Tensor{p}, []torch.Tensor{g}, []torch.Tensor{v}, []bool{true}))...)
		}
		read := func(x torch.Tensor) []float64 { return torch.ToData[float64](s, s.To(x, torch.Float64)) }
		name := fmt.Sprintf("step %+v of %d values: ", c, n)
		all = append(all, outcome{name + "parameters", torch.Float32, read(p)}, outcome{name + "velocities", torch.Float32, read(v)},
			outcome{name + "length", torch.Float32, lengths})
	}
	return all
}

// pixelsOf converts an image of an odd width, mirrored.
func pixelsOf(t *testing.T, e *torch.Engine) (all []outcome) {
	const h, w = 3, 7
	bytes := make([]uint8, h*w*3)
	for i := range bytes {
		bytes[i] = uint8(i * 37)
	}
	for _, dtype := range []torch.DType{torch.BFloat16, torch.Float32, torch.Float64} {
		s := torchtest.Scope(t, e)
		x := s.Pixels(torch.FromData(s, "cpu", bytes, 1, h, w, 3), torch.FromData(s, "cpu", []uint8{1}, 1), 127.5, 128, dtype)
		all = append(all, outcome{fmt.Sprint("pixels in ", dtype), dtype, torch.ToData[float64](s, s.To(x, torch.Float64))})
	}
	return all
}

// Where bfloat16 is left to oneDNN, and whether that has instructions for it, is what oneDNN
// says itself, whatever a user limits it to: by convolutions of our own it is five times as
// fast as by oneDNN without them.
func TestBFloat16IsWhereOneDNNSays(t *testing.T) {
	const variable = "PIPE_TEST_ONEDNN"
	if os.Getenv(variable) != "" {
		e := torchtest.Open(t)
		s := torchtest.Scope(t, e)
		fmt.Println(">", e.BFloat16(), s.HasBFloat16Unit(ones(s, 1)), onednnISA())
		return
	}
	if os.Getenv("PIPE_SIMD") != "" {
		t.Skip("PIPE_SIMD is set: bfloat16 is not left to oneDNN")
	}
	for _, limit := range []string{"", "default", "AVX512_CORE_AMX", "AVX512_CORE_BF16", "AVX512_CORE", "avx2", "SSE41"} {
		lines := torchtest.Restart(t, variable+"=yes", "DNNL_MAX_CPU_ISA=AVX", "ONEDNN_MAX_CPU_ISA="+limit)
		var by string
		var has bool
		var isa int
		if len(lines) != 1 {
			t.Fatalf("printed %q", lines)
		}
		if _, err := fmt.Sscan(lines[0], &by, &has, &isa); err != nil {
			t.Fatal(err)
		}
		if isa == 0 {
			t.Skip("the oneDNN of this libtorch does not say what it uses")
		}
		// Bits of dnnl_cpu_isa_t: AVX512-BF16, and AMX.
		dot, matrix := isa&0xe7 == 0xe7, isa&0x300 == 0x300
		want := "own"
		if matrix || dot && amd(t) {
			want = "onednn"
		}
		t.Logf("limit %q: oneDNN uses %#x; bfloat16 by %s", limit, isa, by)
		if by != want || has != (dot || matrix) {
			t.Errorf("limit %q: bfloat16 by %q, instructions %v, where oneDNN uses %#x", limit, by, has, isa)
		}
	}
}

// onednnISA is the instruction set that oneDNN uses, 0 if it cannot be asked.
func onednnISA() int {
	address, err := purego.Dlsym(purego.RTLD_DEFAULT, "dnnl_get_effective_cpu_isa")
	if err != nil {
		return 0
	}
	var isa func() int32
	purego.RegisterFunc(&isa, address)
	return int(isa())
}

func amd(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), "AuthenticAMD")
}
