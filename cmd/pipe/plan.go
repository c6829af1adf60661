package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/schedule"
	"facepipe/teacher"
)

// planCommand gathers the verbs that plan a job for several workers.
func (s *session) planCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "plan VERB",
		Short: "Plan a job that workers share",
		Long: `Plan writes down a job for any number of workers: what is to be done, by everything that
the result depends on, and in which tasks. A plan never changes. Workers need nothing but
the folders of plan and dataset: each does its tasks, skips what is done, and may be
killed, started again and started twice. pipe merge --plan then verifies and puts
together what they did; the result is that of a single process, byte for byte.`,
		Args: cobra.ArbitraryArgs,
		RunE: unknownVerb,
	}
	c.AddCommand(s.command(new(planPrecomputeOptions)))
	return c
}

type planPrecomputeOptions struct {
	precomputeOptions
	folder string
	emit   string
	job    schedule.Job
}

// plannedJob is the summary of a plan, with what --emit asks for.
type plannedJob struct {
	teacher.PlanSummary
	Script string `json:"script,omitempty"`
}

func (o *planPrecomputeOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "precompute-teacher DATASET --teacher FILE.onnx --plan PLAN",
		Short: "Plan to embed every crop with a teacher",
		Long: `Plan precompute-teacher looks at dataset and teacher as precompute-teacher does before it
begins, and writes the plan. The same plan may be there already; another one is refused.

--emit prints what a scheduler wants, on stdout; nothing is submitted. slurm is a script
for sh that calls sbatch: for an array of workers, and for a merge that depends on all of
them. k8s is YAML: an Indexed Job, and a Job that merges, to be applied when the first is
complete. Both run
` + "`pipe`" + ` by the path of --program and expect dataset, teacher and plan at the same paths.`,
		Example: `  pipe plan precompute-teacher faces.ds --teacher w600k_r50.onnx --flip --plan job
  pipe precompute-teacher --plan job --worker 0/2 & pipe precompute-teacher --plan job --worker 1/2 & wait
  pipe merge --plan job
  pipe plan precompute-teacher faces.ds --teacher w600k_r50.onnx --plan job --emit slurm --workers 8 > job.sh`,
	}
}

func (o *planPrecomputeOptions) addFlags(f *pflag.FlagSet) {
	o.addContractFlags(f)
	f.StringVar(&o.folder, "plan", "", "`folder` for the plan and what its workers do (required)")
	f.StringVar(&o.emit, "emit", "", "print a job for a `scheduler`: slurm or k8s")
	f.IntVar(&o.job.Workers, "workers", 1, "`number` of workers of the job")
	f.StringVar(&o.job.Program, "program", "", "`path` of pipe where the job runs (default: this one's)")
	f.StringVar(&o.job.Name, "job-name", "pipe", "`name` of the job")
	f.IntVar(&o.job.CPUs, "cpus", 2, "processors of a worker")
	f.IntVar(&o.job.MemoryGiB, "memory", 4, "`GiB` of memory of a worker")
	f.IntVar(&o.job.GPUs, "gpus", 0, "GPUs of a worker")
	f.StringVar(&o.job.Time, "time", "", "longest time of a worker, as Slurm writes it: HH:MM:SS (slurm)")
	f.StringVar(&o.job.Image, "image", "", "container `image` with pipe (k8s)")
	f.StringVar(&o.job.Claim, "claim", "", "persistent volume `claim` that holds plan and dataset (k8s)")
	f.StringVar(&o.job.Mount, "mount", "", "`path` at which the claim is mounted (k8s)")
}

func (o *planPrecomputeOptions) validate(args []string) error {
	err := errors.Join(oneDataset(args, &o.Dataset), required("--teacher", o.Model), required("--plan", o.folder), o.validateContract())
	if o.emit == "" || err != nil {
		return err
	}
	if err := o.completeJob(); err != nil {
		return err
	}
	return errors.Join(oneOf("--emit", o.emit, schedule.Kinds()...), o.job.Validate(o.emit))
}

// completeJob fills in what the job runs.
func (o *planPrecomputeOptions) completeJob() (err error) {
	if o.job.Plan, err = filepath.Abs(o.folder); err != nil {
		return err
	}
	if o.job.Program == "" {
		if o.job.Program, err = os.Executable(); err != nil {
			return err
		}
	}
	o.job.Worker = []string{"precompute-teacher", "--plan", o.job.Plan, "--worker", "auto"}
	if o.Runtime.Provider != "" && o.Runtime.Provider != "cpu" {
		o.job.Worker = append(o.job.Worker, "--provider", o.Runtime.Provider)
	}
	o.job.Merge = []string{"merge", "--plan", o.job.Plan}
	return nil
}

func (o *planPrecomputeOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Runtime.Library, o.Progress = s.onnxruntime, s.progress()
	if err := o.verify(ctx); err != nil {
		return nil, err
	}
	summary, err := teacher.MakePlan(ctx, o.Options, o.folder)
	if err != nil {
		return nil, err
	}
	planned := plannedJob{PlanSummary: summary}
	if o.emit != "" {
		if planned.Script, err = o.job.Emit(o.emit); err != nil {
			return nil, err
		}
	}
	return &result{planned, func(w io.Writer) {
		if planned.Script != "" {
			fmt.Fprint(w, planned.Script)
			return
		}
		fmt.Fprintf(w, "%s: %d tasks, %d crops of %s for teacher %s\n  plan        %s\n", summary.Plan, summary.Tasks, summary.Rows,
			summary.Dataset, summary.Teacher, summary.ID)
	}}, nil
}
