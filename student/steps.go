package student

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strings"
	"time"

	"facepipe/student/data"
)

// takeSteps trains to the end.
func (r *run) takeSteps(ctx context.Context) error {
	// What the beginning left, all weights among it, is not needed in any step.
	debug.FreeOSMemory()
	err := r.makeUpValidation(ctx)
	if err == nil {
		err = r.loader.Run(r.world.context(ctx), r.last.Step, r.schedule.Total, func(b *data.Batch) error {
			r.world.ask(ctx)
			stepped, err := r.batch(b)
			if err != nil || !stepped {
				return err
			}
			return r.afterStep(ctx)
		})
	}
	if settled := r.settle(); err == nil || errors.Is(err, context.Canceled) {
		err = cmp.Or(settled, err)
	}
	r.bar.Finish()
	r.tellKernels()
	if err != nil {
		return r.endEarly(err)
	}
	return nil
}

// tellKernels says which convolutions a device was found to be faster in, the engine's or
// libtorch's.
func (r *run) tellKernels() {
	measured, own := r.engine.Measured(), 0
	for _, line := range measured {
		if strings.HasSuffix(line, "takes own") {
			own++
		}
	}
	if len(measured) > 0 && r.world.leads() {
		fmt.Fprintf(r.progress, "depthwise convolutions: by measurement %d of %d passes took the engine's kernels, the others libtorch's\n", own, len(measured))
	}
}

// afterStep does whatever is due after a step.
func (r *run) afterStep(ctx context.Context) error {
	r.bar.Add(int64(r.o.Batch * r.o.Accumulate))
	if r.o.afterStep != nil {
		r.o.afterStep()
	}
	if r.validationDue() {
		if err := r.validate(ctx); err != nil {
			return err
		}
	}
	if r.ends() || r.last.Step%r.o.CheckpointEvery == 0 {
		if err := r.save(); err != nil {
			return err
		}
	}
	return r.world.verdict()
}

// ends is whether the last step was the end of an epoch or of the run.
func (r *run) ends() bool {
	return r.last.Step%r.loader.StepsPerEpoch() == 0 || r.last.Step == r.schedule.Total
}

// tell tells of the last step, and writes a line if one is due.
func (r *run) tell(o outcome) error {
	r.bar.Note(fmt.Sprintf("loss %.4f", r.last.Loss))
	if r.ends() || r.last.Step%r.o.LogEvery == 0 {
		return r.logStep(o)
	}
	return nil
}

// epochs is how many passes over the data the whole run is.
func (r *run) epochs() float64 { return float64(r.schedule.Total) / float64(r.loader.StepsPerEpoch()) }

// logStep writes the line of a step.
func (r *run) logStep(o outcome) error {
	epoch := float64(r.last.Step) / float64(r.loader.StepsPerEpoch())
	line := map[string]any{
		"step": r.last.Step, "epoch": math.Round(epoch*1e4) / 1e4, "lr": o.rate,
		"loss": r.last.Loss, "seconds": time.Since(r.begun).Seconds(), "wait_seconds": r.loader.Waited().Seconds(),
	}
	if r.moved { // the gradient of a skipped step is not finite
		line["gradient"] = o.gradient
	}
	if c := r.model.scaler; c != nil {
		line["scale"], line["skipped"] = c.Scale, c.Skipped
	}
	for name, v := range o.parts {
		line[name] = v
	}
	return r.metrics.write(line)
}

// endEarly turns the error that ended training into one for the user. A cancelled run
// keeps the step it had reached.
func (r *run) endEarly(err error) error {
	if errors.Is(err, context.Canceled) {
		if saveErr := r.save(); saveErr != nil {
			return errors.Join(err, saveErr)
		}
		return interrupted(err, fmt.Sprintf("stopped after step %d of %d", r.last.Step, r.schedule.Total))
	}
	var d *diagnosis
	if errors.As(err, &d) && r.world.leads() {
		return r.giveUp(d)
	}
	return err
}
