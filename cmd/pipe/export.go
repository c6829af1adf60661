package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/store/export"
	studentexport "facepipe/student/export"
)

type exportOptions struct {
	export.Options
	student studentexport.Options
	norm    string // of the embedding

	flags *pflag.FlagSet
}

func (o *exportOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use: `export DATASET --to KIND --out DIR
  pipe export --checkpoint RUN|FILE --out FILE.onnx`,
		Short: "Write a dataset in other programs' forms, or a checkpoint's student as ONNX",
		Long: `Export writes a dataset's crops, or a teacher's embeddings, in forms that other
programs read. Images keep their bytes; raw pixels become PNG. What is exported can be
ingested again and gives the same crops.

DIR appears when all of it is durable, and must be new or empty; until then the export
grows in a hidden folder beside it, which the next run of the same command removes.

KINDS
  folder      DIR/IDENTITY/IMAGE; characters that not every file system takes are
              written %XX, names that differ only in case get a number
  webdataset  DIR/NNNNNN.tar with a .jpg (or .png ...), a .json and a .cls a crop
  recordio    train.rec, train.idx, train.lst and property, for insightface and its
              relatives, crops grouped by identity; those without one are left out
  npy         embeddings.npy, norms.npy, labels.npy, ids.npy and keys.txt of a teacher's
              cache, and embeddings_mirror.npy, norms_mirror.npy if it has them; a norm
              of 0 marks an embedding without use

With --checkpoint it writes the student of a run's newest checkpoint, or of a file, as
ONNX, also while the run goes on: the weights' average where the run keeps one, norms
folded away. It needs no training engine. With --dtype fp16 the graph computes in half
precision between an input and an output of float32.`,
		Example: `  pipe export faces.ds --to folder --out faces
  pipe export faces.ds --to webdataset --out tars --shard-crops 5000
  pipe export faces.ds --to recordio --out faces_rec
  pipe export faces.ds --to npy --teacher w600k_r50 --out arrays
  pipe export --checkpoint run --out student.onnx
  pipe export --checkpoint run --best --dtype fp16 --embedding-norm inside --out phone.onnx`,
	}
}

func (o *exportOptions) addFlags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.To, "to", "", "`kind` of export: "+strings.Join(export.Kinds(), ", ")+" (required for a dataset)")
	f.StringVar(&o.Out, "out", "", "`folder` to make, or file to write (required)")
	f.StringVar(&o.Teacher, "teacher", "", "`name` of the cache that npy exports")
	f.IntVar(&o.ShardCrops, "shard-crops", export.DefaultShardCrops, "`crops` in a tar file of webdataset")
	o.student.Form = studentexport.DefaultForm()
	f.StringVar(&o.student.Checkpoint, "checkpoint", "", "`run` or checkpoint whose student to write")
	f.BoolVar(&o.student.Best, "best", false, "take the run's best checkpoint, not the newest")
	f.BoolVar(&o.student.Last, "last-weights", false, "take the last step's weights, not their average")
	f.StringVar(&o.student.Form.DType, "dtype", o.student.Form.DType, "`type` that the student computes in: fp32 or fp16")
	f.IntVar(&o.student.Form.Opset, "opset", o.student.Form.Opset, "`version` of ONNX's operators, 11 to 21")
	f.StringVar(&o.student.Form.InputNorm, "input-norm", "", "where pixels are normalised: outside (the model takes -1..1) or inside the graph (0..255) (default: as in the run)")
	f.StringVar(&o.norm, "embedding-norm", "outside", "where the embedding is brought to unit length: outside or inside the graph")
}

// ofCheckpoint are the flags that only say how to write a student, ofDataset those that
// only say how to write a dataset.
var (
	ofCheckpoint = []string{"best", "last-weights", "dtype", "opset", "input-norm", "embedding-norm"}
	ofDataset    = []string{"to", "teacher", "shard-crops"}
)

func (o *exportOptions) validate(args []string) error {
	if !o.flags.Changed("checkpoint") {
		if err := misplaced(o.flags, "needs --checkpoint", ofCheckpoint...); err != nil {
			return err
		}
		if err := errors.Join(oneDataset(args, &o.Dataset), required("--to", o.To), required("--out", o.Out)); err != nil {
			return err
		}
		return errors.Join(o.Validate(), positive("--shard-crops", o.ShardCrops))
	}
	form := &o.student.Form
	form.UnitLength = o.norm == "inside"
	if form.InputNorm != "" {
		if err := oneOf("--input-norm", form.InputNorm, "outside", "inside"); err != nil {
			return err
		}
	}
	return errors.Join(noArguments(args), misplaced(o.flags, "is of a dataset, not of a checkpoint", ofDataset...),
		required("--checkpoint", o.student.Checkpoint), required("--out", o.Out),
		oneOf("--dtype", form.DType, "fp32", "fp16"), oneOf("--embedding-norm", o.norm, "outside", "inside"))
}

func (o *exportOptions) run(ctx context.Context, s *session) (*result, error) {
	if o.student.Checkpoint != "" {
		o.student.Out = o.Out
		summary, err := studentexport.Run(o.student)
		if err != nil {
			return nil, err
		}
		return &result{summary, func(w io.Writer) { printExportedStudent(w, summary) }}, nil
	}
	o.Progress = s.progress()
	summary, err := export.Run(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	return &result{summary, func(w io.Writer) { printExported(w, summary) }}, nil
}

func printExported(w io.Writer, s export.Summary) {
	fmt.Fprintf(w, "%s: %d crops as %s: %d files, %s, %s\n", s.Out, s.Rows, s.To, s.Files, byteSize(s.Bytes), spent(s.Seconds, s.Reused))
	if s.LeftOut > 0 {
		fmt.Fprintf(w, "  left out    %d crops without an identity\n", s.LeftOut)
	}
}

func printExportedStudent(w io.Writer, s studentexport.Summary) {
	weights := "the weights"
	if s.Averaged {
		weights = "the average of the weights"
	}
	fmt.Fprintf(w, "%s: %s, %d parameters, %s, opset %d, %s\n", s.ONNX, s.Student, s.Parameters, s.DType, s.Opset, byteSize(s.Bytes))
	fmt.Fprintf(w, "  from     %s, %s after step %d\n", s.Checkpoint, weights, s.Step)
}
