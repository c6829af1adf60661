package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
	c.AddCommand(s.command(&planPrecomputeOptions{jobOptions: jobOptions{session: s}}), s.command(&planIngestOptions{jobOptions: jobOptions{session: s}}),
		s.command(&planCompareOptions{jobOptions: jobOptions{session: s}}))
	return c
}

type planPrecomputeOptions struct {
	precomputeOptions
	jobOptions
}

// jobOptions are those of every plan.
type jobOptions struct {
	session *session // whose runtime is the job's, too
	folder  string
	emit    string
	job     schedule.Job
}

func (o *jobOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.folder, "plan", "", "`folder` for the plan and what its workers do (required)")
	f.StringVar(&o.emit, "emit", "", "print a job for a `scheduler`: slurm or k8s")
	f.IntVar(&o.job.Workers, "workers", 1, "`number` of workers of the job: Slurm's array tasks, or pods; not the goroutines of one")
	f.IntVar(&o.job.MaxRunning, "max-running", 0, "how many workers run at a time, at most (default: all)")
	f.StringVar(&o.job.Program, "program", "", "`path` of pipe where the job runs (default: this one's; in a container pipe, looked up in its PATH)")
	f.StringVar(&o.job.Name, "job-name", "pipe", "`name` of the job")
	f.IntVar(&o.job.CPUs, "cpus", 2, "processors of a worker")
	f.IntVar(&o.job.MemoryGiB, "memory", 4, "`GiB` of memory of a worker")
	f.StringVar(&o.job.Time, "time", "", "longest time of a worker, as Slurm writes it: HH:MM:SS (slurm)")
	f.StringArrayVar(&o.job.Sbatch, "sbatch", nil, "further `option` of sbatch for workers and merge, such as --partition=gpu; may be repeated (slurm)")
	f.StringVar(&o.job.Image, "image", "", "container `image` with pipe (k8s)")
	f.StringVar(&o.job.Claim, "claim", "", "persistent volume `claim` that holds plan and dataset (k8s)")
	f.StringVar(&o.job.Mount, "mount", "", "`path` at which the claim is mounted (k8s)")
}

// complete fills in what the job runs: the verb's and the merge's own flags, and the paths
// that they lead to beside the plan's. It says what is wrong with the job.
func (o *jobOptions) complete(verb string, flags, mergeFlags, paths []string) (err error) {
	if o.emit == "" {
		return nil
	}
	if o.job.Plan, err = filepath.Abs(o.folder); err != nil {
		return err
	}
	if o.job.Program, err = o.program(); err != nil {
		return err
	}
	if o.job.Paths, err = absolute(paths); err != nil {
		return err
	}
	o.job.Worker = append([]string{verb, "--plan", o.job.Plan, "--worker", "auto"}, flags...)
	o.job.Merge = append([]string{"merge", "--plan", o.job.Plan}, mergeFlags...)
	return errors.Join(oneOf("--emit", o.emit, schedule.Kinds()...), o.job.Validate(o.emit))
}

// program is pipe where the job runs. This one's path means nothing in a container.
func (o *jobOptions) program() (string, error) {
	switch {
	case o.job.Program != "":
		return o.job.Program, nil
	case o.emit == schedule.Kubernetes:
		return "pipe", nil
	}
	return os.Executable()
}

// runtimeFlag is --onnxruntime for the job, if it was given.
func (o *jobOptions) runtimeFlag() ([]string, error) {
	if o.session.onnxruntime == "" {
		return nil, nil
	}
	path, err := filepath.Abs(o.session.onnxruntime)
	return []string{"--onnxruntime", path}, err
}

// absolute makes paths those of any working folder: a job's is another one.
func absolute(paths []string) ([]string, error) {
	var full []string
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		full = append(full, path)
	}
	return full, nil
}

// result is the summary of a plan, or the job that was asked for.
func (o *jobOptions) result(summary any, print func(io.Writer)) (*result, error) {
	if o.emit == "" {
		return &result{summary, print}, nil
	}
	for _, note := range o.job.Notes(o.emit) {
		fmt.Fprintln(o.session.progress(), "note:", note)
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
It looks on the processor: what --provider, --devices and --batch name need only be where
the workers are. These flags, --threads, --allow-fallback, --reuse and --onnxruntime go into
the job that --emit prints; workers that are started by hand take them as precompute-teacher
does.

--emit prints what a scheduler wants, on stdout; nothing is submitted. slurm is a script
for sh that calls sbatch: for an array of workers, and for a merge that depends on all of
them. k8s is YAML: an Indexed Job, and a Job that merges, suspended until the first is
complete; its first lines tell how to let it go. Both expect dataset, teacher and plan at the
same paths; for k8s these have to be below --mount.`,
		Example: `  pipe plan precompute-teacher faces.ds --teacher w600k_r50.onnx --flip --plan job
  pipe precompute-teacher --plan job --worker 0/2 & pipe precompute-teacher --plan job --worker 1/2 & wait
  pipe merge --plan job
  pipe plan precompute-teacher faces.ds --teacher w600k_r50.onnx --plan job --emit slurm --workers 8 > job.sh
  pipe plan precompute-teacher faces.ds --teacher w600k_r50.onnx --plan job --emit slurm --workers 8 \
      --provider cuda --gpus 1 --batch 128 --sbatch --partition=gpu --time 08:00:00 > job.sh`,
	}
}

func (o *planPrecomputeOptions) addFlags(f *pflag.FlagSet) {
	o.addContractFlags(f)
	o.jobOptions.addFlags(f)
	f.IntVar(&o.job.GPUs, "gpus", 0, "GPUs of a worker, all of which it uses unless --devices says otherwise")
}

func (o *planPrecomputeOptions) validate(args []string) error {
	err := errors.Join(oneDataset(args, &o.Dataset), required("--teacher", o.Model), required("--plan", o.folder), o.useGPUs(), o.validateContract())
	if err != nil {
		return err
	}
	runtime, err := o.runtimeFlag()
	if err != nil {
		return err
	}
	if o.Reuse, err = absolute(o.Reuse); err != nil {
		return err
	}
	return o.complete("precompute-teacher", append(o.workerFlags(), runtime...), nil, append([]string{o.Dataset, o.Model}, o.Reuse...))
}

// useGPUs makes the GPUs that a worker is given the devices it uses. Schedulers let it see
// no others, and number them from 0.
func (o *planPrecomputeOptions) useGPUs() error {
	n := o.job.GPUs
	switch {
	case n <= 0:
		return notNegative("--gpus", n)
	case n > maxDevices:
		return fmt.Errorf("--gpus %d is more than %d", n, maxDevices)
	case o.Runtime.Provider == ort.CPU:
		return fmt.Errorf("--gpus %d would be idle with --provider %s: add --provider cuda, or another that runs on them", n, ort.CPU)
	case n > 1 && o.Devices == nil:
		for device := range n {
			o.Devices = append(o.Devices, device)
		}
	}
	if slices.ContainsFunc(o.Devices, func(device int) bool { return device >= n }) {
		return fmt.Errorf("--devices %v are not among 0 to %d, which --gpus %d gives", o.Devices, n-1, n)
	}
	return nil
}

// workerFlags are those that were given for how workers run, not for what the plan says.
func (o *planPrecomputeOptions) workerFlags() []string {
	var flags []string
	add := func(given bool, words ...string) {
		if given {
			flags = append(flags, words...)
		}
	}
	var devices []string
	for _, device := range o.Devices {
		devices = append(devices, strconv.Itoa(device))
	}
	add(o.Runtime.Provider != ort.CPU, "--provider", o.Runtime.Provider)
	add(len(devices) > 0, "--devices", strings.Join(devices, ","))
	add(o.Runtime.AllowFallback, "--allow-fallback")
	add(o.Batch != 0, "--batch", batchFlag{&o.Batch}.String())
	add(o.Runtime.Threads != 0, "--threads", strconv.Itoa(o.Runtime.Threads))
	for _, dataset := range o.Reuse {
		add(true, "--reuse", dataset)
	}
	return flags
}

func (o *planPrecomputeOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Runtime.Library, o.Progress = s.onnxruntime, s.progress()
	if err := o.verify(ctx, o.Runtime.OnProcessor()); err != nil {
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
	runtime, err := o.runtimeFlag()
	if err != nil {
		return err
	}
	paths, err := o.Paths()
	if err != nil {
		return err
	}
	// The merge looks at the detector, too.
	return o.complete("ingest", runtime, runtime, paths)
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
