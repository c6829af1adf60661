package ort

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	yalue "github.com/yalue/onnxruntime_go"
)

// CPU is the provider that every runtime has.
const CPU = "cpu"

// target is what a session of a provider runs on.
type target struct {
	model  string // the path of the model's file
	device int
	half   bool
}

// provider is a way to run models, if the opened library was built with it and the
// machine has what it needs.
type provider struct {
	name string
	// devices are told apart by number.
	devices bool
	// half runs in half precision on request.
	half bool
	add  func(*yalue.SessionOptions, target) error
}

// providers, the processor first.
var providers = []provider{
	{name: CPU, add: func(*yalue.SessionOptions, target) error { return nil }},
	{name: "cuda", devices: true, add: addCUDA},
	{name: "tensorrt", devices: true, half: true, add: addTensorRT},
	{name: "openvino", add: func(o *yalue.SessionOptions, _ target) error { return o.AppendExecutionProviderOpenVINO(nil) }},
	{name: "coreml", add: func(o *yalue.SessionOptions, _ target) error { return o.AppendExecutionProviderCoreMLV2(nil) }},
	{name: "directml", devices: true, add: func(o *yalue.SessionOptions, t target) error { return o.AppendExecutionProviderDirectML(t.device) }},
	{name: "migraphx", devices: true, add: addMIGraphX},
}

func addCUDA(o *yalue.SessionOptions, t target) error {
	c, err := yalue.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer c.Destroy()
	// Every batch has the same shape, so the search for the best convolution is paid
	// once.
	err = c.Update(map[string]string{"device_id": strconv.Itoa(t.device), "cudnn_conv_algo_search": "EXHAUSTIVE"})
	return errors.Join(err, o.AppendExecutionProviderCUDA(c))
}

// addTensorRT keeps the engines that it builds beside the model: building takes minutes.
func addTensorRT(o *yalue.SessionOptions, t target) error {
	c, err := yalue.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer c.Destroy()
	cache := strings.TrimSuffix(t.model, filepath.Ext(t.model)) + ".tensorrt"
	flag := map[bool]string{false: "0", true: "1"}
	err = c.Update(map[string]string{
		"device_id": strconv.Itoa(t.device), "trt_fp16_enable": flag[t.half],
		"trt_engine_cache_enable": "1", "trt_engine_cache_path": cache,
		"trt_timing_cache_enable": "1", "trt_timing_cache_path": cache,
	})
	return errors.Join(err, o.AppendExecutionProviderTensorRT(c))
}

func addMIGraphX(o *yalue.SessionOptions, t target) error {
	return o.AppendExecutionProvider("MIGraphX", map[string]string{"device_id": strconv.Itoa(t.device)})
}

// Providers lists the names that [Options.Provider] takes.
func Providers() []string {
	var list []string
	for _, p := range providers {
		list = append(list, p.name)
	}
	return list
}

// addProvider makes a session run on what o names. The graph must run there as a whole
// unless o.AllowFallback.
func addProvider(options *yalue.SessionOptions, model string, o Options) error {
	p, err := o.provider()
	if err != nil || p.name == CPU {
		return err
	}
	if err := p.add(options, target{model, o.Device, o.Half}); err != nil {
		return &providerError{provider: p.name, reason: cause(err)}
	}
	if o.AllowFallback {
		return nil
	}
	return options.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1")
}

// providerError is a provider that the opened library cannot use.
type providerError struct{ provider, reason string }

func (e *providerError) Error() string {
	return fmt.Sprintf("provider %s is not usable with %s (%s): open a runtime built with it by --onnxruntime", e.provider, opened, e.reason)
}

// cause is the last part of what the runtime says, which begins with where in its source
// the error arose.
func cause(err error) string {
	text := firstLine(err)
	if _, last, found := strings.Cut(text, " : FAIL : "); found {
		return last
	}
	return text
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
