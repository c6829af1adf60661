package ort

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRefused(t *testing.T) {
	byName := func(name string) provider {
		p, err := Options{Provider: name}.provider()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const shared, cuda = "libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"
	for name, c := range map[string]struct {
		provider       string
		beside         []string // libraries beside the runtime's
		said           string
		reason, remedy string
	}{
		"CPU build": {"cuda", nil, "Failed to load library /a/long/path/" + shared + " with error: /a/long/path/" + shared + ": cannot open shared object file: No such file or directory",
			"this is ONNX Runtime's CPU build (no " + shared + " beside it)", takeGPUBuild},
		"CPU build, OpenVINO":       {"openvino", nil, "Failed to load shared library", "this is ONNX Runtime's CPU build (no " + shared + " beside it)", takeBuild},
		"without TensorRT":          {"tensorrt", []string{shared, cuda}, "anything", "this ONNX Runtime is built without it (no libonnxruntime_providers_tensorrt.so beside it)", takeGPUBuild},
		"no CUDA on this machine":   {"cuda", []string{shared, cuda}, "/src/x.cc:1 Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library /a/" + cuda + " with error: libcublasLt.so.12: cannot open shared object file: No such file or directory", cuda + " needs libcublasLt.so.12, which is not found", findNeeded},
		"another failure to load":   {"cuda", []string{shared, cuda}, "Failed to load library /a/" + cuda + " with error: /a/" + cuda + ": undefined symbol: x", "Failed to load library /a/" + cuda + " with error: /a/" + cuda + ": undefined symbol: x", ""},
		"the driver":                {"cuda", []string{shared, cuda}, "CUDA failure 35: CUDA driver version is insufficient\nmore", "CUDA failure 35: CUDA driver version is insufficient", ""},
		"another system's provider": {"coreml", nil, "Your platform or onnxruntime library does not support CoreML", "ONNX Runtime has it on macOS only", ""},
	} {
		folder := t.TempDir()
		for _, library := range c.beside {
			if err := os.WriteFile(filepath.Join(folder, library), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		e := byName(c.provider).refused(folder, errors.New(c.said))
		if e.reason != c.reason || e.remedy != c.remedy {
			t.Errorf("%s: %q; %q", name, e.reason, e.remedy)
		}
		if text := e.Error(); !strings.Contains(text, "provider "+c.provider) || !strings.HasSuffix(text, strings.TrimSuffix(c.reason+"; "+c.remedy, "; ")) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// The places in the runtime's source are of no use to a user.
func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain\nsecond": "plain",
		"Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:47 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, bool) input_shape_size == size was false.": "Status Message: input_shape_size == size was false.",
		"/src/a.cc:12 std::enable_if_t<T> f() const [with T = int; std::string = std::basic_string<char>] no (really) memory":                                                                                                                              "no (really) memory",
	} {
		if got := firstLine(errors.New(text)); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}
