package ort

import (
	"maps"
	"slices"
	"strings"
	"testing"
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
		"cuda": {cudaOptions(target{device: 3, half: true}), map[string]string{"device_id": "3", "cudnn_conv_algo_search": "EXHAUSTIVE"}},
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
