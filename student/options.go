package student

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"facepipe/internal/worker"
	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/net"
	"facepipe/student/optim"
	"facepipe/student/torch"
)

// Options are the settings of a run, group by group. Those with a yaml key can come from a
// file (see [Options.ReadFile]); the others say where and with what to run. Their order is that
// of the files.
type Options struct {
	DataOptions    `yaml:",inline"`
	NetworkOptions `yaml:",inline"`
	// Loss is what is minimised.
	Loss            loss.Config `json:"loss" yaml:"loss"`
	TrainingOptions `yaml:",inline"`
	SamplingOptions `yaml:",inline"`
	NumericOptions  `yaml:",inline"`
	OutputOptions   `yaml:",inline"`
	MachineOptions  `yaml:",inline"`

	// Progress receives the bar and notices; nil is silent.
	Progress io.Writer `json:"-" yaml:"-"`

	// afterStep, where set, runs after every step: tests stop a run by it.
	afterStep func()
	// scaleLoss has the loss scaled in any precision: not every machine has fp16.
	scaleLoss bool
}

// DataOptions say what a student learns from.
type DataOptions struct {
	// Dataset is the folder of the dataset.
	Dataset string `json:"-" yaml:"-"`
	// Teacher names the teacher caches in the dataset; "" trains on labels alone. Of several,
	// losses learn from the mean of the unit embeddings, turned to the first of those with the
	// longest (see [derived.Alignment]), or from the one that they name by @.
	Teacher TeacherNames `json:"teacher" yaml:"teacher"`
	// Split is the part of the dataset to train on, "" for all of it. Validation and its
	// dataset are not concerned.
	Split string `json:"split,omitempty" yaml:"split"`
	// Exclude are lists of keys and identities that are not trained on; see [data.Exclude].
	// run.json has the digest of what they come to.
	Exclude FileList `json:"-" yaml:"exclude,omitempty"`
	// Fraction of the crops that Split and Exclude leave, above 0, at most 1, is trained on: which
	// ones does not depend on the seed, and a smaller fraction lies within a larger one. run.json
	// has no such key for 1.
	Fraction float64 `json:"fraction,omitempty" yaml:"fraction"`
}

// NetworkOptions say what the student is.
type NetworkOptions struct {
	// Network is one of [net.Architectures], with its size.
	Network string     `json:"student" yaml:"student"`
	Size    net.Config `json:"size" yaml:"size"`
	// Init is an ONNX or safetensors file, also a checkpoint or a run's folder, whose
	// weights the network begins with where their names and shapes are its own; "" begins
	// at random. run.json has the file's digest.
	Init string `json:"-" yaml:"init"`
}

// TrainingOptions say how far each step goes, and how many there are.
type TrainingOptions struct {
	// Epochs over the dataset and Batch crops at a time, of all ranks together, of which
	// Accumulate (at least 1) make a step: its gradient is that of the mean of their
	// losses. Norms and the memory bank see one batch at a time.
	// A run of Steps ends after so many, wherever in an epoch; 0 leaves it to Epochs.
	Epochs     int `json:"epochs" yaml:"epochs"`
	Steps      int `json:"steps,omitempty" yaml:"steps"`
	Batch      int `json:"batch" yaml:"batch"`
	Accumulate int `json:"accumulate,omitempty" yaml:"accumulate"`
	// LR is the peak learning rate.
	LR Rate `json:"lr" yaml:"lr"`
	// Schedule is cosine, poly, step or constant, after WarmupEpochs of linear
	// rise (negative for a ninth of the run); Power tunes poly, Milestones and Factor tune step.
	Schedule     string    `json:"schedule" yaml:"schedule"`
	WarmupEpochs float64   `json:"warmup_epochs" yaml:"warmup_epochs"`
	Power        float64   `json:"power" yaml:"power"`
	Milestones   []float64 `json:"milestones" yaml:"milestones"`
	Factor       float64   `json:"factor" yaml:"factor"`
	// Optimizer is stochastic gradient descent, or AdamW, which transformers are trained with
	// if nothing is said.
	Optimizer optim.Config `json:"optimizer" yaml:"optimizer"`
}

// SamplingOptions say which crops a batch has.
type SamplingOptions struct {
	// Seed of the weights, the order and the mirroring.
	Seed uint64 `json:"seed" yaml:"seed"`
	// ShuffleWindow is the number of crops that are shuffled among each other; see
	// [data.Options]. 0, and any that holds the dataset, shuffles all of it: run.json
	// then has no such key.
	ShuffleWindow int `json:"shuffle_window,omitempty" yaml:"shuffle_window"`
	// Sampler is one of [data.Samplers]; PerIdentity is the number of crops of each
	// identity in what is drawn class-balanced. run.json has neither key for the
	// uniform one.
	Sampler     string `json:"sampler,omitempty" yaml:"sampler"`
	PerIdentity int    `json:"per_identity,omitempty" yaml:"per_identity"`
	// Flip mirrors crops at random: auto (if the teacher has embeddings of
	// mirrored crops), on, off.
	Flip string `json:"flip" yaml:"flip"`
}

// NumericOptions say in what numbers a run computes, and when they are given up.
type NumericOptions struct {
	// Precision of activations and convolutions: fp32, bf16 or fp16, the latter with a
	// loss scale that moves by itself. Weights are float32 in all of them.
	Precision string `json:"precision" yaml:"precision"`
	// CUDA says how CUDA devices compute. On the processor neither run.json nor distill.yaml
	// has such a key.
	CUDA CUDAOptions `json:"cuda,omitzero" yaml:"cuda,omitempty"`
	// SyncBatchNorm takes batch normalisation's statistics of all ranks' crops, as one rank
	// with the same batch would, and not of each one's own.
	SyncBatchNorm bool `json:"sync_batch_norm,omitempty" yaml:"sync_batch_norm"`
	// EMA is the decay of the weights' moving average in [0, 1), which is then what is
	// validated and exported; 0 for none.
	EMA float64 `json:"ema,omitempty" yaml:"ema"`
	// Guard ends a run whose loss is more than so many times the median of the last
	// 101; 0 for never. One that is not finite always does.
	Guard float64 `json:"-" yaml:"guard"`
}

// CUDAOptions say how CUDA devices compute; each is on or off. See [torch.CUDANumbers].
type CUDAOptions struct {
	// TF32 lets products of matrices and convolutions round float32 to ten bits; off unless
	// asked for, so that fp32 means what it says.
	TF32 string `json:"tf32" yaml:"tf32"`
	// Benchmark has cuDNN measure its algorithms and take the fastest: on, as the shapes of a
	// run do not change.
	Benchmark string `json:"cudnn_benchmark" yaml:"cudnn_benchmark"`
	// Deterministic keeps cuDNN to algorithms that give the same bits again: off, as they are
	// slower. A run that is to be repeated to the bit has it on, and Benchmark off.
	Deterministic string `json:"cudnn_deterministic" yaml:"cudnn_deterministic"`
}

const on, off = "on", "off"

// numbers are the settings as the engine takes them.
func (c CUDAOptions) numbers() torch.CUDANumbers {
	return torch.CUDANumbers{TF32: c.TF32 == on, Benchmark: c.Benchmark == on, Deterministic: c.Deterministic == on}
}

// validate reports what is neither on nor off.
func (c CUDAOptions) validate() error {
	return errors.Join(choice("tf32", c.TF32, on, off), choice("cudnn-benchmark", c.Benchmark, on, off),
		choice("cudnn-deterministic", c.Deterministic, on, off))
}

func (c CUDAOptions) String() string {
	return fmt.Sprintf("TF32 %s, cuDNN's benchmark %s and deterministic mode %s", c.TF32, c.Benchmark, c.Deterministic)
}

// OutputOptions say what a run leaves, and what it is scored by meanwhile.
type OutputOptions struct {
	// InputNorm puts the normalisation of the pixels "outside" the exported graph
	// (it takes values in [-1, 1]) or "inside" (it takes 0 to 255).
	InputNorm string `json:"input_norm" yaml:"input_norm"`
	// Out is the run's folder.
	Out string `json:"-" yaml:"-"`
	// Resume goes on from the newest checkpoint in Out, or starts if there is none.
	Resume bool `json:"-" yaml:"-"`
	// LogEvery steps a line is written to the metrics.
	LogEvery int `json:"-" yaml:"-"`
	// CheckpointEvery steps, and after every epoch, a checkpoint is written; the
	// newest KeepCheckpoints stay, and the best one by the figure KeepBest of the
	// validation, unless that is "".
	CheckpointEvery int    `json:"-" yaml:"-"`
	KeepCheckpoints int    `json:"-" yaml:"-"`
	KeepBest        string `json:"-" yaml:"-"`
	// ValidateEvery epochs the pairs of Validation are scored, if it is set.
	ValidateEvery int         `json:"-" yaml:"-"`
	Validation    *Validation `json:"-" yaml:"-"`
}

// MachineOptions say what a run computes on.
type MachineOptions struct {
	// Device is cpu, cuda or cuda:N.
	Device string `json:"-" yaml:"-"`
	// Engine is the path of the training engine; "" looks it up.
	Engine string `json:"-" yaml:"-"`
	// Threads of one operator and Workers that prepare batches; 0 fits the machine.
	// libtorch adds in another order with another number of threads, so that results
	// differ in their last bits; the number of workers changes nothing.
	Threads int `json:"-" yaml:"threads"`
	Workers int `json:"-" yaml:"-"`
	// World is this process's place among the ranks that train together, which they do
	// once all have met within RendezvousTimeout; the zero value trains alone.
	World             worker.Rank   `json:"-" yaml:"-"`
	RendezvousTimeout time.Duration `json:"-" yaml:"-"`
}

// DefaultOptions are the settings of a run that says nothing.
func DefaultOptions() Options {
	return Options{
		DataOptions:    DataOptions{Fraction: 1},
		NetworkOptions: NetworkOptions{Network: "mobilefacenet", Size: net.Config{Dim: 512, Width: 1}},
		Loss:           loss.Config{Name: "unified"},
		TrainingOptions: TrainingOptions{
			Epochs: 20, Batch: 32, Accumulate: 1, Schedule: "cosine", WarmupEpochs: -1, Power: 1,
			Milestones: []float64{0.4, 0.7, 0.9}, Factor: 0.1,
			Optimizer: optim.Config{SGDConfig: optim.SGDConfig{Momentum: 0.9, Nesterov: true, WeightDecay: -1, Clip: 5}, AdamWConfig: optim.DefaultAdamW()},
		},
		SamplingOptions: SamplingOptions{Seed: 1, ShuffleWindow: 1 << 20, Sampler: data.Uniform, PerIdentity: 4, Flip: "auto"},
		NumericOptions:  NumericOptions{Precision: "fp32", CUDA: CUDAOptions{TF32: off, Benchmark: on, Deterministic: off}, Guard: 20},
		OutputOptions:   OutputOptions{InputNorm: "outside", LogEvery: 10, CheckpointEvery: 1000, KeepCheckpoints: 2, ValidateEvery: 1},
		MachineOptions:  MachineOptions{Device: "cpu", RendezvousTimeout: time.Minute},
	}
}

// UsualRate is the peak learning rate of losses that have none of their own. AdamW, whose steps
// do not depend on the size of the gradient, has UsualAdamWRate with every loss.
const (
	UsualRate      Rate = 0.15
	UsualAdamWRate Rate = 5e-4
)

// optimizer is the one of the run, with all that it leaves to the network and to itself.
func (o *Options) optimizer() optim.Config {
	if net.IsTransformer(o.Network) {
		return o.Optimizer.Usual(optim.AdamWName)
	}
	return o.Optimizer.Usual(optim.SGDName)
}

// peakRate is the learning rate after the warm-up.
func (o *Options) peakRate() Rate {
	if o.optimizer().Name == optim.AdamWName {
		return cmp.Or(o.LR, UsualAdamWRate)
	}
	return cmp.Or(o.LR, Rate(o.Loss.Rate()), UsualRate)
}

// warmupEpochs is the length of the warm-up. It is negative for a ninth of a run whose epochs
// are not known.
func (o *Options) warmupEpochs() float64 {
	if o.WarmupEpochs < 0 && o.Steps == 0 {
		return float64(o.Epochs) / 9
	}
	return o.WarmupEpochs
}

// schedule is the learning rate over a run of so many steps an epoch.
func (o *Options) schedule(stepsPerEpoch int) (optim.Schedule, error) {
	s := optim.Schedule{
		Kind: o.Schedule, Peak: float64(o.peakRate()), Total: cmp.Or(o.Steps, o.Epochs*stepsPerEpoch),
		Warmup: int(o.warmupEpochs() * float64(stepsPerEpoch)),
		Power:  o.Power, Milestones: o.Milestones, Factor: o.Factor,
	}
	if s.Warmup < 0 {
		s.Warmup = s.Total / 9
	}
	if s.Total > mostSteps {
		return s, fmt.Errorf("%w: epochs %d of %d steps are more than %d steps: choose fewer", ErrUsage, o.Epochs, stepsPerEpoch, mostSteps)
	}
	return s, usage(s.Validate())
}
