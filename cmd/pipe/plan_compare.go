package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/study"
)

type planCompareOptions struct {
	study.Options
	jobOptions
	file string
}

func (o *planCompareOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "compare STUDY.yaml --out STUDY --plan PLAN",
		Short: "Plan to train the rows of a study",
		Long: `Plan compare settles the rows of a study and writes a plan with a task for each. Workers
train and measure rows into --out, which all must see; a row whose worker was killed goes on
from its own checkpoint. The merge writes the table. The study's file, its dataset and the
teacher's caches must stay as they are. --device, --threads and --engine go into the job
that --emit prints. For --emit see pipe plan precompute-teacher.`,
		Example: `  pipe plan compare study.yaml --out study --plan job
  pipe compare --plan job --worker 0/2 & pipe compare --plan job --worker 1/2 & wait
  pipe merge --plan job
  pipe plan compare study.yaml --out study --plan job --emit slurm --workers 12 --cpus 8 --time 12:00:00 > job.sh`,
		Args: cobra.ArbitraryArgs,
	}
}

func (o *planCompareOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Out, "out", "", "`folder` of the study (required)")
	f.StringVar(&o.Machine.Device, "device", "cpu", "cpu, cuda or cuda:N")
	f.StringVar(&o.Machine.Engine, "engine", "", "training engine `library` to load")
	f.IntVar(&o.Machine.Threads, "threads", 0, "threads of one operator (default: one a core)")
	o.jobOptions.addFlags(f)
	f.IntVar(&o.job.GPUs, "gpus", 0, "GPUs of a worker")
}

func (o *planCompareOptions) validate(args []string) error {
	err := errors.Join(oneStudy(args, &o.file), required("--out", o.Out), required("--plan", o.folder),
		notNegative("--threads", o.Machine.Threads), notNegative("--gpus", o.job.GPUs))
	if err != nil || o.emit == "" {
		return err
	}
	flags, err := o.runtimeFlag()
	if err != nil {
		return err
	}
	for _, flag := range [][2]string{{"--device", o.Machine.Device}, {"--engine", o.Machine.Engine}, {"--threads", strconv.Itoa(o.Machine.Threads)}} {
		if flag[1] != "" && flag[1] != "cpu" && flag[1] != "0" {
			flags = append(flags, flag[0], flag[1])
		}
	}
	s, err := study.Read(o.file)
	if err != nil {
		return err
	}
	paths, err := s.Paths()
	if err != nil {
		return err
	}
	return o.complete("compare", flags, nil, append(paths, o.Out))
}

func (o *planCompareOptions) run(ctx context.Context, s *session) (*result, error) {
	o.ONNXRuntime, o.Progress = s.onnxruntime, s.progress()
	file, err := study.Read(o.file)
	if err != nil {
		return nil, err
	}
	summary, err := study.MakePlan(ctx, file, o.Options, o.folder)
	if err != nil {
		return nil, err
	}
	return o.result(summary, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d tasks, the rows of %s\n  plan        %s\n", summary.Plan, summary.Tasks, summary.Study, summary.ID)
	})
}
