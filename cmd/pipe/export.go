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
)

type exportOptions struct {
	export.Options
}

func (o *exportOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "export DATASET --to KIND --out DIR",
		Short: "Write a dataset out in other programs' forms",
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
              of 0 marks an embedding without use`,
		Example: `  pipe export faces.ds --to folder --out faces
  pipe export faces.ds --to webdataset --out tars --shard-crops 5000
  pipe export faces.ds --to recordio --out faces_rec
  pipe export faces.ds --to npy --teacher w600k_r50 --out arrays`,
	}
}

func (o *exportOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.To, "to", "", "`kind` of export: "+strings.Join(export.Kinds(), ", ")+" (required)")
	f.StringVar(&o.Out, "out", "", "`folder` to make (required)")
	f.StringVar(&o.Teacher, "teacher", "", "`name` of the cache that npy exports")
	f.IntVar(&o.ShardCrops, "shard-crops", export.DefaultShardCrops, "`crops` in a tar file of webdataset")
}

func (o *exportOptions) validate(args []string) error {
	if err := errors.Join(oneDataset(args, &o.Dataset), required("--to", o.To), required("--out", o.Out)); err != nil {
		return err
	}
	return errors.Join(o.Validate(), positive("--shard-crops", o.ShardCrops))
}

func (o *exportOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Progress = s.progress()
	summary, err := export.Run(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	return &result{summary, func(w io.Writer) { printExported(w, summary) }}, nil
}

func printExported(w io.Writer, s export.Summary) {
	state := fmt.Sprintf("in %.1f s", s.Seconds)
	if s.Reused {
		state = "there already"
	}
	fmt.Fprintf(w, "%s: %d crops as %s: %d files, %s, %s\n", s.Out, s.Rows, s.To, s.Files, byteSize(s.Bytes), state)
	if s.LeftOut > 0 {
		fmt.Fprintf(w, "  left out    %d crops without an identity\n", s.LeftOut)
	}
}
