package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/worker"
	"facepipe/study"
)

type compareOptions struct {
	study.Options
	file           string
	dryRun         bool
	worker         string
	secondsPerStep float64
}

func (o *compareOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "compare STUDY.yaml --out STUDY",
		Short: "Train students that differ in a few settings, and say which differences are real",
		Long: `Compare trains a student for every row of a study, measures all alike and writes the
table: STUDY/table.md, table.csv and table.json, anew after every row. Rows are run
folders. The same command goes on where it was stopped, trains what is missing, and adds
rows when an axis has grown. Several processes may share a study: each takes rows that no
other holds.

STUDY.yaml:
  dataset: faces.ds
  base: {teacher: w600k, student: mobilefacenet, precision: bf16, batch: 64}
  axes:
    loss: [cosine, unified, {name: unified, rpsd: {bank: 0}}]
    seed: [1, 2, 3, 4, 5, 6]
  rows:
    - name: labels alone
      settings: {loss: arcface, teacher: ""}
  budget: {epochs: 20}            # or steps, or samples
  validation: {dataset: val.ds, pairs: val.txt}
  tests:
    - {dataset: lfw.ds, pairs: pairs.txt}
    - {bin: agedb_30.bin}
  select: accuracy                # test the best checkpoint by validation; default: the last step
  baseline: cosine

Settings are those of distill's --config. Every combination of the axes is a row, and every
row of rows once for each seed. Rows of one seed begin with the same weights and see the same
crops in the same order. Paths are relative to the file's folder. Checkpoints are chosen by
the validation alone; tests are only reported.

Differences are to the baseline, paired by seed: with the 95 % interval of a bootstrap over
seeds and people, and the exact p of all sign flips, which 5 seeds or fewer cannot bring
below 0.05.`,
		Example: `  pipe compare study.yaml --out study --dry-run
  pipe compare study.yaml --out study --check
  pipe compare study.yaml --out study`,
		Args: cobra.ArbitraryArgs,
	}
}

func (o *compareOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Out, "out", "", "`folder` of the study (required)")
	f.BoolVar(&o.dryRun, "dry-run", false, "say which rows there are and what they would take, and train nothing")
	f.BoolVar(&o.BaselineOnly, "check", false, "train the baseline alone, over all seeds: how far they lie apart, and what that can detect")
	f.BoolVar(&o.RetryFailed, "retry-failed", false, "train rows again that failed")
	f.BoolVar(&o.FailFast, "fail-fast", false, "end with the first row that fails")
	f.StringVar(&o.worker, "worker", "", "take rows `I/N` only, or auto (Slurm's array, a Kubernetes Indexed Job)")
	f.Float64Var(&o.secondsPerStep, "seconds-per-step", 0, "of --dry-run: `time` of a step, before any row has told")
	f.StringVar(&o.Machine.Device, "device", "cpu", "cpu, cuda or cuda:N")
	f.StringVar(&o.Machine.Engine, "engine", "", "training engine `library` to load (default: $PIPE_ENGINE, the one of 'make engine', the system's)")
	f.IntVar(&o.Machine.Threads, "threads", 0, "threads of one operator (default: one a core)")
	f.IntVar(&o.Machine.Workers, "workers", 0, "goroutines that prepare batches (default: one a core)")
}

func (o *compareOptions) validate(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%d studies named, want one file", len(args))
	}
	o.file = args[0]
	if o.worker != "" {
		w, err := worker.Parse(o.worker, os.Getenv)
		if err != nil {
			return err
		}
		o.Mine = func(row int) bool { return row%w.Count == w.Index }
	}
	if o.secondsPerStep < 0 {
		return fmt.Errorf("--seconds-per-step %g is less than 0", o.secondsPerStep)
	}
	return errors.Join(required("--out", o.Out), notNegative("--threads", o.Machine.Threads), notNegative("--workers", o.Machine.Workers))
}

func (o *compareOptions) run(ctx context.Context, s *session) (*result, error) {
	o.ONNXRuntime, o.Progress = s.onnxruntime, s.progress()
	file, err := study.Read(o.file)
	if err != nil {
		return nil, err
	}
	if o.dryRun {
		a, err := study.Foresee(ctx, file, o.Options, o.secondsPerStep)
		if err != nil {
			return nil, err
		}
		return &result{a, a.Print}, nil
	}
	found, err := study.Run(ctx, file, o.Options)
	if found == nil {
		return nil, err
	}
	return &result{found, func(w io.Writer) {
		found.Print(w)
		fmt.Fprintf(w, "table in %s\n", o.Out)
	}}, err
}
