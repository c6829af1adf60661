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

	"facepipe/ingest"
	"facepipe/internal/ort"
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
	c.AddCommand(s.command(new(planPrecomputeOptions)), s.command(new(planIngestOptions)))
	return c
}

type planPrecomputeOptions struct {
	precomputeOptions
	jobOptions
}

// jobOptions are those of every plan.
type jobOptions struct {
	folder string
	emit   string
	job    schedule.Job
}

func (o *jobOptions) addFlags(f *pflag.FlagSet) {
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

// complete fills in what the job runs, and says what is wrong with it.
func (o *jobOptions) complete(verb string, more ...string) (err error) {
	if o.emit == "" {
		return nil
	}
	if o.job.Plan, err = filepath.Abs(o.folder); err != nil {
		return err
	}
	if o.job.Program == "" {
		if o.job.Program, err = os.Executable(); err != nil {
			return err
		}
	}
	o.job.Worker = append([]string{verb, "--plan", o.job.Plan, "--worker", "auto"}, more...)
	o.job.Merge = []string{"merge", "--plan", o.job.Plan}
	return errors.Join(oneOf("--emit", o.emit, schedule.Kinds()...), o.job.Validate(o.emit))
}

// result is the summary of a plan, or the job that was asked for.
func (o *jobOptions) result(summary any, print func(io.Writer)) (*result, error) {
	if o.emit == "" {
		return &result{summary, print}, nil
	}
	script, err := o.job.Emit(o.emit)
	if err != nil {
		return nil, err
	}
	return &result{plannedJob{summary, script}, func(w io.Writer) { fmt.Fprint(w, script) }}, nil
}

// plannedJob is the summary of a plan, with what --emit asks for.
type plannedJob struct {
	Plan   any    `json:"plan"`
	Script string `json:"script"`
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
	o.jobOptions.addFlags(f)
}

func (o *planPrecomputeOptions) validate(args []string) error {
	err := errors.Join(oneDataset(args, &o.Dataset), required("--teacher", o.Model), required("--plan", o.folder), o.validateContract())
	if err != nil {
		return err
	}
	var more []string
	if o.Runtime.Provider != "" && o.Runtime.Provider != ort.CPU {
		more = []string{"--provider", o.Runtime.Provider}
	}
	return o.complete("precompute-teacher", more...)
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
	return o.result(summary, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d tasks, %d crops of %s for teacher %s\n  plan        %s\n", summary.Plan, summary.Tasks, summary.Rows,
			summary.Dataset, summary.Teacher, summary.ID)
	})
}

type planIngestOptions struct {
	ingestOptions
	jobOptions
	taskItems int
}

func (o *planIngestOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "ingest --source KIND=PATH --out DATASET --plan PLAN",
		Short: "Plan to turn photographs into a dataset",
		Long: `Plan ingest lists the photographs of the sources and writes a plan in tasks of
--task-items of them. Workers make a dataset of each task; the merge puts these together,
finds duplicates across tasks, and gives the dataset of a single process, digest and all.
It takes the flags of pipe ingest. For --emit see pipe plan precompute-teacher.`,
		Example: `  pipe plan ingest --source folder=photos --detector scrfd=det.onnx --out faces.ds --plan job
  pipe ingest --plan job --worker 0/2 & pipe ingest --plan job --worker 1/2 & wait
  pipe merge --plan job`,
	}
}

func (o *planIngestOptions) addFlags(f *pflag.FlagSet) {
	o.addContractFlags(f)
	o.jobOptions.addFlags(f)
	f.IntVar(&o.taskItems, "task-items", ingest.DefaultTaskItems, "`photographs` in a task")
}

func (o *planIngestOptions) validate(args []string) error {
	err := errors.Join(noArguments(args), required("--plan", o.folder), o.Validate(), notNegative("--task-items", o.taskItems))
	if err != nil {
		return err
	}
	return o.complete("ingest")
}

func (o *planIngestOptions) run(ctx context.Context, s *session) (*result, error) {
	o.ONNXRuntime, o.Progress = s.onnxruntime, s.progress()
	summary, err := ingest.MakePlan(ctx, o.Options, o.folder, o.taskItems)
	if err != nil {
		return nil, err
	}
	return o.result(summary, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d tasks, %d photographs for %s\n  plan        %s\n", summary.Plan, summary.Tasks, summary.Items, summary.Dataset, summary.ID)
	})
}
