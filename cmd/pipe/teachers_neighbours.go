package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/plain"
	"facepipe/store/derived"
)

type teachersNeighboursOptions struct {
	dataset, name string
	derived.NeighboursOptions
}

func (o *teachersNeighboursOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "neighbours DATASET NAME",
		Short: "Find the nearest crops of every crop by a teacher cache",
		Long: `Neighbours finds, for every crop of a complete teacher cache, the crops at the highest
cosine similarity: those of other people, and those of the same person. Mirror images are
left out. Of a crop without an identity every crop but itself counts as another person's,
even if both show one face. A crop without a usable embedding has no neighbours.

Up to --exact-up-to crops each is compared with all. Beyond that it is compared with those
in the lists next to it: k-means puts the crops in lists, and a sample that is compared
with all crops decides how many lists are looked at, so that 97 % of the neighbours
are found. What is really found is measured on 1,000 other crops, printed and recorded. If
lists would save little, all are compared nevertheless. A crop's own person's are always
compared with it, all of them.

The tables are Arrow files in DATASET/teachers/NAME/neighbours. Whoever needs them derives
them anew when the cache has grown; this verb does so beforehand. If it is interrupted, the
same command goes on after the last 65,536 crops that are done.`,
		Example: `  pipe teachers neighbours faces.ds w600k_r50
  pipe teachers neighbours faces.ds w600k_r50 --k 32 --json`,
	}
}

func (o *teachersNeighboursOptions) addFlags(f *pflag.FlagSet) {
	f.IntVar(&o.K, "k", derived.DefaultNeighbours, "`number` of neighbours in each of a crop's two lists")
	f.IntVar(&o.ExactUpTo, "exact-up-to", derived.DefaultExactUpTo, "`number` of crops up to which each is compared with all")
	f.BoolVar(&o.Rebuild, "rebuild", false, "find them again even if they are there")
}

func (o *teachersNeighboursOptions) validate(args []string) error {
	err := datasetAndTeacher(args, &o.dataset, &o.name)
	if o.K < 1 || o.K > derived.MaxNeighbours {
		err = errors.Join(err, fmt.Errorf("--k is %d, want 1 to %d", o.K, derived.MaxNeighbours))
	}
	if o.ExactUpTo < 1 {
		err = errors.Join(err, fmt.Errorf("--exact-up-to is %d, want at least 1", o.ExactUpTo))
	}
	return err
}

func (o *teachersNeighboursOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Progress = s.progress()
	found, err := derived.DeriveNeighbours(ctx, o.dataset, o.name, o.NeighboursOptions)
	if err != nil {
		return nil, err
	}
	return &result{found, func(w io.Writer) { printNeighbours(w, found) }}, nil
}

func printNeighbours(w io.Writer, s derived.NeighboursSummary) {
	plain.Fprintf(w, "%s: teacher %s: %d neighbours of %d crops, %s, %s\n", s.Dataset, s.Teacher, s.K, s.Rows, byteSize(s.Bytes), spent(s.Seconds, s.Reused))
	if s.Exact {
		plain.Fprintf(w, "  compared   each crop with all\n")
	} else {
		plain.Fprintf(w, "  compared   each crop with those in %d of %d lists\n", s.Probes, s.Lists)
		plain.Fprintf(w, "  recall     %.4f of the nearest of other people, measured on %d crops\n", s.Recall, s.Sample)
	}
	if s.Resumed > 0 {
		plain.Fprintf(w, "  resumed    %d crops were done before\n", s.Resumed)
	}
	if s.Unusable > 0 {
		plain.Fprintf(w, "  unusable   %d crops have no embedding and no neighbours\n", s.Unusable)
	}
	if s.Unlabelled > 0 {
		plain.Fprintf(w, "  unlabelled %d crops have no identity: to them all others are other people's\n", s.Unlabelled)
	}
}
