package main

import (
	"context"
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
	engine string
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
	// Collectives are what several ranks can train over: "gloo", "gloo nccl", or none.
	Collectives string `json:"collectives,omitempty"`
	Reason      string `json:"reason,omitempty"`
}

func (o *doctorOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can run, and why the rest it cannot",
		Long: `Doctor opens the native libraries and runs a tiny model on every execution provider of
ONNX Runtime: only that tells whether a provider's own libraries and its device are
there. It changes nothing.`,
		Example: `  pipe doctor
  pipe doctor --onnxruntime /opt/onnxruntime-gpu/lib/libonnxruntime.so --json`,
	}
}

func (o *doctorOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.engine, "engine", "", "training engine to open (default: $PIPE_ENGINE, the one of make engine, the system's)")
}

func (o *doctorOptions) validate(args []string) error { return noArguments(args) }

func (o *doctorOptions) run(_ context.Context, s *session) (*result, error) {
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
		return engineState{Reason: err.Error()}
	}
	return engineState{Usable: true, Library: e.Path(), Torch: e.TorchVersion(), SIMD: e.SIMD(), BFloat16: e.BFloat16(),
		CUDA: e.HasDevice("cuda"), Collectives: e.GroupBackends()}
}

func printHealth(w io.Writer, s doctorSummary) {
	if s.ONNXRuntime.Version == "" {
		fmt.Fprintf(w, "ONNX Runtime: none: %s\n", s.ONNXRuntime.Reason)
	} else {
		fmt.Fprintf(w, "ONNX Runtime %s: %s\n", s.ONNXRuntime.Version, s.ONNXRuntime.Library)
	}
	for _, p := range s.ONNXRuntime.Providers {
		if p.Usable {
			fmt.Fprintf(w, "  %-9s usable\n", p.Provider)
		} else {
			fmt.Fprintf(w, "  %-9s no: %s\n", p.Provider, p.Reason)
		}
	}
	fmt.Fprintf(w, "JPEG decoder: %s\n", s.JPEG)
	printEngine(w, s.Engine)
}

func printEngine(w io.Writer, e engineState) {
	if !e.Usable {
		fmt.Fprintf(w, "training engine: none: %s\n", e.Reason)
		return
	}
	fmt.Fprintf(w, "training engine with libtorch %s: %s\n", e.Torch, e.Library)
	fmt.Fprintf(w, "  loops     for %s, convolutions in bfloat16 by %s\n", e.SIMD,
		map[string]string{"own": "them", "onednn": "oneDNN"}[e.BFloat16])
	backends := strings.Fields(e.Collectives)
	for _, part := range []struct {
		name   string
		usable bool
	}{{"cuda", e.CUDA}, {"gloo", slices.Contains(backends, "gloo")}, {"nccl", slices.Contains(backends, "nccl")}} {
		fmt.Fprintf(w, "  %-9s %s\n", part.name, map[bool]string{true: "usable", false: "no"}[part.usable])
	}
}
