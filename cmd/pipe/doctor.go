package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
	"facepipe/student/torch"
)

type doctorOptions struct {
	flags  *pflag.FlagSet
	engine string

	// models are files to examine instead of the machine.
	models     []string
	preprocess string
	output     string
	batch      int
	runtime    ort.Options
}

// doctorSummary is the state of everything that pipe opens at run time.
type doctorSummary struct {
	ONNXRuntime ort.State `json:"onnxruntime"`
	// JPEG is the decoder that an ingest takes by itself.
	JPEG   string      `json:"jpeg"`
	Engine engineState `json:"engine"`
}

// engineState says whether students can be trained here.
type engineState struct {
	Usable  bool   `json:"usable"`
	Library string `json:"library,omitempty"`
	Torch   string `json:"torch,omitempty"`
	// SIMD is the instruction set that the engine's own loops run in, and BFloat16 what
	// multiplies in convolutions in bfloat16: these ("own") or "onednn".
	SIMD     string `json:"simd,omitempty"`
	BFloat16 string `json:"bfloat16,omitempty"`
	// CUDA is whether there is a device, and a libtorch that can use it.
	CUDA bool `json:"cuda"`
	// CUDADevices is how many there are. Kernels is whether the first one runs the engine's own
	// kernels; KernelsReason says why not.
	CUDADevices   int    `json:"cuda_devices,omitempty"`
	Kernels       bool   `json:"cuda_kernels,omitempty"`
	KernelsReason string `json:"cuda_kernels_reason,omitempty"`
	// Collectives are what several ranks can train over: "gloo", "gloo nccl", or none.
	Collectives string `json:"collectives,omitempty"`
	Reason      string `json:"reason,omitempty"`
}

func (o *doctorOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can run, or what a model file is",
		Long: `Doctor opens the native libraries and runs a tiny model on every execution provider of
ONNX Runtime: only that tells whether a provider's own libraries and its device are
there. It changes nothing.

With --model it says what a file is, by reading and running it: face embedder, student of
pipe, detector or none of these; its inputs and outputs, the preprocessing that is taken,
why, and how far that can be relied on; what is done to crops if the model takes another
size; the length of an embedding, whether an embedding depends on the other crops of its
batch, the milliseconds a crop takes here, and the commands that use it. The exit status is
1 if a file cannot be used; the reason says what to do. docs/models.md says where models
come from.`,
		Example: `  pipe doctor
  pipe doctor --onnxruntime /opt/onnxruntime-gpu/lib/libonnxruntime.so --json
  pipe doctor --model w600k_r50.onnx --model det_10g.onnx
  pipe doctor --model adaface.onnx --preprocess bgr.json --output feature --provider cuda`,
	}
}

func (o *doctorOptions) addFlags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.engine, "engine", "", "training engine to open (default: $PIPE_ENGINE, the one of make engine, the system's)")
	f.StringArrayVar(&o.models, "model", nil, "`file` to examine instead of the machine; may be repeated")
	f.StringVar(&o.preprocess, "preprocess", "auto", "`preprocessing` of embedders: auto, arcface, raw or a JSON file")
	f.StringVar(&o.output, "output", "", "`name` of the embedding among several outputs (default: the only one with an embedding's shape)")
	addRuntimeFlags(f, &o.runtime, &o.batch)
}

func (o *doctorOptions) validate(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q: each model wants a --model", args[0])
	}
	err := errors.Join(allNamed("--model", o.models), preprocessing(o.preprocess), validateRuntime(o.runtime))
	if len(o.models) > 0 {
		return errors.Join(err, misplaced(o.flags, "is not for --model", "engine"))
	}
	return errors.Join(err, misplaced(o.flags, "needs --model", "preprocess", "output", "provider", "allow-fallback", "batch", "threads", "tf32", "gpu-memory"))
}

func (o *doctorOptions) run(ctx context.Context, s *session) (*result, error) {
	if len(o.models) > 0 {
		return o.runModels(ctx, s)
	}
	runtime, err := ort.Probe(s.onnxruntime)
	if err != nil {
		return nil, err
	}
	summary := doctorSummary{ONNXRuntime: runtime, JPEG: imgcodec.DecoderName(), Engine: probeEngine(o.engine)}
	return &result{summary, func(w io.Writer) { printHealth(w, summary) }}, nil
}

func probeEngine(path string) engineState {
	e, err := torch.Open(path)
	if err != nil {
		return engineState{Reason: strings.TrimPrefix(err.Error(), torch.ErrEngine.Error()+": ")}
	}
	s := engineState{Usable: true, Library: e.Path(), Torch: e.TorchVersion(), SIMD: e.SIMD(), BFloat16: e.BFloat16(),
		CUDA: e.HasDevice("cuda"), Collectives: e.GroupBackends()}
	if s.CUDA {
		s.CUDADevices = e.CUDADevices()
		if err := e.TryKernels("cuda"); err != nil {
			s.KernelsReason, _, _ = strings.Cut(err.Error(), "\n")
		}
		s.Kernels = s.KernelsReason == ""
	}
	return s
}

func printHealth(w io.Writer, s doctorSummary) {
	if s.ONNXRuntime.Version == "" {
		printPart(w, "ONNX Runtime", "none: "+s.ONNXRuntime.Reason)
	} else {
		printPart(w, "ONNX Runtime", s.ONNXRuntime.Version+", "+s.ONNXRuntime.Library)
	}
	before := ""
	for _, p := range s.ONNXRuntime.Providers {
		switch {
		case p.Usable:
			printPart(w, "  "+p.Provider, "usable")
		case p.Reason == before:
			printPart(w, "  "+p.Provider, "no, the same")
		default:
			printPart(w, "  "+p.Provider, "no: "+p.Reason)
		}
		before = p.Reason
	}
	printPart(w, "JPEG decoder", s.JPEG)
	printEngine(w, s.Engine)
	printRemedies(w, s.ONNXRuntime.Providers)
}

func printEngine(w io.Writer, e engineState) {
	if !e.Usable {
		printPart(w, "training engine", "none: "+e.Reason)
		return
	}
	printPart(w, "training engine", fmt.Sprintf("libtorch %s, %s", e.Torch, e.Library))
	printPart(w, "  loops", fmt.Sprintf("for %s, convolutions in bfloat16 by %s", e.SIMD, map[string]string{"own": "them", "onednn": "oneDNN"}[e.BFloat16]))
	backends := strings.Fields(e.Collectives)
	for _, part := range []struct {
		name   string
		usable bool
	}{{"cuda", e.CUDA}, {"gloo", slices.Contains(backends, "gloo")}, {"nccl", slices.Contains(backends, "nccl")}} {
		printPart(w, "  "+part.name, map[bool]string{true: "usable", false: "no"}[part.usable])
		if part.name == "cuda" && e.CUDA {
			printPart(w, "  kernels", map[bool]string{true: "in use", false: "no: " + e.KernelsReason}[e.Kernels])
		}
	}
}

// printPart prints a line of two columns; the parts of a longer sentence follow below.
func printPart(w io.Writer, name, state string) {
	const column = "\n                 "
	fmt.Fprintf(w, "%-16s %s\n", name, strings.ReplaceAll(state, "; ", ";"+column))
}

// printRemedies says once what to do for several providers.
func printRemedies(w io.Writer, providers []ort.ProviderState) {
	var remedies []string
	names := map[string][]string{}
	for _, p := range providers {
		if p.Remedy == "" {
			continue
		}
		if names[p.Remedy] == nil {
			remedies = append(remedies, p.Remedy)
		}
		names[p.Remedy] = append(names[p.Remedy], p.Provider)
	}
	for _, remedy := range remedies {
		fmt.Fprintf(w, "\nFor %s:\n  %s.\n", strings.Join(names[remedy], ", "), remedy)
	}
}
