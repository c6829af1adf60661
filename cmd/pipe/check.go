package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/plain"
	"facepipe/store"
	"facepipe/store/check"
	"facepipe/store/plan"
	"facepipe/student"
	"facepipe/study"
	"facepipe/teacher"
)

type checkOptions struct {
	dataset string
	check.Options
	flags  *pflag.FlagSet
	subset string
	seed   uint64
	replay teacher.ReplayOptions
}

// checkSummary is what store found and, with --replay, how far the teacher agrees.
type checkSummary struct {
	check.Report
	Replay *teacher.ReplayReport `json:"replay,omitempty"`
}

func (o *checkOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "check DATASET|RUN|PLAN|STUDY",
		Short: "Look for damage in a dataset, a run, a plan or a study",
		Long: `Check compares a dataset's manifests with each other and with their files' sizes,
with --read-data every byte with its digest. It changes nothing, and goes on after
it finds damage, or a file that it cannot read.

Of a run's folder (distill --out) it reads all, with the digest that each file carries:
run.json, distill.yaml, every checkpoint, the metrics, the summary and student.onnx;
of a study's (compare --out) what it says of itself, and all rows with their scores.
Of a plan's folder it looks at plan.json and at the parts that workers made, with
--read-data at every byte of them; its dataset need not be there.

--read-data-subset reads some of the shards: 3/10 the third of ten equal parts, the
same each time, so that ten runs read everything; 5% a random sample, another one for
each --seed.

With --replay N it embeds N random crops again with the teacher's model, in the way and
in the precision that the cache was made, and compares the result with the cache.`,
		Example: `  pipe check faces.ds
  pipe check faces.ds --read-data --json
  pipe check faces.ds --read-data-subset 1/7
  pipe check run
  pipe check faces.ds --replay 200 --model w600k_r50.onnx
  pipe check faces.ds --replay 200 --teacher w600k --model w600k_r50.onnx --provider cuda`,
	}
}

func (o *checkOptions) addFlags(f *pflag.FlagSet) {
	o.flags = f
	f.BoolVar(&o.ReadData, "read-data", false, "read and compare every byte")
	f.StringVar(&o.subset, "read-data-subset", "", "read a `part` of the shards: n/t or P%")
	f.IntVar(&o.replay.N, "replay", 0, "embed this many random `crops` again")
	f.StringVar(&o.replay.Teacher, "teacher", "", "`name` of the cache to replay (default: the only one)")
	f.StringVar(&o.replay.Model, "model", "", "ONNX `file` that the cache was made with (required with --replay)")
	f.Uint64Var(&o.seed, "seed", 1, "seed of random choices: of crops to replay, of shards to read")
	f.Float64Var(&o.replay.MinCosine, "min-cosine", 0, "lowest agreement that passes (default: 0.9999 for fp32 caches, 0.999 for fp16)")
	addRuntimeFlags(f, &o.replay.Runtime, &o.replay.Batch)
}

func (o *checkOptions) validate(args []string) error {
	return errors.Join(oneDataset(args, &o.dataset), o.validateReplay(), o.validateSubset())
}

func (o *checkOptions) validateReplay() error {
	switch {
	case o.replay.N < 0:
		return notNegative("--replay", o.replay.N)
	case o.replay.N == 0:
		return misplaced(o.flags, "needs --replay", "teacher", "model", "min-cosine", "provider", "allow-fallback", "batch", "threads", "tf32", "gpu-memory")
	case o.replay.Model == "":
		return errors.New("--replay needs --model, the ONNX file that the cache was made with")
	}
	return validateRuntime(o.replay.Runtime)
}

func (o *checkOptions) validateSubset() error {
	o.replay.Seed = o.seed
	if o.subset == "" {
		return nil
	}
	if o.ReadData {
		return errors.New("--read-data reads everything: give it or --read-data-subset")
	}
	subset, err := check.ParseSubset(o.subset)
	subset.Seed = o.seed
	o.ReadData, o.Subset = true, subset
	return err
}

func (o *checkOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Progress = s.progress()
	report, err := o.look(ctx)
	if err != nil {
		return nil, err
	}
	summary := &checkSummary{Report: report}
	if report.OK && o.replay.N > 0 {
		o.replay.Dataset, o.replay.Runtime.Library, o.replay.Progress = o.dataset, s.onnxruntime, s.progress()
		replayed, err := teacher.Replay(ctx, o.replay)
		if err != nil {
			return nil, err
		}
		summary.add(replayed)
	}
	return &result{summary, func(w io.Writer) { printChecked(w, summary) }}, summary.damage(o.dataset)
}

// look looks at what the folder holds.
func (o *checkOptions) look(ctx context.Context) (check.Report, error) {
	if store.IsDataset(o.dataset) {
		return check.Run(ctx, o.dataset, o.Options)
	}
	kind := ""
	switch {
	case study.Is(o.dataset):
		kind = "study"
	case student.IsRun(o.dataset):
		kind = "run"
	case plan.Is(o.dataset):
		kind = "plan"
	default:
		return check.Run(ctx, o.dataset, o.Options) // which says what is wrong
	}
	if err := misplaced(o.flags, "is for a dataset, and "+o.dataset+" is a "+kind, "replay", "read-data-subset"); err != nil {
		return check.Report{}, usageError{err}
	}
	switch kind {
	case "study":
		return study.Audit(ctx, o.dataset)
	case "run":
		return student.Audit(ctx, o.dataset)
	}
	return check.RunPlan(ctx, o.dataset, o.Options)
}

// add takes up a replay; a teacher that disagrees with its cache is a problem of it.
func (c *checkSummary) add(r teacher.ReplayReport) {
	c.Replay = &r
	if r.OK {
		return
	}
	c.OK = false
	c.Problems = append(c.Problems, check.Problem{
		File: "teachers/" + r.Teacher,
		What: disagreement(r),
	})
}

// disagreement says how embeddings of the cache and of the model differ.
func disagreement(r teacher.ReplayReport) string {
	if r.Changed > 0 {
		return fmt.Sprintf("%d embeddings of %d crops are usable for the cache or for the model, not for both", r.Changed, r.Rows)
	}
	return fmt.Sprintf("embeddings differ from the model's: lowest cosine %.6f of %d crops", r.MinCosine, r.Rows)
}

// damage is the error that a report with problems stands for.
func (c *checkSummary) damage(dataset string) error {
	if c.OK {
		return nil
	}
	return fmt.Errorf("check %s: %w: %d problems", dataset, store.ErrDamaged, len(c.Problems))
}

func printChecked(w io.Writer, c *checkSummary) {
	for _, p := range c.Problems {
		plain.Fprintf(w, "%s: %s\n", p.File, p.What)
	}
	for _, note := range c.Notes {
		plain.Fprintf(w, "note: %s\n", note)
	}
	if r := c.Replay; r != nil && r.Compared == 0 {
		plain.Fprintf(w, "replayed %d crops with %s: none has a usable embedding to compare\n", r.Rows, r.Teacher)
	} else if r != nil {
		plain.Fprintf(w, "replayed %d crops with %s: cosine at least %s, %s on average\n", r.Rows, r.Teacher, nearOne(r.MinCosine), nearOne(r.MeanCosine))
		if d := r.Drift; d != nil {
			plain.Fprintf(w, "  of that fp16 alone: at least %s, %s on average\n", nearOne(d.MinCosine), nearOne(d.MeanCosine))
		}
	}
	if c.OK {
		fmt.Fprintln(w, "no damage found")
	}
}
