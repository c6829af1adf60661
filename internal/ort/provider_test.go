package ort

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/onnx"
)

// Exactly what the pinned library is built with is usable, and the rest says why not.
func TestProbe(t *testing.T) {
	s, err := Probe("")
	if err != nil || s.Library == "" || s.Version == "" || len(s.Providers) != len(Providers()) {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, p := range s.Providers {
		if p.Usable != (p.Reason == "") || p.Provider == CPU && !p.Usable || strings.Contains(p.Reason, "\n") {
			t.Errorf("%+v", p)
		}
	}
}

func TestProviderOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"nothing":        {Options{}, ""},
		"unknown":        {Options{Provider: "abacus"}, "abacus"},
		"device of cpu":  {Options{Device: 1}, "no device 1"},
		"device of cuda": {Options{Provider: "cuda", Device: 3}, ""},
		"half on cuda":   {Options{Provider: "cuda", Half: true}, "half precision"},
		"half on trt":    {Options{Provider: "tensorrt", Half: true}, ""},
		"tf32 on cuda":   {Options{Provider: "cuda", TF32: true, MemoryLimit: 1}, ""},
		"tf32 on trt":    {Options{Provider: "tensorrt", TF32: true}, ""},
		"tf32 on cpu":    {Options{TF32: true}, "no TF32"},
		"limit on cpu":   {Options{MemoryLimit: 1}, "no limit"},
		"less than none": {Options{Provider: "cuda", MemoryLimit: -1}, "no limit"},
	} {
		_, err := c.o.provider()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What TensorRT does not take is CUDA's before it is the processor's.
func TestChain(t *testing.T) {
	for name, want := range map[string][]string{"": {CPU}, "cuda": {"cuda"}, "tensorrt": {"tensorrt", "cuda"}, "openvino": {"openvino"}} {
		chain, err := Options{Provider: name}.chain()
		var got []string
		for _, p := range chain {
			got = append(got, p.name)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q runs on %v, %v", name, got, err)
		}
	}
	if _, err := (Options{Provider: "abacus"}).chain(); err == nil {
		t.Error("an unknown provider has a chain")
	}
}

func TestProviderSettings(t *testing.T) {
	for name, c := range map[string]struct{ got, want map[string]string }{
		"cuda": {cudaOptions(target{device: 3, half: true}), map[string]string{"device_id": "3", "cudnn_conv_algo_search": "EXHAUSTIVE",
			"use_tf32": "0", "prefer_nhwc": "0", "arena_extend_strategy": "kSameAsRequested"}},
		"cuda, TF32 and a limit": {cudaOptions(target{tf32: true, memory: 1 << 33}), map[string]string{"device_id": "0", "cudnn_conv_algo_search": "EXHAUSTIVE",
			"use_tf32": "1", "prefer_nhwc": "0", "arena_extend_strategy": "kSameAsRequested", "gpu_mem_limit": "8589934592"}},
		"tensorrt, one shape": {tensorRTOptions(target{profile: "x:64x3x112x112"}), map[string]string{"device_id": "0", "trt_fp16_enable": "0",
			"trt_profile_min_shapes": "x:64x3x112x112", "trt_profile_opt_shapes": "x:64x3x112x112", "trt_profile_max_shapes": "x:64x3x112x112"}},
		"tensorrt": {tensorRTOptions(target{device: 1, engines: "/cache"}), map[string]string{"device_id": "1", "trt_fp16_enable": "0",
			"trt_engine_cache_enable": "1", "trt_engine_cache_path": "/cache", "trt_timing_cache_enable": "1", "trt_timing_cache_path": "/cache"}},
		"tensorrt, half":          {tensorRTOptions(target{half: true}), map[string]string{"device_id": "0", "trt_fp16_enable": "1"}},
		"tensorrt, nothing kept":  {tensorRTOptions(target{}), map[string]string{"device_id": "0", "trt_fp16_enable": "0"}},
		"migraphx, second device": {deviceOption(target{device: 1}), map[string]string{"device_id": "1"}},
	} {
		if !maps.Equal(c.got, c.want) {
			t.Errorf("%s: %v", name, c.got)
		}
	}
}

// What is float16 stays so on its way to CUDA devices; the processor gets what it always got.
func TestCrossing(t *testing.T) {
	for name, halves := range map[string]bool{"": false, CPU: false, "cuda": true, "tensorrt": true, "openvino": false, "abacus": false} {
		if got := slices.Contains(Crossing(name), onnx.Float16); got != halves {
			t.Errorf("%q: %v", name, Crossing(name))
		}
		if got := Flights(name); (got == 2) != halves || got < 1 {
			t.Errorf("%q: %d runs at a time", name, got)
		}
	}
}

// The profile is of the inputs that leave some of their shape open.
func TestProfile(t *testing.T) {
	shape := []int64{64, 3, 112, 112}
	for want, inputs := range map[string][]Info{
		"x:64x3x112x112": {{Name: "x", Dims: []int64{-1, 3, 112, 112}}},
		"":               {{Name: "x", Dims: []int64{64, 3, 112, 112}}},
		"b:64x3x112x112": {{Name: "a", Dims: []int64{-1, 2}}, {Name: "b", Dims: []int64{-1, 3, -1, -1}}},
	} {
		if got := profile(inputs, shape); got != want {
			t.Errorf("%v: %q, want %q", inputs, got, want)
		}
	}
	if got := profile([]Info{{Name: "x", Dims: []int64{-1, 3}}}, nil); got != "" {
		t.Errorf("of no shape it is %q", got)
	}
}

// TensorRT is told through the environment, where a user may have said otherwise.
func TestTF32InTheEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		said   string // "" for nothing
		wanted bool
		after  string
		fails  bool
	}{
		"off":            {"", false, "0", false},
		"off and said":   {"0", false, "0", false},
		"off, said on":   {"1", false, "1", true},
		"on":             {"", true, "", false},
		"on, said off":   {"0", true, "0", true},
		"on and said so": {"1", true, "1", false},
	} {
		t.Setenv(withoutTF32, c.said) // restored afterwards
		if c.said == "" {
			os.Unsetenv(withoutTF32)
		}
		err := tellTF32(c.wanted)
		if (err != nil) != c.fails || os.Getenv(withoutTF32) != c.after {
			t.Errorf("%s: %v, then %q", name, err, os.Getenv(withoutTF32))
		}
	}
}
