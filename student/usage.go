package student

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"

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
		atLeast("epochs", o.Epochs, 1), atLeast("steps", o.Steps, 0), atLeast("batch", o.Batch, 2), atLeast("accumulate", o.Accumulate, 1),
		notNegative.holds("lr", float64(o.LR)), anyNumber.holds("warmup", o.WarmupEpochs),
		positive.holds("power", o.Power), aboveZeroToOne.holds("factor", o.Factor), zeroToOne.hold("milestones", o.Milestones),
		usage(o.Optimizer.Validate()), belowOne.holds("momentum", o.Optimizer.Momentum), zeroToOne.holds("weight-decay", o.optimizer().WeightDecay),
		notNegative.holds("clip", o.Optimizer.Clip), belowOne.holds("ema", o.EMA), o.validateGuard(),
		atLeast("shuffle-window", o.ShuffleWindow, 0), atLeast("threads", o.Threads, 0), atLeast("workers", o.Workers, 0),
		atLeast("log-every", o.LogEvery, 1), atLeast("checkpoint-every", o.CheckpointEvery, 1),
		atLeast("keep-checkpoints", o.KeepCheckpoints, 1), atLeast("validate-every", o.ValidateEvery, 1),
		o.validateDevice(), o.validateWorld(), o.validateBest(),
	)
}

func choice(name, v string, allowed ...string) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	return fmt.Errorf("%w: %s %q is none of %v", ErrUsage, name, v, allowed)
}

func atLeast(name string, v, least int) error {
	if v >= least {
		return nil
	}
	return fmt.Errorf("%w: %s %d is less than %d", ErrUsage, name, v, least)
}

// interval is what a number may be. What is no number, and infinity, are in none.
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
	if !math.IsNaN(v) && !math.IsInf(v, 0) && i.contains(v) {
		return nil
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
	if o.Guard == 0 || o.Guard > 1 && !math.IsInf(o.Guard, 1) {
		return nil
	}
	return fmt.Errorf("%w: guard %g: a loss is let through up to so many times its median, more than 1; 0 for any", ErrUsage, o.Guard)
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
