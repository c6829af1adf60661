package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/ingest"
	"facepipe/internal/plain"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/merge"
	"facepipe/store/plan"
	"facepipe/study"
	"facepipe/teacher"
)

type mergeOptions struct {
	inputs []string
	out    string
	plan   string
	clean  bool
	flags  *pflag.FlagSet
	merge.Options
}

func (o *mergeOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "merge DATASET DATASET... --out DATASET | --plan PLAN",
		Short: "Make one dataset of several, or put together what a plan's workers did",
		Long: `Merge appends the crops of datasets, in the order they are named, to a new one. All
must have been made in the same way (crop size, template, warp, decoder). The inputs
are only read.

A crop that several have is stored once; the others are recorded as duplicates. A key
that leads to another crop already is refused and recorded in DATASET/rejects.jsonl.
Identities of one name are one person; labels are numbered anew. Numbers are no names:
datasets that have some in common are refused, unless --key-prefix keeps their people
apart or --same-people says that they are the same. Rejects and sources are taken over,
sources with the digest of the dataset they came from.

Teacher caches that every input has are merged too, bit for bit. Caches of one name
must be of one fingerprint.

With --plan it takes over what the workers of a plan did into the teacher cache of the
plan's dataset, or of --out if that lies elsewhere on this machine. Shares that are
missing, damaged, of another teacher or of no task are named, and then nothing is taken.
A dataset that a plan of ingest makes must be as it was when the plan was made, or what
an interrupted merge of this plan has left. --clean deletes the shares after the merge.
Of a plan of compare it writes the study's table, and names rows that are missing.`,
		Example: `  pipe merge casia.ds celeb.ds --out both.ds
  pipe merge a.ds b.ds c.ds --out all.ds --without-teachers --json
  pipe merge a.ds b.ds --key-prefix a/ --key-prefix b/ --out both.ds
  pipe merge --plan job
  pipe merge --plan job --clean`,
	}
}

func (o *mergeOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.out, "out", "", "`dataset` to make (required without --plan)")
	f.StringVar(&o.plan, "plan", "", "`folder` of a plan whose workers are done")
	f.BoolVar(&o.clean, "clean", false, "delete what the workers of --plan did, once it is merged and verified")
	o.flags = f
	f.StringArrayVar(&o.KeyPrefixes, "key-prefix", nil, "`text` put before every key and identity of a dataset, to keep them apart; once for each DATASET, in their order")
	f.BoolVar(&o.SamePeople, "same-people", false, "identities that are numbers mean the same people in all datasets; without it they are refused where two have the same ones")
	f.BoolVar(&o.WithoutTeachers, "without-teachers", false, "leave teacher caches behind")
	f.IntVar(&o.ShardRows, "shard-rows", store.DefaultShardRows, "`crops` in a shard; a killed run loses at most one shard")
	f.Float64Var(&o.MaxRejectRate, "max-reject-rate", ingest.DefaultMaxRejectRate, "share of crops with taken keys, of --plan of refused inputs or of embeddings without use, above which the exit status is 3")
}

func (o *mergeOptions) validate(args []string) error {
	o.inputs = args
	if o.plan != "" {
		return errors.Join(noArguments(args), misplaced(o.flags, "is the plan's matter", "key-prefix", "same-people"), share("--max-reject-rate", o.MaxRejectRate))
	}
	if o.clean {
		return errors.New("--clean needs --plan")
	}
	if len(args) < 2 {
		return errors.New("name two datasets or more")
	}
	if n := len(o.KeyPrefixes); n > 0 && n != len(args) {
		return fmt.Errorf("%d key prefixes for %d datasets: give one for each, in their order", n, len(args))
	}
	for _, dataset := range args {
		if err := required("DATASET", dataset); err != nil {
			return err
		}
	}
	return errors.Join(required("--out", o.out), notNegative("--shard-rows", o.ShardRows), share("--max-reject-rate", o.MaxRejectRate))
}

func (o *mergeOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Progress = s.progress()
	if o.plan != "" {
		return o.mergePlan(ctx, s)
	}
	summary, err := merge.Datasets(ctx, o.out, o.inputs, o.Options)
	if err != nil && !tooManyRejects(err) {
		return nil, err
	}
	return &result{summary, func(w io.Writer) { printMerged(w, summary) }}, err
}

func (o *mergeOptions) mergePlan(ctx context.Context, s *session) (*result, error) {
	p, _, err := plan.Read(o.plan)
	if err != nil {
		return nil, err
	}
	if p.Verb == ingest.PlanVerb {
		m, err := ingest.MergePlan(ctx, o.plan, ingest.MergeOptions{
			Clean: o.clean, Options: ingest.Options{Out: o.out, ONNXRuntime: s.onnxruntime, Progress: o.Progress, MaxRejectRate: o.MaxRejectRate}})
		if err != nil && !tooManyRejects(err) {
			return nil, err
		}
		return &result{m, func(w io.Writer) {
			printIngested(w, m.Summary)
			printRemoved(w, m.Removed)
		}}, err
	}
	if p.Verb == study.PlanVerb {
		if o.clean || o.out != "" {
			return nil, usagef("a study's rows stay in its folder: neither --clean nor --out is for a plan of compare")
		}
		return compared(study.MergePlan(ctx, o.plan, study.Options{ONNXRuntime: s.onnxruntime, Progress: o.Progress}))
	}
	m, err := teacher.MergePlan(ctx, o.plan, teacher.MergeOptions{
		Dataset: o.out, Clean: o.clean, Progress: o.Progress, MaxRejectRate: o.MaxRejectRate})
	if err != nil && !tooManyRejects(err) {
		return nil, err
	}
	return &result{m, func(w io.Writer) { printPlanMerged(w, m) }}, err
}

func printPlanMerged(w io.Writer, m teacher.PlanMerge) {
	plain.Fprintf(w, "%s, teacher %s: %d crops of plan %.12s…, %d of them there before\n", m.Dataset, m.Teacher, m.Rows, m.ID, m.Reused)
	if m.Invalid > 0 {
		plain.Fprintf(w, "  unusable    %d embeddings were not finite or zero\n", m.Invalid)
	}
	if m.MissingShards > 0 {
		plain.Fprintf(w, "  missing     %d shards, which the dataset did not have when the plan was made\n", m.MissingShards)
	} else {
		plain.Fprintf(w, "  digest      %s\n", m.Digest)
	}
	plain.Fprintf(w, "  runs        %s\n", runsText(m.Runs))
	printRemoved(w, m.Removed)
	for _, note := range m.Notes {
		plain.Fprintf(w, "note: %s\n", note)
	}
}

// printRemoved tells what of the workers' files was deleted.
func printRemoved(w io.Writer, r cache.Removed) {
	if r.Files > 0 {
		plain.Fprintf(w, "  removed     %d files of the workers, %.1f MB\n", r.Files, float64(r.Bytes)/1e6)
	}
}

func printMerged(w io.Writer, s merge.Summary) {
	plain.Fprintf(w, "%s: %d crops of %d identities in %d shards, of %d datasets in %.1f s\n",
		s.Dataset, s.Rows, s.Identities, s.Shards, len(s.Inputs), s.Seconds)
	plain.Fprintf(w, "  seen        %d\n", s.Seen)
	plain.Fprintf(w, "  written     %d\n", s.Written)
	plain.Fprintf(w, "  skipped     %d, known from an earlier run or input (%d rejected)\n", s.Skipped, s.RejectedBefore)
	plain.Fprintf(w, "  duplicates  %d\n", s.Duplicates)
	plain.Fprintf(w, "  rejected    %d, their keys being taken\n", s.Rejected)
	plain.Fprintf(w, "  taken over  %d rejects\n", s.CarriedRejects)
	for _, t := range s.Teachers {
		plain.Fprintf(w, "  teacher %s: %d embeddings copied, %d reused, %d missing\n", t.Teacher, t.Copied, t.Reused, t.Missing)
	}
	for _, note := range s.Notes {
		plain.Fprintf(w, "note: %s\n", note)
	}
}
