package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	yalue "github.com/yalue/onnxruntime_go"

	"facepipe/internal/onnx"
)

// CPU is the provider that every runtime has.
const CPU = "cpu"

// target is what a session of a provider runs on.
type target struct {
	device int
	half   bool
	tf32   bool
	// memory is a limit in bytes on what the device keeps for runs, 0 for none.
	memory int64
	// profile is the shape of each input that the model leaves open, as TensorRT takes it:
	// "input:64x3x112x112"; "" if none is known.
	profile string
	// engines is a folder for what TensorRT builds, "" if it is not to be kept.
	engines string
}

// cudaPinned is the runtime's name for pinned memory of CUDA devices.
const cudaPinned = "CudaPinned"

// provider is a way to run models, if the opened library was built with it and the
// machine has what it needs.
type provider struct {
	name string
	// runtimeName is the runtime's name for it.
	runtimeName string
	// library is how the name of its own library's file ends, "" if it is built into the
	// runtime.
	library string
	// platform is the only system that may have it, "" for any.
	platform string
	// devices says that there may be several, known by number.
	devices bool
	// half says that it can compute in half precision.
	half bool
	// nvidia says that it computes on CUDA devices, whose settings it has.
	nvidia bool
	// pinned is the runtime's name for the memory that its devices copy fastest, "" if any is as
	// good, and flights how many runs at a time keep a device busy, 0 for one: one computes while
	// the other's values are copied.
	pinned  string
	flights int
	// crossing are the types, beside float32, in which values best come to it and from it.
	crossing []onnx.ElemType
	// behind is the provider that computes what this one cannot, before the processor does.
	behind string
	// builds says that it takes minutes to build an engine of a model.
	builds bool
	add    func(*yalue.SessionOptions, target) error
}

// providers, the processor first.
var providers = []provider{
	{name: CPU, runtimeName: "CPUExecutionProvider", add: func(*yalue.SessionOptions, target) error { return nil }},
	{name: "cuda", runtimeName: "CUDAExecutionProvider", library: "cuda", devices: true, nvidia: true, pinned: cudaPinned, flights: 2,
		crossing: []onnx.ElemType{onnx.Float16, onnx.Uint8}, add: addCUDA},
	{name: "tensorrt", runtimeName: "TensorrtExecutionProvider", library: "tensorrt", devices: true, half: true, nvidia: true, behind: "cuda", builds: true, pinned: cudaPinned, flights: 2,
		crossing: []onnx.ElemType{onnx.Float16}, add: addTensorRT},
	{name: "openvino", runtimeName: "OpenVINOExecutionProvider", library: "openvino",
		add: func(o *yalue.SessionOptions, _ target) error { return o.AppendExecutionProviderOpenVINO(nil) }},
	{name: "coreml", runtimeName: "CoreMLExecutionProvider", platform: "darwin",
		add: func(o *yalue.SessionOptions, _ target) error { return o.AppendExecutionProviderCoreMLV2(nil) }},
	{name: "directml", runtimeName: "DmlExecutionProvider", platform: "windows", devices: true,
		add: func(o *yalue.SessionOptions, t target) error { return o.AppendExecutionProviderDirectML(t.device) }},
	{name: "migraphx", runtimeName: "MIGraphXExecutionProvider", library: "migraphx", devices: true,
		add: func(o *yalue.SessionOptions, t target) error {
			return o.AppendExecutionProvider("MIGraphX", deviceOption(t))
		}},
}

func deviceOption(t target) map[string]string {
	return map[string]string{"device_id": strconv.Itoa(t.device)}
}

func addCUDA(o *yalue.SessionOptions, t target) error {
	c, err := yalue.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer c.Destroy()
	return errors.Join(c.Update(cudaOptions(t)), o.AppendExecutionProviderCUDA(c))
}

// bit is how the runtime takes a truth.
func bit(v bool) string { return map[bool]string{false: "0", true: "1"}[v] }

// cudaOptions has CUDA search for the best convolutions. Every batch has the same shape, so
// the search is done once, and memory need not grow in powers of two. What is computed, and in
// which layout, is said here whatever the runtime's defaults are.
func cudaOptions(t target) map[string]string {
	options := deviceOption(t)
	options["cudnn_conv_algo_search"] = "EXHAUSTIVE"
	options["use_tf32"], options["prefer_nhwc"] = bit(t.tf32), "0"
	options["arena_extend_strategy"] = "kSameAsRequested"
	if t.memory > 0 {
		options["gpu_mem_limit"] = strconv.FormatInt(t.memory, 10)
	}
	return options
}

// withoutTF32 is the only way to tell TensorRT, which rounds to TF32 by itself. NVIDIA's
// libraries read it when they are loaded.
const withoutTF32 = "NVIDIA_TF32_OVERRIDE"

func addTensorRT(o *yalue.SessionOptions, t target) error {
	if err := tellTF32(t.tf32); err != nil {
		return err
	}
	c, err := yalue.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer c.Destroy()
	return errors.Join(c.Update(tensorRTOptions(t)), o.AppendExecutionProviderTensorRT(c))
}

// tellTF32 says in the environment that TF32 is not wanted. A user who says otherwise there
// contradicts it.
func tellTF32(wanted bool) error {
	said, set := os.LookupEnv(withoutTF32)
	switch {
	case wanted && set && said == "0":
		return fmt.Errorf("%s=0 forbids the TF32 that was asked for", withoutTF32)
	case !wanted && set && said != "0":
		return fmt.Errorf("%s=%s leaves TF32 on: unset it, or ask for TF32", withoutTF32, said)
	case !wanted:
		return os.Setenv(withoutTF32, "0")
	}
	return nil
}

// tensorRTOptions has the profile be the one shape that is run: otherwise TensorRT builds its
// engine anew, for minutes, whenever a batch of another size comes.
func tensorRTOptions(t target) map[string]string {
	options := deviceOption(t)
	options["trt_fp16_enable"] = bit(t.half)
	if t.profile != "" {
		for _, which := range []string{"min", "opt", "max"} {
			options["trt_profile_"+which+"_shapes"] = t.profile
		}
	}
	if t.engines != "" {
		options["trt_engine_cache_enable"], options["trt_engine_cache_path"] = "1", t.engines
		options["trt_timing_cache_enable"], options["trt_timing_cache_path"] = "1", t.engines
	}
	return options
}

// Providers lists the names that [Options.Provider] takes.
func Providers() []string {
	var list []string
	for _, p := range providers {
		list = append(list, p.name)
	}
	return list
}

// Builds says whether a provider builds an engine for minutes for each shape that it runs on.
func Builds(name string) bool { return named(name).builds }

// Flights is how many runs of a model at a time keep a provider's device busy.
func Flights(name string) int { return max(1, named(name).flights) }

// Crossing are the types, beside float32, in which a model's inputs and outputs had best stay on
// their way to a provider and back: of a device's memory less is copied. The processor has none.
func Crossing(name string) []onnx.ElemType { return named(name).crossing }

// named is the provider of a name; a zero one if there is none.
func named(name string) provider {
	i := slices.IndexFunc(providers, func(p provider) bool { return p.name == name })
	if i < 0 {
		return provider{}
	}
	return providers[i]
}

// profile is the shape of the inputs that leave some of it open, as TensorRT takes it.
func profile(inputs []Info, shape []int64) string {
	var open []string
	for _, in := range inputs {
		if len(in.Dims) != len(shape) || !slices.Contains(in.Dims, -1) {
			continue
		}
		var sides []string
		for _, d := range shape {
			sides = append(sides, strconv.FormatInt(d, 10))
		}
		open = append(open, in.Name+":"+strings.Join(sides, "x"))
	}
	return strings.Join(open, ",")
}

// addProviders makes a session run on the provider that o names and on the one behind it. The
// whole graph must run there unless o.AllowFallback. engines is the folder in which engines are
// kept, said says which.
func addProviders(options *yalue.SessionOptions, s *Session, o Options) (engines, said string, err error) {
	chain, err := o.chain()
	if err != nil || chain[0].name == CPU {
		return "", "", err
	}
	t := target{device: o.Device, half: o.Half, tf32: o.TF32, memory: o.MemoryLimit, profile: profile(s.inputs, o.Shape)}
	if chain[0].builds && o.Digest != "" {
		t.engines, said = keepEngines(s.path, o.Digest)
	}
	for _, p := range chain {
		if err := p.add(options, t); err != nil {
			dropEmpty(t.engines)
			return "", "", p.refused(filepath.Dir(opened), err)
		}
	}
	err = options.AddSessionConfigEntry(recordPlacement, "1")
	if !o.AllowFallback {
		err = errors.Join(err, options.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1"))
	}
	return t.engines, said, err
}

// chain are the providers that are offered a model's nodes, in turn.
func (o Options) chain() ([]provider, error) {
	first, err := o.provider()
	if err != nil {
		return nil, err
	}
	chain := []provider{first}
	for _, p := range providers {
		if p.name == first.behind {
			chain = append(chain, p)
		}
	}
	return chain, nil
}

// provider is the one that the options name.
func (o Options) provider() (provider, error) {
	name := o.Provider
	if name == "" {
		name = CPU
	}
	i := slices.IndexFunc(providers, func(p provider) bool { return p.name == name })
	switch {
	case i < 0:
		return provider{}, fmt.Errorf("provider %q is none of %v", name, Providers())
	case o.Device < 0, o.Device != 0 && !providers[i].devices:
		return provider{}, fmt.Errorf("provider %s has no device %d", name, o.Device)
	case o.Half && !providers[i].half:
		return provider{}, fmt.Errorf("provider %s does not run in half precision", name)
	case o.TF32 && !providers[i].nvidia:
		return provider{}, fmt.Errorf("provider %s has no TF32", name)
	case o.MemoryLimit < 0, o.MemoryLimit > 0 && !providers[i].nvidia:
		return provider{}, fmt.Errorf("provider %s takes no limit of %d bytes of a device's memory", name, o.MemoryLimit)
	}
	return providers[i], nil
}
