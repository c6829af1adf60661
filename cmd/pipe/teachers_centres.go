package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/plain"
	"facepipe/store/derived"
)

type teachersCentresOptions struct {
	dataset, name string
	derived.CentresOptions
}

func (o *teachersCentresOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "centres DATASET NAME",
		Short: "Derive class centres and crop qualities from a teacher cache",
		Long: `Centres derives two tables from a complete teacher cache, for losses that look at
classes: for every person the direction of the mean of the unit embeddings (mirror images
included), the number of crops and their spread about it; for every crop the norm of its
embedding and its cosine similarity to its own person's centre, by which mislabelled and
bad pictures can be told.

They are Arrow files in DATASET/teachers/NAME/centres. Whoever needs them derives them
anew when the cache has grown; this verb does so beforehand.`,
		Example: `  pipe teachers centres faces.ds w600k_r50
  pipe teachers centres faces.ds w600k_r50 --rebuild --json`,
	}
}

func (o *teachersCentresOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.Rebuild, "rebuild", false, "derive them again even if they are there")
}

func (o *teachersCentresOptions) validate(args []string) error {
	return datasetAndTeacher(args, &o.dataset, &o.name)
}

func (o *teachersCentresOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Progress = s.progress()
	derived, err := derived.DeriveCentres(ctx, o.dataset, o.name, o.CentresOptions)
	if err != nil {
		return nil, err
	}
	return &result{derived, func(w io.Writer) { printCentres(w, derived) }}, nil
}

func printCentres(w io.Writer, s derived.CentresSummary) {
	plain.Fprintf(w, "%s: teacher %s: centres of %d identities, qualities of %d crops, %s, %s\n", s.Dataset, s.Teacher, s.Identities, s.Rows, byteSize(s.Bytes), spent(s.Seconds, s.Reused))
	plain.Fprintf(w, "  mean spread    %.4f (cosine distance to the centre)\n", s.MeanSpread)
	if s.WithoutCentre > 0 {
		plain.Fprintf(w, "  without centre %d identities, which have no usable embedding\n", s.WithoutCentre)
	}
}
