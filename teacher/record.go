package teacher

import (
	"cmp"
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/internal/selfcheck"
	"facepipe/store/cache"
)

// clock is when a run began, in time and in seconds of all processors.
type clock struct {
	begun      time.Time
	processors float64
}

func startClock() clock { return clock{time.Now(), processorSeconds()} }

// processorSeconds is the time that all processors have spent on this process; 0 if the system
// does not tell.
func processorSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func (c clock) seconds() float64 { return time.Since(c.begun).Seconds() }

// account fills in the seconds that the run has taken by now.
func (r *run) account() {
	s := &r.summary
	s.Seconds, s.CPUSeconds = r.clock.seconds(), processorSeconds()-r.clock.processors
	s.DeviceSeconds, s.Stages = 0, r.stages
	for _, m := range r.models {
		s.DeviceSeconds += m.Busy().Seconds()
	}
}

// streamed fills in the stages with the times of a stream, and tells the bar. read is the part
// of loading that was reading, commit is how long committing took.
func (r *run) streamed(t embed.Times, read, commit time.Duration) {
	s := &r.stages
	s.Read, s.Decode, s.Normalise = read.Seconds(), (t.Load - read).Seconds(), t.Normalise.Seconds()
	s.Infer, s.Wait = t.Infer.Seconds(), t.Wait.Seconds()
	s.Write, s.Commit = t.Emit.Seconds(), commit.Seconds()
	for _, part := range []struct {
		name    string
		seconds float64
	}{
		{"open", s.Open}, {"self_test", s.SelfTest},
		{"read", s.Read}, {"decode", s.Decode}, {"normalise", s.Normalise},
		{"infer", s.Infer}, {"wait", s.Wait}, {"write", s.Write}, {"commit", s.Commit},
	} {
		r.bar.Spend(part.name, part.seconds)
	}
}

// recorded calls put with the record of a run that committed anything. err is the error with
// which the run ended, and is returned.
func (r *run) recorded(put func(cache.Run) error, err error) error {
	if r.shards == 0 {
		return err
	}
	if failed := put(r.record(err)); failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

// record describes the run, which ended with err.
func (r *run) record(err error) cache.Run {
	r.account()
	o, s := r.o, r.summary
	record := cache.Run{
		Begun: r.clock.begun.UTC(), Ended: cache.RunDone,
		Pipe: o.Version, Runtime: s.Runtime, Provider: cmp.Or(o.Runtime.Provider, ort.CPU), Devices: o.devices(),
		Half: o.Runtime.Half, TF32: o.Runtime.TF32, MemoryLimit: o.Runtime.MemoryLimit, Fallback: o.Runtime.AllowFallback, Batch: s.Batch, BatchReason: r.model.BatchReason(), Decoder: s.Decoder,
		Plan: o.plan, Worker: o.worker,
		Shards: r.shards, Computed: s.Computed, Copied: s.Copied,
		Seconds: s.Seconds, CPUSeconds: s.CPUSeconds, DeviceSeconds: s.DeviceSeconds, Stages: s.Stages,
		SelfTest: verdictOf(s.SelfTest), Drift: s.Drift,
	}
	if r.donors != nil {
		record.CopiedFrom = r.donors.Report()
	}
	switch {
	case errors.Is(err, context.Canceled):
		record.Ended = cache.RunStopped
	case err != nil:
		record.Ended = cache.RunFailed
	}
	return record
}

// verdictOf is what a record keeps of the test, nil without one.
func verdictOf(t *selfcheck.Result) *cache.SelfTestVerdict {
	if t == nil {
		return nil
	}
	chosen := t.Contracts[0]
	v := &cache.SelfTestVerdict{Crops: t.Crops, Contract: chosen.Name, Separation: chosen.Separation, AUC: chosen.AUC}
	if t.Best > 0 {
		v.Better = t.Contracts[t.Best].Name
	}
	return v
}
