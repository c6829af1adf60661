package ort

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	yalue "github.com/yalue/onnxruntime_go"
)

// onDevice lets tests open models on a device with memory of its own, where PIPE_TEST_WEBGPU
// is set: the pinned library has a provider for whatever speaks Vulkan, which may be a renderer
// in software. It is asked for since, once tried, it stops a process under the race detector
// from ending.
func onDevice(t *testing.T) {
	t.Helper()
	if os.Getenv("PIPE_TEST_WEBGPU") == "" {
		t.Skip("PIPE_TEST_WEBGPU is not set")
	}
	before := providers
	t.Cleanup(func() { providers = before })
	providers = append(slices.Clone(before), provider{name: "webgpu", runtimeName: "WebGpuExecutionProvider",
		add: func(o *yalue.SessionOptions, _ target) error { return o.AppendExecutionProvider("WebGPU", nil) }})
	s, err := Open(t.Context(), doubler(t, nil), Options{Provider: "webgpu"})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// The device sees what the tensors hold when a run begins, not when they were bound.
func TestBindingOnDevice(t *testing.T) {
	onDevice(t)
	s := openDoubler(t, Options{Provider: "webgpu"})
	if notes := s.Notes(); len(notes) > 0 {
		t.Errorf("notes %q", notes)
	}
	expectDoubles(t, s)
}

// The runtime computes shapes on the processor even if the device could.
func TestShapesOnProcessor(t *testing.T) {
	onDevice(t)
	path := reshaper(t)
	const leaves = "webgpu leaves 2 nodes to the processor (Concat, Gather)"
	s, err := Open(t.Context(), path, Options{Provider: "webgpu"})
	if !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), path+" on webgpu, device 0: "+leaves+", which --allow-fallback permits") {
		t.Errorf("without a fallback: %v", err)
	}
	if err == nil {
		s.Close()
	}
	s, err = Open(t.Context(), path, Options{Provider: "webgpu", AllowFallback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if notes := s.Notes(); !slices.Equal(notes, []string{leaves}) {
		t.Errorf("notes %q", notes)
	}
	expectDoubles(t, s)
}
