package ort

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	yalue "github.com/yalue/onnxruntime_go"
)

// CPU is the provider that every runtime has.
const CPU = "cpu"

// target is what a session of a provider runs on.
type target struct {
	device int
	half   bool
	// engines is a folder for what TensorRT builds, "" if it is not to be kept.
	engines string
}

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
	// behind is the provider that computes what this one cannot, before the processor does.
	behind string
	// builds says that it takes minutes to build an engine of a model.
	builds bool
	add    func(*yalue.SessionOptions, target) error
}

// providers, the processor first.
var providers = []provider{
	{name: CPU, runtimeName: "CPUExecutionProvider", add: func(*yalue.SessionOptions, target) error { return nil }},
	{name: "cuda", runtimeName: "CUDAExecutionProvider", library: "cuda", devices: true, add: addCUDA},
	{name: "tensorrt", runtimeName: "TensorrtExecutionProvider", library: "tensorrt", devices: true, half: true, behind: "cuda", builds: true, add: addTensorRT},
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

// cudaOptions has CUDA search for the best convolutions. Every batch has the same shape, so
// the search is done once.
func cudaOptions(t target) map[string]string {
	options := deviceOption(t)
	options["cudnn_conv_algo_search"] = "EXHAUSTIVE"
	return options
}

func addTensorRT(o *yalue.SessionOptions, t target) error {
	c, err := yalue.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer c.Destroy()
	return errors.Join(c.Update(tensorRTOptions(t)), o.AppendExecutionProviderTensorRT(c))
}

func tensorRTOptions(t target) map[string]string {
	options := deviceOption(t)
	options["trt_fp16_enable"] = map[bool]string{false: "0", true: "1"}[t.half]
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

// addProviders makes a session run on the provider that o names and on the one behind it. The
// whole graph must run there unless o.AllowFallback. engines says where engines are kept.
func addProviders(options *yalue.SessionOptions, model string, o Options) (engines string, err error) {
	chain, err := o.chain()
	if err != nil || chain[0].name == CPU {
		return "", err
	}
	t := target{device: o.Device, half: o.Half}
	if chain[0].builds && o.Digest != "" {
		t.engines, engines = keepEngines(model, o.Digest)
	}
	for _, p := range chain {
		if err := p.add(options, t); err != nil {
			dropEmpty(t.engines)
			return "", p.refused(filepath.Dir(opened), err)
		}
	}
	err = options.AddSessionConfigEntry(recordPlacement, "1")
	if !o.AllowFallback {
		err = errors.Join(err, options.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1"))
	}
	return engines, err
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
	}
	return providers[i], nil
}
