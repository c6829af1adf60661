// Package ort runs ONNX models on ONNX Runtime, whose shared library is found and
// opened at run time.
//
// A [Session] is a loaded model, a [Tensor] an array that both Go and the
// runtime see, a [Binding] a session with tensors that it runs on again and again.
// Running a session is safe for concurrent use; a tensor belongs to one run at a time.
package ort

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	yalue "github.com/yalue/onnxruntime_go"

	"facepipe/internal/nativelib"
	"facepipe/internal/onnx"
	"facepipe/internal/regular"
)

// ErrRuntime marks a runtime that is missing, too old or unusable.
var ErrRuntime = errors.New("ONNX Runtime")

// ErrModel marks a file that the runtime cannot load as a model.
var ErrModel = errors.New("cannot load model")

const remedy = "run `make deps`, or name one (1.24 or later) with --onnxruntime or PIPE_ONNXRUNTIME"

// Library says where the runtime is looked for: explicit (may be ""), then
// $PIPE_ONNXRUNTIME, then the pinned package, then the system.
func Library(explicit string) nativelib.Search {
	const base = "node_modules/onnxruntime-node/bin/napi-v*/linux/" + platform + "/libonnxruntime.so*"
	return nativelib.Search{
		Name: "libonnxruntime.so", Explicit: explicit, Env: "PIPE_ONNXRUNTIME",
		Pinned: []string{"third_party/onnxruntime/" + base, "lib/libonnxruntime.so*"},
		System: []string{"libonnxruntime.so", "libonnxruntime.so.1*"},
		Remedy: remedy,
	}
}

var (
	opening sync.Mutex
	opened  string     // the library's path, "" before the first Init
	table   *functions // of the library
	api     *calls     // of the table
)

// Init opens the runtime, once for the process. A later call with another explicit
// path is an error.
func Init(explicit string) error {
	opening.Lock()
	defer opening.Unlock()
	if opened != "" {
		if explicit != "" && explicit != opened {
			return fmt.Errorf("%w: %s is open already, not %s", ErrRuntime, opened, explicit)
		}
		return nil
	}
	path, err := Library(explicit).Path()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRuntime, err)
	}
	version, found, err := probe(path)
	if err != nil {
		return fmt.Errorf("%w: %s cannot be used: %w; %s", ErrRuntime, path, err, remedy)
	}
	yalue.SetSharedLibraryPath(path)
	// Faults come back as errors, so the runtime need not print them.
	if err := yalue.InitializeEnvironment(yalue.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("%w: %s of version %s cannot be used: %s; %s", ErrRuntime, path, version, firstLine(err), remedy)
	}
	opened, table, api = path, found, found.calls()
	return nil
}

// Version is the version of the opened runtime, e.g. "1.24.3"; "" before [Init].
func Version() string {
	opening.Lock()
	defer opening.Unlock()
	if opened == "" {
		return ""
	}
	return yalue.GetVersion()
}

// Info describes an input or output of a model.
type Info struct {
	Name string
	Type onnx.ElemType // Float32, or one of [Options].Crossing
	Dims []int64       // -1 where any size fits
}

// Options tune a session.
type Options struct {
	// Threads of one operator; 0 takes as many as this process may use cores.
	Threads int
	// Provider is one of [Providers], "" is the processor.
	Provider string
	// Device is the number of the provider's device.
	Device int
	// Half computes in half precision, of which only TensorRT is capable.
	Half bool
	// TF32 lets NVIDIA's devices round float32 to ten bits in convolutions and products of
	// matrices; without it float32 is computed in full, whatever the runtime's default is.
	TF32 bool
	// MemoryLimit is how many bytes of a CUDA device the runtime may keep for runs; 0 for any.
	MemoryLimit int64
	// Shape is the one that the input has in every run, for providers of which [Builds] is true;
	// nil if it is not known.
	Shape []int64
	// Digest identifies the model's bytes, for what TensorRT keeps of it; "" keeps nothing.
	Digest string
	// Crossing are the types that inputs and outputs may have beside float32: Float16, Uint8.
	Crossing []onnx.ElemType
	// External are the files of weights beside the model; nil has [Open] look for them.
	External []string
	// AllowFallback lets the processor do what the provider cannot. Without it a model is
	// refused if any part of it would run on the processor, even if the runtime only prefers
	// to compute some shapes there.
	AllowFallback bool
	// Library is the path of the runtime; "" looks it up.
	Library string
	// Model are bytes to load instead of the file's, which only names the model then; nil
	// loads the file.
	Model []byte
}

// Validate refuses what no machine could run: a provider that does not exist, or a device or a
// precision that it does not have.
func (o Options) Validate() error {
	_, err := o.provider()
	return err
}

// OnProcessor is o without a provider and its settings, for a look at a model on a machine
// that may have no other device than the processor.
func (o Options) OnProcessor() Options {
	return Options{Threads: o.Threads, Provider: CPU, Library: o.Library}
}

// place says where a model was to run; "" for the processor.
func (o Options) place() string {
	if o.Provider == "" || o.Provider == CPU {
		return ""
	}
	return fmt.Sprintf(" on %s, device %d", o.Provider, o.Device)
}

// Session is a loaded model.
type Session struct {
	path            string
	inputs, outputs []Info
	session         *yalue.DynamicAdvancedSession
	crossing        []onnx.ElemType
	// copiesInputs says that inputs may be copied to a device when they are bound.
	copiesInputs bool
	// engines says where TensorRT's engines are kept, elsewhere what the provider leaves to
	// others; "" if nothing.
	engines, elsewhere string
	// pool is memory that the device copies fastest, nil if any is as good; slow says why there is
	// none although there should be.
	pool *pool
	slow string
}

// Open loads a model file. While another process builds what TensorRT keeps of the model, it waits until
// ctx ends. Errors wrap [ErrRuntime] or [ErrModel] and name the file, or are those of ctx.
func Open(ctx context.Context, path string, o Options) (*Session, error) {
	if err := Init(o.Library); err != nil {
		return nil, err
	}
	if err := o.verify(path); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrModel, path, err)
	}
	s := &Session{path: path, crossing: o.Crossing, copiesInputs: o.place() != ""}
	if _, err := o.provider(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRuntime, err)
	}
	if err := s.describe(o.Model); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrModel, path, err)
	}
	options, engines, err := s.options(o)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	err = building(ctx, engines, func() error { return s.load(o.Model, options) })
	if err != nil && errors.Is(err, ctx.Err()) {
		return nil, fmt.Errorf("open model %s: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w %s%s: %s", ErrModel, path, o.place(), o.refusal(ctx, path, err))
	}
	s.elsewhere = placedElsewhere(s.session, o)
	s.fastMemory(o)
	return s, nil
}

// verify makes sure of all files that the runtime is going to open: it would wait at a pipe, read
// a device until memory ends, and follow a model's words to any file.
func (o Options) verify(path string) error {
	if o.Model == nil {
		if _, err := regular.Stat(path); err != nil {
			return err
		}
	}
	external, err := o.external(path)
	if err != nil {
		return err
	}
	for _, name := range external {
		if _, err := onnx.Beside(path, name); err != nil {
			return err
		}
	}
	return nil
}

// external are the files of weights beside the model.
func (o Options) external(path string) ([]string, error) {
	if o.External != nil {
		return o.External, nil
	}
	data, err := o.Model, error(nil)
	if data == nil {
		data, err = regular.Read(path, onnx.MaxBytes)
	}
	if err != nil {
		return nil, regular.Reason(err)
	}
	m, err := onnx.Unmarshal(data)
	if err != nil {
		return nil, err
	}
	return m.ExternalFiles(), nil
}

// load loads the model's file, or bytes that stand for it.
func (s *Session) load(model []byte, options *yalue.SessionOptions) (err error) {
	if model == nil {
		s.session, err = yalue.NewDynamicAdvancedSession(s.path, names(s.inputs), names(s.outputs), options)
		return err
	}
	// Bytes do not say where the weights are that lie beside them.
	if err := options.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", filepath.Dir(s.path)); err != nil {
		return err
	}
	s.session, err = yalue.NewDynamicAdvancedSessionWithONNXData(model, names(s.inputs), names(s.outputs), options)
	return err
}

// refusal says why the runtime does not load a model. If the processor would have to compute
// some of it, and may not, the runtime itself does not say what.
func (o Options) refusal(ctx context.Context, path string, err error) string {
	if o.AllowFallback || !strings.Contains(err.Error(), "fallback to CPU EP has been explicitly disabled") {
		return loadError(err)
	}
	what := "it leaves nodes to the processor"
	o.AllowFallback = true
	if s, err := Open(ctx, path, o); err == nil {
		what = cmp.Or(s.elsewhere, what)
		s.Close()
	}
	return what + ", which --allow-fallback permits: those that only compute shapes cost nothing there, others may cost a lot"
}

// Notes say what a user should know about how the model was opened.
func (s *Session) Notes() []string {
	var notes []string
	for _, note := range []string{s.engines, s.elsewhere, s.slow} {
		if note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}

// describe finds the model's inputs and outputs. The binding loads the model for that, as it
// is and not optimized for any provider, and later again to run it. Of bytes that stand for
// the file it reads them itself, as the binding would not find weights beside them.
func (s *Session) describe(model []byte) error {
	if model != nil {
		return s.describeBytes(model)
	}
	plain, err := yalue.NewSessionOptions()
	if err != nil {
		return err
	}
	defer plain.Destroy()
	if err := errors.Join(plain.SetIntraOpNumThreads(1), plain.SetGraphOptimizationLevel(yalue.GraphOptimizationLevelDisableAll)); err != nil {
		return err
	}
	ins, outs, err := yalue.GetInputOutputInfoWithOptions(s.path, plain)
	if err != nil {
		return errors.New(loadError(err))
	}
	if s.inputs, err = s.infos(ins); err != nil {
		return err
	}
	s.outputs, err = s.infos(outs)
	return err
}

// takes says that inputs and outputs may have a type.
func (s *Session) takes(t onnx.ElemType) bool {
	return t == onnx.Float32 || slices.Contains(s.crossing, t)
}

func (s *Session) describeBytes(model []byte) error {
	m, err := onnx.Unmarshal(model)
	if err != nil {
		return err
	}
	for _, list := range []struct {
		from []onnx.ValueInfo
		to   *[]Info
	}{{m.Graph.Images(), &s.inputs}, {m.Graph.Outputs, &s.outputs}} {
		for _, v := range list.from {
			if !s.takes(v.Type) {
				return fmt.Errorf("%s is no float32 tensor", v.Name)
			}
			info := Info{Name: v.Name, Type: v.Type}
			for _, d := range v.Dims {
				info.Dims = append(info.Dims, d.Size)
			}
			*list.to = append(*list.to, info)
		}
	}
	return nil
}

// options are the runtime's, and the folder in which TensorRT keeps its engines.
func (s *Session) options(o Options) (_ *yalue.SessionOptions, engines string, err error) {
	options, err := yalue.NewSessionOptions()
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrRuntime, err)
	}
	// The runtime's own default counts the machine's cores, not those that a container
	// or a scheduler grants, and pins threads to them.
	threads := cmp.Or(o.Threads, runtime.GOMAXPROCS(0))
	err = errors.Join(
		options.SetIntraOpNumThreads(threads),
		options.SetInterOpNumThreads(1),
		// Within a run, threads that spin while they wait for each other make a
		// MobileFaceNet a fifth faster; between runs they would take the cores from the
		// workers that decode crops, and from whatever else runs.
		options.AddSessionConfigEntry("session.force_spinning_stop", "1"))
	if err == nil {
		engines, s.engines, err = addProviders(options, s, o)
	}
	if err != nil {
		options.Destroy()
		return nil, "", fmt.Errorf("%w: %w", ErrRuntime, err)
	}
	return options, engines, nil
}

// infos refuses inputs and outputs that are no tensors of a type that is taken.
func (s *Session) infos(list []yalue.InputOutputInfo) ([]Info, error) {
	var out []Info
	for _, i := range list {
		kind := onnx.ElemType(i.DataType) // the runtime numbers types as the standard does
		if i.OrtValueType != yalue.ONNXTypeTensor || !s.takes(kind) {
			return nil, fmt.Errorf("%s is no float32 tensor", i.Name)
		}
		dims := slices.Clone([]int64(i.Dimensions))
		for k, d := range dims {
			if d <= 0 {
				dims[k] = -1
			}
		}
		out = append(out, Info{Name: i.Name, Type: kind, Dims: dims})
	}
	return out, nil
}

func names(list []Info) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.Name
	}
	return out
}

// Inputs of the model, in its own order.
func (s *Session) Inputs() []Info { return s.inputs }

// Outputs in the model's own order.
func (s *Session) Outputs() []Info { return s.outputs }

// Close releases the model.
func (s *Session) Close() error {
	s.pool.close()
	return s.session.Destroy()
}

// Run computes the outputs for the inputs, both in the model's order. A nil output
// is allocated by the runtime and belongs to the caller.
func (s *Session) Run(inputs, outputs []*Tensor) error {
	if slices.ContainsFunc(s.outputs, func(v Info) bool { return v.Type != onnx.Float32 }) && slices.Contains(outputs, nil) {
		if err := s.runAllocating(inputs, outputs); err != nil {
			return fmt.Errorf("run %s: %s", s.path, firstLine(err))
		}
		return nil
	}
	ins, outs := make([]yalue.Value, len(inputs)), make([]yalue.Value, len(outputs))
	for i, t := range inputs {
		ins[i] = t.value
	}
	for i, t := range outputs {
		if t != nil { // a nil *Tensor has no value
			outs[i] = t.value
		}
	}
	err := s.session.Run(ins, outs)
	// The runtime holds the elements' addresses only, which the collector does not see.
	runtime.KeepAlive(ins)
	runtime.KeepAlive(outs)
	if err != nil {
		return fmt.Errorf("run %s: %s", s.path, firstLine(err))
	}
	for i := range outputs {
		if outputs[i] != nil {
			continue
		}
		t, ok := outs[i].(*yalue.Tensor[float32])
		if !ok {
			return fmt.Errorf("run %s: output %s is no float32 tensor", s.path, s.outputs[i].Name)
		}
		outputs[i] = &Tensor{kind: onnx.Float32, dims: t.GetShape(), value: t, bytes: bytesOf(t.GetData())}
	}
	return nil
}
