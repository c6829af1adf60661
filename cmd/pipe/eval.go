package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/eval"
	"facepipe/internal/ort"
)

type evalOptions struct {
	eval.Options
	noFlip bool
}

func (o *evalOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "eval --model FILE.onnx --dataset DATASET --pairs FILE --out DIR",
		Short: "Measure how well models tell faces apart",
		Long: `Eval embeds the crops that a list of pairs names and says how well each model tells
same from different: ten-fold accuracy by the LFW protocol, TAR@FAR, AUC, EER and
the threshold. DIR gets report.json, report.md and roc.svg.

A report names every switch that moves a figure, and digests of all that went in.

PAIRS
  LFW's pairs.txt: "NAME 1 2" and "NAME 1 OTHER 3", resolved as NAME/NAME_0001.jpg
  a plain list:    "a.jpg b.jpg 1" for the same person, 0 for two, by dataset keys`,
		Example: `  pipe eval --model teacher.onnx --model run/student.onnx --dataset lfw.ds --pairs pairs.txt --out report
  pipe eval --model w600k_mbf.onnx --dataset lfw.ds --pairs pairs.txt --no-flip --json --out report`,
	}
}

func (o *evalOptions) addFlags(f *pflag.FlagSet) {
	o.Options = eval.DefaultOptions()
	f.StringArrayVar(&o.Models, "model", nil, "ONNX `file` to measure; may be given several times (required)")
	f.StringVar(&o.Dataset, "dataset", "", "`dataset` that holds the crops (required)")
	f.StringVar(&o.Pairs, "pairs", "", "`file` of pairs (required)")
	f.StringVar(&o.Out, "out", "", "`folder` for the report (default: write none)")
	f.BoolVar(&o.Flip, "flip", o.Flip, "add the mirrored crop's embedding to the crop's own")
	f.BoolVar(&o.noFlip, "no-flip", false, "do not; the same as --flip=false")
	f.BoolVar(&o.AllowMissing, "allow-missing", false, "leave out pairs whose images the dataset lacks")
	f.StringVar(&o.Preprocess, "preprocess", "auto", "`preprocessing` of all models: auto, arcface, raw or a JSON file")
	f.StringVar(&o.Runtime.Provider, "provider", "cpu", "execution `provider` of ONNX Runtime")
	f.IntVar(&o.Batch, "batch", 0, "crops in one run of a model (default: fits the machine)")
	f.IntVar(&o.Runtime.Threads, "threads", 0, "threads of one operator (default: all cores)")
}

func (o *evalOptions) validate(args []string) error {
	if o.noFlip {
		o.Flip = false
	}
	return errors.Join(
		noArguments(args), o.Validate(),
		required("--dataset", o.Dataset), required("--pairs", o.Pairs),
		preprocessing(o.Preprocess),
		oneOf("--provider", o.Runtime.Provider, ort.Providers()...),
		notNegative("--batch", o.Batch), notNegative("--threads", o.Runtime.Threads),
	)
}

func (o *evalOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Runtime.Library, o.Progress = s.onnxruntime, s.progress()
	report, err := eval.Run(ctx, o.Options)
	// A report without a model is worth printing if it says which images or models
	// are at fault.
	if err != nil && len(report.Models)+len(report.Failed)+len(report.Pairs.Missing) == 0 {
		return nil, err
	}
	return &result{report, func(w io.Writer) { printEvaluated(w, report, o.Out) }}, err
}

func printEvaluated(w io.Writer, r eval.Report, out string) {
	if len(r.Models) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "MODEL\tACCURACY %")
	for _, p := range r.Models[0].OperatingPoints { // all models see the same pairs
		fmt.Fprintf(t, "\tTAR@FAR %s", p.Name())
	}
	fmt.Fprintln(t, "\tAUC\tEER %\tIMAGES/S")
	for _, m := range r.Models {
		fmt.Fprintf(t, "%s\t%.2f ± %.2f", m.Model, 100*m.Accuracy, 100*m.AccuracyStd)
		for _, p := range m.OperatingPoints {
			fmt.Fprintf(t, "\t%.4f", p.TAR)
		}
		fmt.Fprintf(t, "\t%.5f\t%.2f\t%.0f\n", m.AUC, 100*m.EER, m.ImagesPerSecond)
	}
	_ = t.Flush() // w remembers what it could not write
	fmt.Fprintf(w, "%d pairs in %d folds, mirrored crops added: %v\n", r.Pairs.Used, r.Folds, r.Flip)
	if out != "" {
		fmt.Fprintf(w, "report in %s\n", out)
	}
}
