package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/eval"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/eval/verification"
	"facepipe/internal/ort"
)

type evalOptions struct {
	eval.Options
	flags     *pflag.FlagSet
	noFlip    bool
	rule, far string
	lists     map[string]*string // by the protocol's name
}

func (o *evalOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "eval --model FILE.onnx --dataset DATASET --pairs FILE --out DIR",
		Short: "Measure how well models tell faces apart",
		Long: `Eval embeds the crops that a list of pairs names and says how well each model tells
same from different: ten-fold accuracy by the LFW protocol, TAR@FAR, AUC, EER and
the threshold to set for the false match rate you want. DIR gets report.json, report.md,
roc.svg, det.svg and scores.svg. What so few pairs cannot tell is said, not left out.

A report names every switch that moves a figure, and digests of all that went in.
` + listsHelp(),
		Example: `  pipe eval --model teacher.onnx --model run/student.onnx --dataset lfw.ds --pairs pairs.txt --out report
  pipe eval --model w600k_mbf.onnx --dataset lfw.ds --pairs pairs.txt --no-flip --json --out report`,
	}
}

func (o *evalOptions) addFlags(f *pflag.FlagSet) {
	o.Options, o.flags = eval.DefaultOptions(), f
	f.StringArrayVar(&o.Models, "model", nil, "ONNX `file` to measure; may be given several times (required)")
	f.StringVar(&o.Dataset, "dataset", "", "`dataset` that holds the crops (required)")
	o.lists = map[string]*string{}
	for _, k := range protocol.Kinds() {
		o.lists[k.Name] = f.String(k.Name, "", "`file` of "+k.About+" (required)")
	}
	f.StringVar(&o.Out, "out", "", "`folder` for the report (default: write none)")
	f.StringVar(&o.rule, "rule", o.Rule.Name, "`name` of the rule that published figures follow: plain, insightface, facexzoo; see docs/figures.md")
	f.StringVar(&o.far, "far-pick", "", "where TAR is read at a FAR: le, nearest, interp (default: as the rule does)")
	f.BoolVar(&o.Flip, "flip", o.Flip, "add the mirrored crop's embedding to the crop's own; without this flag as the rule does")
	f.BoolVar(&o.noFlip, "no-flip", false, "do not; the same as --flip=false")
	f.Float64SliceVar(&o.FAR, "far", o.FAR, "false accept `rates` to tell TAR at, each between 0 and 1, by commas; a rate of less than one false accept is not measurable")
	f.Lookup("far").DefValue = strings.ReplaceAll(strings.Trim(fmt.Sprint(o.FAR), "[]"), " ", ",") // pflag's has six digits
	f.BoolVar(&o.AllowMissing, "allow-missing", false, "leave out pairs whose images the dataset lacks")
	f.StringVar(&o.Preprocess, "preprocess", "auto", "`preprocessing` of all models: auto, arcface, raw or a JSON file")
	f.BoolVar(&o.NoSelfTest, "no-self-test", false, "do not compare preprocessings on some of the crops first")
	f.StringVar(&o.Output, "output", "", "`name` of the embedding among several outputs, for all models (default: the only one with an embedding's shape)")
	f.StringVar(&o.Runtime.Provider, "provider", "cpu", "execution `provider` of ONNX Runtime")
	f.IntVar(&o.Batch, "batch", 0, "crops in one run of a model (default: fits the machine)")
	f.IntVar(&o.Runtime.Threads, "threads", 0, "threads of one operator (default: all cores)")
}

func (o *evalOptions) validate(args []string) error {
	return errors.Join(
		noArguments(args), o.chooseRule(), o.Validate(),
		required("--dataset", o.Dataset), o.chooseProtocol(),
		preprocessing(o.Preprocess),
		oneOf("--provider", o.Runtime.Provider, ort.Providers()...),
		notNegative("--batch", o.Batch), notNegative("--threads", o.Runtime.Threads),
	)
}

// chooseRule takes the rule and what else it says, unless flags say otherwise.
func (o *evalOptions) chooseRule() error {
	rule, err := verification.RuleNamed(o.rule)
	if err != nil {
		return fmt.Errorf("--rule: %w", err)
	}
	if o.far != "" {
		if rule.Pick, err = verification.PickNamed(o.far); err != nil {
			return fmt.Errorf("--far-pick: %w", err)
		}
	}
	o.Rule = rule
	if !o.flags.Changed("flip") {
		o.Flip = rule.Flip
	}
	if o.noFlip {
		o.Flip = false
	}
	return nil
}

// listsHelp says how the file of each protocol is written.
func listsHelp() string {
	var b strings.Builder
	for _, k := range protocol.Kinds() {
		fmt.Fprintf(&b, "\n%s\n  %s\n", strings.ToUpper(k.Name), strings.ReplaceAll(k.Help, "\n", "\n  "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// chooseProtocol takes the protocol whose file is given.
func (o *evalOptions) chooseProtocol() error {
	var names, given []string
	for _, k := range protocol.Kinds() {
		names = append(names, "--"+k.Name)
		if path := *o.lists[k.Name]; path != "" {
			given = append(given, "--"+k.Name)
			o.Protocol, o.List = k, path
		}
	}
	if len(given) > 1 {
		return fmt.Errorf("%s exclude each other", strings.Join(given, " and "))
	}
	return required(strings.Join(names, " or "), o.List)
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

func printEvaluated(w io.Writer, r report.Report, out string) {
	report.Print(w, r)
	if out != "" && len(r.Models) > 0 {
		fmt.Fprintf(w, "report in %s\n", out)
	}
}
