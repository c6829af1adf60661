package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/plain"
	"facepipe/teacher/classifier"
)

type teachersClassifierOptions struct {
	classifier.Options
}

func (o *teachersClassifierOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "classifier DATASET NAME --from FILE",
		Short: "Import the classifier matrix that a teacher was trained with",
		Long: `Classifier stores a teacher's own classifier matrix beside its cache, for losses that
pull students to the classes that the teacher was pulled to. It is read from a NumPy file
(.npy: float16, float32 or float64, C order) or from an initializer of an ONNX file, a
class a row, each as long as an embedding.

Rows are named by --identities, a line each, or else by their number, behind --prefix: a
train.rec in folder faces gives the identities faces/0, faces/1 ... Classes that the
dataset lacks are kept; a matrix that has none of its people is refused.`,
		Example: `  pipe teachers classifier faces.ds r100 --from weight.npy --prefix ms1m/
  pipe teachers classifier faces.ds r100 --from head.onnx --tensor fc.weight --identities people.txt`,
	}
}

func (o *teachersClassifierOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.From, "from", "", "`file` with the matrix: .npy or ONNX (required)")
	f.StringVar(&o.Tensor, "tensor", "", "`name` of the initializer (default: the only one of two dimensions that fits)")
	f.StringVar(&o.Identities, "identities", "", "text `file` that names the rows, a line each")
	f.StringVar(&o.Prefix, "prefix", "", "`text` before the number of a row that makes the identity's name")
	f.BoolVar(&o.Replace, "replace", false, "take the place of another matrix that was imported")
}

func (o *teachersClassifierOptions) validate(args []string) error {
	err := errors.Join(datasetAndTeacher(args, &o.Dataset, &o.Teacher), required("--from", o.From))
	if o.Identities != "" && o.Prefix != "" {
		err = errors.Join(err, errors.New("--identities names the rows: give it or --prefix"))
	}
	return err
}

func (o *teachersClassifierOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Progress = s.progress()
	imported, err := classifier.Import(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	return &result{imported, func(w io.Writer) { printClassifier(w, imported) }}, nil
}

func printClassifier(w io.Writer, s classifier.Summary) {
	plain.Fprintf(w, "%s: teacher %s: classifier of %d classes x %d, %s of %s, %s\n", s.Dataset, s.Teacher, s.Rows, s.Dim, s.DType, s.Origin, spent(s.Seconds, s.Reused))
	plain.Fprintf(w, "  matched  %d of the dataset's %d identities\n", s.Matched, s.Identities)
}
