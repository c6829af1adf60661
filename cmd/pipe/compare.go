package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/worker"
	"facepipe/study"
)

type compareOptions struct {
	study.Options
	flags          *pflag.FlagSet
	file           string
	dryRun         bool
	plan           string
	worker         string
	secondsPerStep float64
}

func (o *compareOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "compare STUDY.yaml --out STUDY | --plan PLAN",
		Short: "Train students that differ in a few settings, and say which differences are real",
		Long: `Compare trains a student for every row of a study, measures all alike and writes the
table: STUDY/table.md, table.csv and table.json, anew after every row. Rows are run
folders. The same command goes on where it was stopped, trains what is missing, and adds
rows when an axis has grown. Several processes may share a study: each takes rows that no
other holds; --plan does a worker's rows of a plan (see pipe plan compare), and pipe merge
--plan then writes the table. Rows that fail stop no other: they are listed first, and the
exit status is 3. Rows whose settings, dataset or teacher's cache changed are stale: they are
named and trained anew, and the earlier run's folder stays.

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
    - {dataset: lfw.ds, pairs: pairs.txt, exclude_overlap: w600k}
    - {bin: agedb_30.bin}
  select: accuracy                # test the best checkpoint by validation; default: the last step
  baseline: cosine
  teacher_model: w600k_r50.onnx   # tell what a step would take with the teacher in the loop

Settings are those of distill's --config. Every combination of the axes is a row, and every
row of rows once for each seed. Rows of one seed begin with the same weights and see the same
crops in the same order. Paths are relative to the file's folder. Checkpoints are chosen by
the validation alone; tests are only reported. exclude_overlap adds a column without the
faces that a teacher, which has cached both datasets, finds in the training set. More, and
how many seeds it takes: docs/compare.md.

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
	o.flags = f
	f.StringVar(&o.Out, "out", "", "`folder` of the study (required without --plan)")
	f.BoolVar(&o.dryRun, "dry-run", false, "say which rows there are and what they would take, and train nothing")
	f.BoolVar(&o.BaselineOnly, "check", false, "train the baseline alone, over all seeds: how far they lie apart, and what that can detect")
	f.StringArrayVar(&o.Reuse, "reuse", nil, "`folder` of another study: rows that it has trained with the same settings and inputs are copied; may be repeated")
	f.BoolVar(&o.RetryFailed, "retry-failed", false, "train rows again that failed")
	f.BoolVar(&o.FailFast, "fail-fast", false, "end with the first row that fails")
	f.StringVar(&o.plan, "plan", "", "`folder` of a plan, a worker's rows of which are done")
	f.StringVar(&o.worker, "worker", "auto", "which `share` of --plan: I/N, or auto for what Slurm, Kubernetes, torchrun or PIPE_WORKER and PIPE_WORKERS say")
	f.Float64Var(&o.secondsPerStep, "seconds-per-step", 0, "of --dry-run: `time` of a step, before any row has told")
	f.StringVar(&o.Machine.Device, "device", "cpu", "cpu, cuda or cuda:N")
	f.StringVar(&o.Machine.Engine, "engine", "", "training engine `library` to load (default: $PIPE_ENGINE, the one of 'make engine', the system's)")
	f.IntVar(&o.Machine.Threads, "threads", 0, "threads of one operator (default: one a core)")
	f.IntVar(&o.Machine.Workers, "workers", 0, "goroutines that prepare batches (default: one a core)")
}

func (o *compareOptions) validate(args []string) error {
	if o.secondsPerStep < 0 {
		return fmt.Errorf("--seconds-per-step %g is less than 0", o.secondsPerStep)
	}
	machine := errors.Join(notNegative("--threads", o.Machine.Threads), notNegative("--workers", o.Machine.Workers))
	if o.plan != "" {
		return errors.Join(noArguments(args), machine, misplaced(o.flags, "is not for a plan", "out", "dry-run", "check", "seconds-per-step"))
	}
	if err := oneStudy(args, &o.file); err != nil {
		return err
	}
	return errors.Join(required("--out", o.Out), machine, misplaced(o.flags, "needs --plan", "worker"))
}

// oneStudy takes the positional argument STUDY.yaml.
func oneStudy(args []string, file *string) error {
	if len(args) != 1 {
		return fmt.Errorf("%d studies are named, want one file", len(args))
	}
	*file = args[0]
	return required("STUDY.yaml", *file)
}

func (o *compareOptions) run(ctx context.Context, s *session) (*result, error) {
	o.ONNXRuntime, o.Progress = s.onnxruntime, s.progress()
	if o.plan != "" {
		w, err := worker.Parse(o.worker, os.Getenv)
		if err != nil {
			return nil, usageError{err}
		}
		return compared(study.Work(ctx, o.plan, w, o.Options))
	}
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
	return compared(study.Run(ctx, file, o.Options))
}

// compared is what a study has found, which may come with an error.
func compared(found *study.Result, err error) (*result, error) {
	if found == nil {
		return nil, err
	}
	return &result{found, found.Print}, err
}
