package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/eval/faces"
	"facepipe/eval/protocol"
	"facepipe/eval/verification"
	"facepipe/internal/strictyaml"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/student"
	"facepipe/student/loss"
	"facepipe/student/net"
	"facepipe/student/optim"
)

type distillOptions struct {
	student.Options
	config     string
	valPairs   string
	valDataset string

	flags *pflag.FlagSet
}

func (o *distillOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "distill DATASET --out RUN",
		Short: "Train a student against cached embeddings and export it as ONNX",
		Long: `Distill trains a small network to reproduce what a teacher said about each crop,
or to tell identities apart (losses ` + strings.Join(lossesWithoutTeacher(), ", ") + `),
and writes RUN/student.onnx.

A run folder belongs to one run. Killed or stopped, it goes on with --resume and takes
exactly the steps it would have taken; so --resume on a new folder starts a run, and a
script may always give it.

Flags override the file of --config, and the file overrides the defaults below. It is YAML;
RUN/distill.yaml of an earlier run has all its settings, and repeats that run bit for bit (in
fp32, on the same machine).

With --exclude some crops are not trained on: FILE has a key or an identity a line (# begins a
comment), or is CSV whose header names a column train_identity (or identity) or train_key (or
key); a row takes out the identity or, where it has none, the key. Names are compared as a
whole. Those that the dataset lacks are counted; a file of which it has none is an error.
Identities left without a crop are no classes, class centres are those of the crops that
remain, and a run goes on with --resume only without the same crops.

With --init the network begins with a file's weights: those whose names and shapes are its
own, or all of an ONNX graph of the same layers. What was taken and what stays at random
is printed. Norms that the file has folded away get their statistics from the first crops.

Networks of transformers (metaformer-*) are trained with AdamW, by default with betas 0.9
and 0.999, eps 1e-8, weight decay 0.05 and a peak rate of 0.0005, others with SGD; --optimizer
chooses. The file has their settings: optimizer.betas and optimizer.eps, size.drop_path (0; how
often the last block is left out in training), size.only_last_class_token. --width applies.

Which loss suits which data, sums of losses and several teachers: docs/losses.md.

A run that diverges (a loss or gradient that is not finite, or a loss of --guard times its
median) ends before the weights move and leaves RUN/diverged.json, which says where it
began. Weights are kept in float32 in every precision. A step is judged on the device, and
read while the next one is under way; --json tells in blocking_calls_per_step how often a
step waited for the device.`,
		Example: `  pipe distill faces.ds --teacher w600k --epochs 18 --precision bf16 --out run
  pipe distill faces.ds --teacher w600k --loss cosine --val-pairs pairs.txt --out run2
  pipe distill faces.ds --loss arcface --input-norm inside --out teacher
  pipe distill faces.ds --teacher w600k --init w600k_mbf.onnx --student mbf-0.45g --lr 0.01 --out run3
  pipe distill faces.ds --config distill.yaml --resume --out run4`,
	}
}

// lossesWithoutTeacher are those that train on labels alone.
func lossesWithoutTeacher() []string {
	var names []string
	for _, l := range loss.All() {
		if l.Needs&(loss.TeacherEmbedding|loss.IdentityVectors) == 0 {
			names = append(names, l.Name)
		}
	}
	return names
}

// usualRates says which peak learning rate a loss is trained with.
func usualRates() string {
	names := map[float64][]string{}
	for _, l := range loss.All() {
		if l.Rate != 0 {
			names[l.Rate] = append(names[l.Rate], l.Name)
		}
	}
	text := fmt.Sprint(student.UsualRate)
	for _, rate := range slices.Sorted(maps.Keys(names)) {
		text += fmt.Sprintf("; %g with %s", rate, strings.Join(names[rate], ", "))
	}
	return text + fmt.Sprintf("; %g with adamw", student.UsualAdamWRate)
}

func (o *distillOptions) addFlags(f *pflag.FlagSet) {
	o.flags = f
	o.Options = student.DefaultOptions()
	f.StringVar(&o.Out, "out", "", "`folder` of the run (required)")
	f.BoolVar(&o.Resume, "resume", false, "go on from the newest checkpoint in the run's folder")
	f.StringVar(&o.config, "config", "", "YAML `file` with settings; flags override it")
	o.addLearningFlags(f)
	o.addTrainingFlags(f)
	o.addOutputFlags(f)
	o.addMachineFlags(f)
}

// headings are the groups of the options.
func (o *distillOptions) headings() map[string]string {
	return map[string]string{"out": "Run", "teacher": "Data", "student": "Network", "loss": "Loss", "epochs": "Training", "seed": "Sampling",
		"precision": "Numbers", "input-norm": "Output", "device": "Machine"}
}

// addLearningFlags binds what the student is, and what it learns from.
func (o *distillOptions) addLearningFlags(f *pflag.FlagSet) {
	f.Var(&o.Teacher, "teacher", "`name` of the teacher cache to learn from; may be given several times: losses learn from the mean of the teachers, or from the one that they name by @")
	f.StringVar(&o.Split, "split", o.Split, "`name` of the split to train on (default: all crops)")
	f.Var(&o.Exclude, "exclude", "`file` of keys and identities not to train on, one a line, or CSV such as eval's list of overlaps; may be given several times")
	f.Float64Var(&o.Fraction, "fraction", o.Fraction, "`share` of these crops to train on, such as 0.1; the same ones for every seed, and those of a smaller share lie among those of a larger one")
	f.StringVar(&o.Network, "student", o.Network, "`network` to train: "+strings.Join(net.Architectures(), ", "))
	f.IntVar(&o.Size.Dim, "dim", o.Size.Dim, "length of the student's embedding")
	f.Float64Var(&o.Size.Width, "width", o.Size.Width, "`factor` on the channels of every layer")
	f.StringVar(&o.Init, "init", o.Init, "ONNX or safetensors `file`, also a checkpoint or a run's folder, whose weights to begin with")
	f.StringVar(&o.Loss.Name, "loss", o.Loss.Name, "`expression` of losses, such as \"unified + 0.5*l2\" (pipe losses lists them): "+strings.Join(loss.Names(), ", "))
}

// addTrainingFlags binds how it learns.
func (o *distillOptions) addTrainingFlags(f *pflag.FlagSet) {
	f.IntVar(&o.Epochs, "epochs", o.Epochs, "passes over the dataset")
	f.IntVar(&o.Steps, "steps", o.Steps, "end after so many `steps`, wherever in an epoch; 0 for whole epochs")
	f.IntVar(&o.Batch, "batch", o.Batch, "crops at a time, of all ranks together")
	f.IntVar(&o.Accumulate, "accumulate", o.Accumulate, "`batches` that make one step, for a gradient of more crops than memory holds; norms and the memory bank see one at a time")
	f.Var(&o.LR, "lr", "peak learning `rate` (default "+usualRates()+")")
	f.StringVar(&o.Schedule, "schedule", o.Schedule, "learning rate's `shape` after the warm-up: "+strings.Join(optim.Schedules(), ", "))
	f.Float64Var(&o.WarmupEpochs, "warmup", o.WarmupEpochs, "`epochs` of linear rise to the peak rate; negative for a ninth of the run")
	f.StringVar(&o.Optimizer.Name, "optimizer", o.Optimizer.Name, "`optimizer`: "+strings.Join(optim.Names(), ", ")+" (default: adamw for metaformer-*, sgd for others)")
	f.Float64Var(&o.Optimizer.Momentum, "momentum", o.Optimizer.Momentum, "momentum of SGD, from 0 to below 1")
	f.Float64Var(&o.Optimizer.WeightDecay, "weight-decay", o.Optimizer.WeightDecay, "weight decay, from 0 to 1; norms and slopes have none; negative for the optimizer's own, 0.0005 of sgd and 0.05 of adamw")
	f.Float64Var(&o.Optimizer.Clip, "clip", o.Optimizer.Clip, "longest gradient; 0 for any")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "seed of weights, order and mirroring")
	f.IntVar(&o.ShuffleWindow, "shuffle-window", o.ShuffleWindow, "`rows` that are shuffled among each other; fewer read the dataset more in order, for one larger than memory; 0 for all")
	f.StringVar(&o.Sampler, "sampler", o.Sampler, "`way` to draw batches: uniform; class-balanced (identities with --per-identity crops each); mixed (half and half; an epoch is a pass of the uniform half)")
	f.IntVar(&o.PerIdentity, "per-identity", o.PerIdentity, "`crops` of each identity in a class-balanced batch; those of smaller identities are repeated")
	f.StringVar(&o.Flip, "flip", o.Flip, "mirror crops at random: auto (if the teacher has mirrored embeddings), on or off")
	f.StringVar(&o.Precision, "precision", o.Precision, "`type` of activations and convolutions: fp32, bf16, or fp16 with a loss scale that moves by itself")
	f.StringVar(&o.CUDA.TF32, "tf32", o.CUDA.TF32, "on or off: let CUDA devices round float32 to TF32's ten bits in convolutions and products of matrices")
	f.StringVar(&o.CUDA.Benchmark, "cudnn-benchmark", o.CUDA.Benchmark, "on or off: have cuDNN measure which of its algorithms are fastest; they may be others in the next process")
	f.StringVar(&o.CUDA.Deterministic, "cudnn-deterministic", o.CUDA.Deterministic, "on or off: keep cuDNN to algorithms that give the same bits again")
	f.BoolVar(&o.SyncBatchNorm, "sync-batch-norm", o.SyncBatchNorm, "take batch normalisation's statistics of all ranks' crops")
	f.Float64Var(&o.EMA, "ema", o.EMA, "`decay` of the weights' moving average, such as 0.9998, which is then validated and exported; 0 for none")
	f.Float64Var(&o.Guard, "guard", o.Guard, "end the run at a loss of so many `times` its running median; 0 for never")
}

// addOutputFlags binds what a run leaves.
func (o *distillOptions) addOutputFlags(f *pflag.FlagSet) {
	f.StringVar(&o.InputNorm, "input-norm", o.InputNorm, "where the exported model's pixels are normalised: outside (takes -1..1) or inside the graph (takes 0..255)")
	f.IntVar(&o.LogEvery, "log-every", o.LogEvery, "`steps` between two lines of metrics.jsonl")
	f.IntVar(&o.CheckpointEvery, "checkpoint-every", o.CheckpointEvery, "`steps` between two checkpoints within an epoch")
	f.IntVar(&o.KeepCheckpoints, "keep-checkpoints", o.KeepCheckpoints, "number of newest checkpoints to keep")
	f.StringVar(&o.KeepBest, "keep-best", o.KeepBest, "keep the checkpoint of the best `figure` of --val-pairs, too (checkpoints/best.json names it): accuracy, auc or eer")
	f.StringVar(&o.valPairs, "val-pairs", "", "score the student on this `file` of pairs while it is trained")
	f.StringVar(&o.valDataset, "val-dataset", "", "`dataset` that holds the pairs' crops (default: the one trained on)")
	f.IntVar(&o.ValidateEvery, "validate-every", o.ValidateEvery, "`epochs` between two scorings")
}

// addMachineFlags binds what it computes on.
func (o *distillOptions) addMachineFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Device, "device", o.Device, "cpu, cuda or cuda:N; of several ranks on a machine each takes its own cuda")
	f.StringVar(&o.Engine, "engine", o.Engine, "training engine `library` to load (default: $PIPE_ENGINE, the one of 'make engine', the system's)")
	f.IntVar(&o.Threads, "threads", o.Threads, "threads of one operator (default: one a core); another number changes the last bits of results")
	f.IntVar(&o.Workers, "workers", o.Workers, "goroutines that prepare batches (default: one a core, for a GPU as many as keep 2 GiB of crops ready at most)")
	f.DurationVar(&o.RendezvousTimeout, "rendezvous-timeout", o.RendezvousTimeout, "`time` within which all ranks must have met")
}

func (o *distillOptions) validate(args []string) error {
	if err := o.readConfig(); err != nil {
		return err
	}
	if o.valDataset != "" && o.valPairs == "" {
		return errors.New("--val-dataset needs --val-pairs")
	}
	var err error
	if o.World, err = worker.ParseRank(os.Getenv); err != nil {
		return err
	}
	return errors.Join(oneDataset(args, &o.Dataset), required("--out", o.Out))
}

// follows is whether another rank speaks for all.
func (o *distillOptions) follows() bool { return o.World.Index > 0 }

func (o *distillOptions) startsAnew() bool { return !o.Resume }

// readConfig lays the file's settings over the defaults, and the flags that were
// given over both.
func (o *distillOptions) readConfig() error {
	if o.config == "" {
		return nil
	}
	given := map[*pflag.Flag]func() error{}
	o.flags.Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		given[f] = func() error { return f.Value.Set(value) }
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values := slices.Clone(list.GetSlice())
			given[f] = func() error { return list.Replace(values) }
		}
	})
	if err := o.ReadFile(o.config, o.keysOfFlags()); err != nil {
		return err
	}
	for f, set := range given {
		if err := set(); err != nil {
			return fmt.Errorf("--%s: %w", f.Name, err)
		}
	}
	return nil
}

// keysOfFlags are the keys of settings by the flags, with underscores, that set the same;
// the others stand for themselves.
func (o *distillOptions) keysOfFlags() map[string]string {
	fields := strictyaml.Fields(&o.Options)
	keys := map[string]string{}
	o.flags.VisitAll(func(f *pflag.Flag) {
		// A flag's value is the variable that it is bound to, under another type.
		key, ok := fields[reflect.ValueOf(f.Value).Pointer()]
		if !ok {
			key = "--" + f.Name
		}
		keys[strings.ReplaceAll(f.Name, "-", "_")] = key
	})
	return keys
}

func (o *distillOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Progress = s.progress()
	if o.valPairs != "" {
		validation, err := openValidation(ctx, o.valPairs, cmp.Or(o.valDataset, o.Dataset), o.Progress)
		if err != nil {
			return nil, err
		}
		defer validation.Dataset.Close()
		o.Validation = validation
	}
	summary, err := student.Distill(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	if o.follows() {
		return nil, nil // rank 0 speaks for all
	}
	return &result{summary, func(w io.Writer) { printDistilled(w, summary) }}, nil
}

// openValidation lets the trainer score a student on pairs. It is composed here since
// the rooms student and eval do not know each other. What is guessed about pairs is noted.
// The caller closes its Dataset.
func openValidation(ctx context.Context, pairs, dataset string, notes io.Writer) (*student.Validation, error) {
	ds, err := store.Open(dataset, store.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	set := faces.Of(ds)
	p, err := protocol.Pairs.Load(ctx, set, pairs, protocol.Options{})
	if err = errors.Join(err, set.Close()); err != nil {
		return nil, errors.Join(err, ds.Close())
	}
	p.Describe().PrintNotes(notes)
	figures := verification.Figures(nil)
	better := map[string]int{}
	for _, f := range figures {
		better[f.Name] = f.Better
	}
	score := func(embeddings [][]float32) (map[string]float64, error) {
		r, err := p.Evaluate(context.Background(), protocol.Rows(embeddings), protocol.Settings{})
		if err != nil {
			return nil, err
		}
		values := map[string]float64{}
		for _, f := range figures {
			values[f.Name], _ = f.Of(*r.Verification)
		}
		return values, nil
	}
	crops := make([]store.Location, len(p.Faces()))
	for i, row := range p.Faces() {
		crops[i] = ds.Locate(row)
	}
	return &student.Validation{Dataset: ds, Crops: crops, Score: score, Better: better}, nil
}

func printDistilled(w io.Writer, s student.Summary) {
	fmt.Fprintf(w, "%s: %d parameters, %d steps in %d epochs, last loss %.4f\n", s.ONNX, s.Parameters, s.Steps, s.Epochs, s.FinalLoss)
	fmt.Fprintf(w, "  trained  %.0f images/s for %.1f s on %s, %s, libtorch %s\n", s.ImagesPerSecond, s.Seconds, s.Device, s.Precision, s.Torch)
	fmt.Fprintf(w, "  waited   %.1f s of it for crops\n", s.WaitSeconds)
	if s.ResumedAt > 0 {
		fmt.Fprintf(w, "  resumed  after step %d\n", s.ResumedAt)
	}
	if s.SkippedSteps > 0 {
		fmt.Fprintf(w, "  skipped  %d steps that overflowed\n", s.SkippedSteps)
	}
	if s.BestStep > 0 {
		fmt.Fprintf(w, "  best     after step %d\n", s.BestStep)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Validation)) {
		fmt.Fprintf(w, "  %-8s %.4f\n", name, s.Validation[name])
	}
}
