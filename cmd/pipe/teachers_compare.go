package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/teacher/compare"
)

type teachersCompareOptions struct {
	compare.Options
}

func (o *teachersCompareOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "compare DATASET A B",
		Short: "Say how far two teachers agree",
		Long: `Compare draws random pairs of crops, half of one person and half of two, and asks two
teacher caches how alike the crops of each are. It prints the rank correlation of their
answers (Spearman's: 1 if they order the pairs alike, 0 if one tells nothing of the
other), and how well each tells people apart: the area under its ROC curve and its mean
cosine similarities.

Over all pairs two teachers correlate already because both know people apart; the
correlations within pairs of one kind say whether they agree beyond that.`,
		Example: `  pipe teachers compare faces.ds w600k_r50 adaface
  pipe teachers compare faces.ds w600k_r50 adaface --pairs 100000 --json`,
	}
}

func (o *teachersCompareOptions) addFlags(f *pflag.FlagSet) {
	f.IntVar(&o.Pairs, "pairs", compare.DefaultPairs, "`pairs` of crops to draw")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the draw")
}

func (o *teachersCompareOptions) validate(args []string) error {
	if len(args) != 3 {
		return errors.New("name a dataset folder and two of its teachers")
	}
	o.Dataset, o.A, o.B = args[0], args[1], args[2]
	return errors.Join(allNamed("an argument", args), positive("--pairs", o.Pairs))
}

func (o *teachersCompareOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Progress = s.progress()
	c, err := compare.Run(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	return &result{c, func(w io.Writer) { printComparison(w, c) }}, nil
}

func printComparison(w io.Writer, c compare.Result) {
	fmt.Fprintf(w, "%s: %d pairs, %d of one person, %d of two; %d skipped, without usable embeddings\n", c.Dataset, c.Pairs, c.Same, c.Different, c.Skipped)
	fmt.Fprintf(w, "  rank correlation  %s; of one person %s, of two %s\n", figure(c.Spearman), figure(c.SpearmanSame), figure(c.SpearmanDifferent))
	for _, t := range c.Teachers {
		fmt.Fprintf(w, "teacher %s (%s): AUC %s, mean cosine of one person %s, of two %s\n",
			t.Teacher, t.ModelFile, figure(t.AUC), figure(t.MeanSame), figure(t.MeanDifferent))
	}
}

// figure is a number that may be undefined.
func figure(v *float64) string {
	if v == nil {
		return "undefined"
	}
	return fmt.Sprintf("%.4f", *v)
}
