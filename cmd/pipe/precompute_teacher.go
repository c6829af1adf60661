package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/eval"
	"facepipe/eval/protocol"
	"facepipe/internal/ort"
	"facepipe/internal/plain"
	"facepipe/internal/worker"
	"facepipe/store/cache"
	"facepipe/teacher"
)

type precomputeOptions struct {
	teacher.Options
	flags         *pflag.FlagSet
	verifyPairs   string
	verifyDataset string
	minAccuracy   float64
	plan          string
	worker        string
}

// defaultMinAccuracy is what any teacher worth distilling reaches on LFW.
const defaultMinAccuracy = 0.99

func (o *precomputeOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "precompute-teacher DATASET --teacher FILE.onnx | --plan PLAN",
		Short: "Embed every crop with a teacher, once, and cache the result",
		Long: `Precompute-teacher runs an ONNX face embedder over every crop of a dataset and
stores the raw embeddings with their norms beside the crops. What the cache holds
already is not computed again.

With --reuse, embeddings of the same crops that another dataset's cache of the same
model, preprocessing, flip and dtype holds are copied bit for bit; the rest is computed.

With --plan it does a worker's share of a plan (see pipe plan), and writes it into the
plan's folder; pipe merge --plan puts the shares together, and holds embeddings without use
against --max-reject-rate. DATASET and --teacher are the plan's then, unless they lie
elsewhere on this machine.

A cache belongs to one model file, preprocessing, flip and dtype. Another combination
needs another --name; the two are never mixed.

A --provider other than cpu has to compute the whole model. If it leaves nodes to the
processor, that is an error that names them, unless --allow-fallback; then it is a note.
ONNX Runtime itself places what only computes shapes on the processor: a model that does
that (a view by the batch's size, exported from PyTorch) needs --allow-fallback and loses
nothing by it. What tensorrt does not take, cuda does. TensorRT keeps the engines that it
builds in MODEL.tensorrt beside the model or, where that cannot be written, in the user's
cache folder; it builds one for each batch that --batch auto measures.

Of a model with several outputs the only one with an embedding's shape is taken, or what
--output names. If that has unit length and another output is the norm that it had before, as
AdaFace's do, the raw embedding and the norm are cached.

A model that takes another size than the crops' gets them resampled: shrinking costs next to
nothing; enlarging adds no detail, for which ingest --crop-size makes larger crops; of a model
that is not square (SphereFace's 96x112) the crop's middle is taken. Models of other sizes may
be trained on faces that were cut out otherwise (FaceNet's 160x160 from a detector's box), which
costs them more: see what pipe eval says.

PREPROCESSING is what turns a crop's pixels into the model's input:
  auto       what the model's own metadata says, else by the graph's first nodes: a
             graph that normalises by itself gets raw pixels, any other arcface; an input
             of integers gets pixels as they are (int8: less 128)
  arcface    RGB, (x - 127.5) / 127.5
  raw        RGB, 0 to 255
  FILE.json  {"channel_order": "BGR", "mean": [...], "std": [...], "height": 112,
             "width": 112, "layout": "NCHW"}; mean and std in that channel order
Size and layout (NCHW, NHWC) are those that the input's shape tells, unless a file does.`,
		Example: `  pipe precompute-teacher faces.ds --teacher w600k_r50.onnx --flip
  pipe precompute-teacher faces.ds --teacher adaface.onnx --preprocess bgr.json --dtype fp32
  pipe precompute-teacher --plan job --worker auto
  pipe precompute-teacher all.ds --teacher w600k_r50.onnx --flip --reuse faces.ds --reuse old.ds`,
	}
}

func (o *precomputeOptions) addFlags(f *pflag.FlagSet) {
	o.addContractFlags(f)
	f.StringVar(&o.plan, "plan", "", "do a share of the plan in this `folder`")
	f.StringVar(&o.worker, "worker", "auto", "which `share` of --plan: I/N, or auto for what Slurm, Kubernetes, torchrun or PIPE_WORKER and PIPE_WORKERS say")
	f.IntVar(&o.Workers, "workers", 0, "goroutines that decode crops (default: one a core); not the workers of a plan")
	f.Float64Var(&o.MaxRejectRate, "max-reject-rate", teacher.DefaultMaxRejectRate, "share of embeddings without use above which the exit status is 3")
}

// addContractFlags binds what a cache is made by, and where from.
func (o *precomputeOptions) addContractFlags(f *pflag.FlagSet) {
	o.flags, o.Version = f, version
	f.StringVar(&o.Model, "teacher", "", "ONNX `file` of the teacher (required)")
	f.StringVar(&o.Name, "name", "", "`name` of the cache (default: the file's name without its ending)")
	f.StringVar(&o.Preprocess, "preprocess", "auto", "`preprocessing`: auto, arcface, raw or a JSON file")
	f.StringVar(&o.Output, "output", "", "`name` of the embedding among several outputs (default: the only one with an embedding's shape)")
	f.BoolVar(&o.Flip, "flip", false, "embed the mirror image of every crop, too")
	f.StringVar(&o.DType, "dtype", cache.FP16, "`type` of cached embeddings: fp16 or fp32")
	f.BoolVar(&o.Runtime.Half, "half", false, "let tensorrt compute in half precision; such a cache is another one")
	f.Var(devicesFlag{&o.Devices}, "devices", "`numbers` of the provider's devices that share the work (default: 0)")
	addRuntimeFlags(f, &o.Runtime, &o.Batch)
	f.StringArrayVar(&o.Reuse, "reuse", nil, "another `dataset` whose cached embeddings are copied, not computed; may be repeated")
	f.BoolVar(&o.NoSelfTest, "no-self-test", false, "do not compare the preprocessing of a new cache with the usual ones")
	f.BoolVar(&o.AllowWeakTeacher, "allow-weak-teacher", false, "take a teacher that the self-test finds no better than chance")
	f.StringVar(&o.verifyPairs, "verify-pairs", "", "score the teacher on this `file` of pairs first")
	f.StringVar(&o.verifyDataset, "verify-dataset", "", "`dataset` that holds the images of --verify-pairs (default: the one to embed)")
	f.Float64Var(&o.minAccuracy, "min-accuracy", defaultMinAccuracy, "accuracy on --verify-pairs below which the teacher is refused")
}

func (o *precomputeOptions) validate(args []string) error {
	return errors.Join(o.validateInputs(args), o.validateContract(), share("--max-reject-rate", o.MaxRejectRate))
}

// validateInputs wants a dataset and a teacher, which a plan may know.
func (o *precomputeOptions) validateInputs(args []string) error {
	if o.plan == "" {
		return errors.Join(oneDataset(args, &o.Dataset), required("--teacher", o.Model), misplaced(o.flags, "needs --plan", "worker"))
	}
	err := errors.Join(
		misplaced(o.flags, "is the plan's matter", "name", "flip", "dtype", "preprocess", "output", "half", "no-self-test", "allow-weak-teacher", "verify-pairs", "verify-dataset", "min-accuracy"),
		misplaced(o.flags, "is of a whole cache, not of a share of a plan", "max-reject-rate"))
	if err != nil || len(args) == 0 {
		return err
	}
	return oneDataset(args, &o.Dataset)
}

func (o *precomputeOptions) validateContract() error {
	return errors.Join(
		preprocessing(o.Preprocess),
		oneOf("--dtype", o.DType, cache.FP16, cache.FP32),
		o.ValidateRuntime(), allNamed("--reuse", o.Reuse), notNegative("--threads", o.Runtime.Threads),
		share("--min-accuracy", o.minAccuracy), o.validateVerification(),
		notNegative("--workers", o.Workers),
	)
}

func (o *precomputeOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Runtime.Library, o.Progress = s.onnxruntime, s.progress()
	if err := o.verify(ctx, o.Runtime); err != nil {
		return nil, err
	}
	summary, err := o.precompute(ctx)
	if err != nil && !tooManyRejects(err) {
		return nil, err
	}
	return &result{summary, func(w io.Writer) { printPrecomputed(w, summary) }}, err
}

// precompute does everything, or a worker's share of a plan.
func (o *precomputeOptions) precompute(ctx context.Context) (teacher.Summary, error) {
	if o.plan == "" {
		return teacher.Precompute(ctx, o.Options)
	}
	w, err := worker.Parse(o.worker, os.Getenv)
	if err != nil {
		return teacher.Summary{}, usageError{err}
	}
	return teacher.Work(ctx, o.plan, w, o.Options)
}

func (o *precomputeOptions) validateVerification() error {
	if o.verifyPairs != "" || o.plan != "" {
		return nil
	}
	return misplaced(o.flags, "needs --verify-pairs", "verify-dataset", "min-accuracy")
}

// verify refuses a teacher that misses the figure it is known for: a wrong
// preprocessing, or another model than it is thought to be.
func (o *precomputeOptions) verify(ctx context.Context, runtime ort.Options) error {
	if o.verifyPairs == "" {
		return nil
	}
	report, err := eval.Run(ctx, eval.Options{
		Dataset: cmp.Or(o.verifyDataset, o.Dataset), Tests: []eval.Test{{Protocol: protocol.Pairs, List: o.verifyPairs}}, Models: []string{o.Model}, Preprocess: o.Preprocess, Output: o.Output,
		Runtime: runtime, Progress: o.Progress,
	})
	if err != nil {
		return fmt.Errorf("verify teacher %s: %w", o.Model, err)
	}
	m := report.Models[0]
	if m.Accuracy < o.minAccuracy {
		return fmt.Errorf("verify teacher %s: accuracy %.4f on %s, wanted %g; under %v (%s)", o.Model, m.Accuracy, o.verifyPairs, o.minAccuracy,
			m.Preprocess, m.PreprocessReason)
	}
	plain.Fprintf(o.Progress, "teacher %s: accuracy %.4f on %s\n", o.Model, m.Accuracy, o.verifyPairs)
	return nil
}

func printPrecomputed(w io.Writer, s teacher.Summary) {
	plain.Fprintf(w, "teacher %s: %d crops, %d-d %s, mirrored too: %v\n", s.Teacher, s.Rows, s.Dim, s.DType, s.Flip)
	plain.Fprintf(w, "  preprocessing  %v (%s)\n", s.Preprocess, s.PreprocessReason)
	plain.Fprintf(w, "  computed       %d in %.1f s (%.0f images/s)\n", s.Computed, s.Seconds, s.ImagesPerSecond)
	plain.Fprintf(w, "  reused         %d\n", s.Reused)
	for _, d := range s.CopiedFrom {
		plain.Fprintf(w, "  copied         %d of %s, teacher %s\n", d.Copied, d.Dataset, d.Teacher)
	}
	if s.Appended > 0 {
		plain.Fprintf(w, "  appended       %d crops since the run began: the same command embeds them\n", s.Appended)
	}
	t := s.Stages
	plain.Fprintf(w, "  stages         open %.1f s, self-test %.1f s; then read %.1f s, decode %.1f s, normalise %.1f s, infer %.1f s (waited %.1f s), write %.1f s, commit %.1f s\n",
		t.Open, t.SelfTest, t.Read, t.Decode, t.Normalise, t.Infer, t.Wait, t.Write, t.Commit)
	plain.Fprintf(w, "  cost           %.1f s of processors, %.1f s of devices\n", s.CPUSeconds, s.DeviceSeconds)
	if d := s.Drift; d != nil {
		plain.Fprintf(w, "  fp16           cosine to what the teacher said at least %s, on average %s\n", nearOne(d.MinCosine), nearOne(d.MeanCosine))
	}
	for _, warning := range s.Warnings {
		plain.Fprintf(w, "  WARNING        %s\n", warning)
	}
	if s.Invalid > 0 {
		plain.Fprintf(w, "  unusable       %d embeddings were not finite or zero\n", s.Invalid)
	}
}
