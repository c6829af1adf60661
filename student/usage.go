package student

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"runtime"
	"slices"
	"time"

	"facepipe/internal/machine"
	"facepipe/student/data"
	"facepipe/student/net"
	"facepipe/student/optim"
)

// ErrUsage marks options that make no sense, by themselves or for the dataset at hand.
var ErrUsage = errors.New("wrong usage")

// usage makes an error one of wrong usage; nil stays nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUsage, err)
}

// validate reports the settings that make no sense, whatever the data.
func (o *Options) validate() error {
	return errors.Join(
		choice("student", o.Network, net.Architectures()...), o.validateSize(),
		usage(o.Loss.Validate()),
		choice("schedule", o.Schedule, optim.Schedules()...),
		choice("sampler", o.Sampler, data.Samplers()...),
		choice("flip", o.Flip, "auto", "on", "off"), aboveZeroToOne.holds("fraction", o.Fraction),
		choice("precision", o.Precision, "fp32", "bf16", "fp16"), o.CUDA.validate(),
		choice("input-norm", o.InputNorm, "outside", "inside"),
		within("epochs", o.Epochs, 1, mostEpochs), within("steps", o.Steps, 0, mostSteps), within("batch", o.Batch, 2, mostBatch),
		within("accumulate", o.Accumulate, 1, mostBatch), within("per-identity", o.PerIdentity, 0, mostBatch), o.validateFlight(),
		notNegative.holds("lr", float64(o.LR)), anyNumber.holds("warmup", o.WarmupEpochs),
		positive.holds("power", o.Power), aboveZeroToOne.holds("factor", o.Factor), zeroToOne.hold("milestones", o.Milestones),
		usage(o.Optimizer.Validate()), belowOne.holds("momentum", o.Optimizer.Momentum), zeroToOne.holds("weight-decay", o.optimizer().WeightDecay),
		notNegative.holds("clip", o.Optimizer.Clip), belowOne.holds("ema", o.EMA), o.validateGuard(),
		within("shuffle-window", o.ShuffleWindow, 0, math.MaxInt32), within("threads", o.Threads, 0, mostThreads), within("workers", o.Workers, 0, mostThreads),
		within("log-every", o.LogEvery, 1, mostSteps), within("checkpoint-every", o.CheckpointEvery, 1, mostSteps),
		within("keep-checkpoints", o.KeepCheckpoints, 1, mostSteps), within("validate-every", o.ValidateEvery, 1, mostEpochs),
		o.validateDevice(), o.validateWorld(), o.validateBest(),
	)
}

func choice(name, v string, allowed ...string) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	return fmt.Errorf("%w: %s %q is none of %v", ErrUsage, name, v, allowed)
}

// How large settings may be, so that none of them asks for what no machine has. What settings
// come to together has bounds of its own: see [Options.validateFlight], [Options.schedule], those
// of banks ([loss.New]) and of networks ([net.New]).
const (
	mostSteps   = 1_000_000_000 // of a run
	mostEpochs  = 1_000_000
	mostBatch   = 1 << 16
	mostThreads = 4096
	mostNumber  = 1e9 // for what is neither a share nor a count
	longestWait = 30 * 24 * time.Hour
)

func within(name string, v, least, most int) error {
	switch {
	case v < least:
		return fmt.Errorf("%w: %s %d is less than %d", ErrUsage, name, v, least)
	case v > most:
		return fmt.Errorf("%w: %s %d is more than %d", ErrUsage, name, v, most)
	}
	return nil
}

// validateFlight refuses batches of which those that are prepared at a time are more than this
// machine's memory holds.
func (o *Options) validateFlight() error {
	memory := float64(machine.Memory())
	workers := cmp.Or(o.Workers, o.usualWorkers())
	flight := float64(workers+2) * o.batchBytes()
	if flight <= memory {
		return nil
	}
	return fmt.Errorf("%w: batch %d: with %d workers %.0f GiB of crops are under way, this machine has %.0f: choose a smaller batch, or fewer --workers",
		ErrUsage, o.Batch, workers, flight/(1<<30), memory/(1<<30))
}

// batchBytes is the size of the crops of a batch, of this rank's part if there are several.
func (o *Options) batchBytes() float64 {
	return float64(o.Batch) / float64(max(o.World.Count, 1)) * 3 * net.InputSide * net.InputSide
}

// mostAhead is the most memory of a device that batches take that are ready before their step, in
// bytes, where nobody says how many workers prepare them.
const mostAhead = 2 << 30

// usualWorkers is how many prepare batches where nobody says: one a core, and two at least. What
// they have prepared is on the device by then, which must not be full of it.
func (o *Options) usualWorkers() int {
	n := runtime.GOMAXPROCS(0)
	if o.Device != "cpu" {
		n = int(min(float64(n), mostAhead/o.batchBytes()))
	}
	return max(2, n)
}

// interval is what a number may be. What is no number, or beyond mostNumber, is in none.
type interval struct {
	text     string
	contains func(v float64) bool
}

var (
	anyNumber      = interval{"a number", func(float64) bool { return true }}
	positive       = interval{"a positive number", func(v float64) bool { return v > 0 }}
	notNegative    = interval{"a number from 0 on", func(v float64) bool { return v >= 0 }}
	zeroToOne      = interval{"in [0, 1]", func(v float64) bool { return v >= 0 && v <= 1 }}
	aboveZeroToOne = interval{"in (0, 1]", func(v float64) bool { return v > 0 && v <= 1 }}
	belowOne       = interval{"in [0, 1)", func(v float64) bool { return v >= 0 && v < 1 }}
)

func (i interval) holds(name string, v float64) error {
	if math.Abs(v) <= mostNumber && i.contains(v) {
		return nil
	}
	if math.Abs(v) > mostNumber {
		return fmt.Errorf("%w: %s %g is not within %.0f", ErrUsage, name, v, mostNumber)
	}
	return fmt.Errorf("%w: %s %g is not %s", ErrUsage, name, v, i.text)
}

func (i interval) hold(name string, values []float64) error {
	for _, v := range values {
		if err := i.holds(name, v); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) validateSize() error {
	if !slices.Contains(net.Architectures(), o.Network) {
		return nil // which is reported by itself
	}
	if o.Size.Dim == 0 || o.Size.Width == 0 {
		return fmt.Errorf("%w: no student has dim %d and width %g", ErrUsage, o.Size.Dim, o.Size.Width)
	}
	_, err := net.New(o.Network, o.Size)
	return usage(err)
}

func (o *Options) validateGuard() error {
	if o.Guard == 0 || o.Guard > 1 && o.Guard <= mostNumber {
		return nil
	}
	return fmt.Errorf("%w: guard %g: a loss is let through up to so many times its median, more than 1 and at most %.0f; 0 for any", ErrUsage, o.Guard, mostNumber)
}

var deviceName = regexp.MustCompile(`^(cpu|cuda(:[0-9]{1,3})?)$`)

func (o *Options) validateDevice() error {
	if deviceName.MatchString(o.Device) {
		return nil
	}
	return fmt.Errorf("%w: device %q is none of cpu, cuda, cuda:N", ErrUsage, o.Device)
}

// validateWorld checks that the batch can be shared out.
func (o *Options) validateWorld() error {
	ranks := o.World.Count
	switch {
	case o.RendezvousTimeout > longestWait:
		return fmt.Errorf("%w: rendezvous-timeout %v is more than %v", ErrUsage, o.RendezvousTimeout, longestWait)
	case o.World.Alone():
		return nil
	case o.RendezvousTimeout < time.Second:
		return fmt.Errorf("%w: rendezvous-timeout %v is less than a second", ErrUsage, o.RendezvousTimeout)
	case o.Batch < ranks:
		return fmt.Errorf("%w: a batch of %d crops for %d ranks: --batch is that of all ranks together", ErrUsage, o.Batch, ranks)
	case o.Batch%ranks != 0:
		return fmt.Errorf("%w: batch %d is not a multiple of the %d ranks, among which it is shared out", ErrUsage, o.Batch, ranks)
	case o.Batch == ranks && !o.SyncBatchNorm:
		return fmt.Errorf("%w: batch %d leaves each of %d ranks 1 crop, too few for batch normalisation: choose a larger one, or --sync-batch-norm", ErrUsage, o.Batch, ranks)
	}
	return nil
}

func (o *Options) validateBest() error {
	switch {
	case o.KeepBest == "":
		return nil
	case o.Validation == nil:
		return fmt.Errorf("%w: keep-best %s needs a validation: give --val-pairs", ErrUsage, o.KeepBest)
	case o.Validation.Better[o.KeepBest] == 0:
		return fmt.Errorf("%w: keep-best %q is none of %v", ErrUsage, o.KeepBest, slices.Sorted(maps.Keys(o.Validation.Better)))
	}
	return nil
}
