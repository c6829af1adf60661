package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/eval"
	"facepipe/eval/cohort"
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
	cohorts   []string
	lists     map[string]*[]string // by the protocol's name
	bins      []string
	ijb       ijbFlags
}

func (o *evalOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "eval --model FILE.onnx (--dataset DATASET --pairs FILE|auto | --bin FILE) --out DIR",
		Short: "Measure how well models tell faces apart",
		Long: `Eval says how well models tell same from different people: accuracy over ten folds as on LFW,
TAR@FAR, AUC, EER, and which threshold to set for the false match rate (FMR) you want. Each
figure has its 95 % interval and its counts; one that needs more pairs than there are is named
as not measurable. DIR gets report.md to read, report.json for programs, roc.svg, det.svg,
scores.svg and, in faces, the crops of the worst errors; pipe report DIR --out page.html makes
one page of all.

YOUR OWN PHOTOGRAPHS
  A folder with a folder for each person (four at least, two of them with two photographs;
  better twenty and more) takes three lines; SCRFD.onnx is a face detector, such as
  insightface's scrfd_2.5g_bnkps or det_10g, and MODEL.onnx what is to be measured, such as
  insightface's w600k_mbf:
    pipe ingest --source folder=PHOTOS --detector scrfd=SCRFD.onnx --out my.ds
    pipe eval --model MODEL.onnx --dataset my.ds --pairs auto --out report
    pipe report report --out page.html
  Open page.html in a browser. The more people and pairs, the less of a figure is chance.

WHAT IS COMPARED
  --model       ONNX files, which are run
  --teacher     teachers' caches of the dataset, which precompute-teacher has filled
  --embeddings  files of embeddings: .npy (keys a line each in FILE.npy.keys.txt or
                keys.txt; without keys, rows in the order of the faces), .npz,
                CSV or TSV (key, then numbers), Arrow (key, embedding), as pipe embed
                writes them. Without --dataset a pair list's names are keys of the file.
                Nothing is unpickled
  Each may be given several times. All are measured on all tests.

ON WHAT
  --pairs FILE  a list of pairs of a dataset's crops
  --pairs auto  pairs drawn from the dataset's identities: as many same as different ones,
                in folds that have no person in common. DIR/pairs.txt keeps the list, which
                --pairs takes again. --hard TEACHER takes as different pairs those that are
                nearest to each other for that teacher
  --ijb DIR, --all-pairs all, --megaface DIR
                protocols of whole sets, see below: the dataset is embedded once for each
                model, into a cache of its own that later runs read
  --bin FILE    a verification set with its images, as insightface's lfw.bin, cfp_fp.bin,
                agedb_30.bin: 112x112 and aligned; no dataset is needed
  With several of these the report says for each model and test how it did.

A report names every switch that moves a figure, digests of all that went in, and warnings.
` + listsHelp(),
		Example: `  pipe eval --model teacher.onnx --model run/student.onnx --dataset lfw.ds --pairs pairs.txt --out report
  pipe eval --model w600k_mbf.onnx --bin lfw.bin --bin cfp_fp.bin --bin agedb_30.bin --out report
  pipe eval --model student.onnx --dataset my.ds --pairs auto --auto-pairs 2000 --hard w600k_r50 --out report
  pipe eval --embeddings mine.npy --embeddings theirs.csv --pairs pairs.txt --scores scores.csv
  pipe eval --model w600k_mbf.onnx --dataset lfw.ds --pairs pairs.txt --no-flip --json --out report`,
	}
}

func (o *evalOptions) addFlags(f *pflag.FlagSet) {
	o.Options, o.flags = eval.DefaultOptions(), f
	f.StringArrayVar(&o.Models, "model", nil, "ONNX `file` to measure; may be given several times")
	f.StringArrayVar(&o.Teachers, "teacher", nil, "`name` of a teacher's cache of the dataset to measure; may be given several times")
	f.StringArrayVar(&o.Embeddings, "embeddings", nil, "`file` of embeddings to measure: .npy, .npz, .csv, .tsv, .arrow; may be given several times")
	f.StringVar(&o.Dataset, "dataset", "", "`dataset` that holds the crops (not needed with --bin)")
	o.lists = map[string]*[]string{}
	for _, k := range protocol.Kinds() {
		o.lists[k.Name] = f.StringArray(k.Name, nil, k.About+"; may be given several times")
	}
	f.StringArrayVar(&o.bins, "bin", nil, "verification set `file` such as lfw.bin; may be given several times")
	f.StringVar(&o.Out, "out", "", "`folder` for the report (default: write none)")
	f.BoolVar(&o.NoIntervals, "no-intervals", false, "leave out intervals and the comparison of models, which take some ten seconds for 15 million pairs")
	f.StringArrayVar(&o.cohorts, "cohort", nil, "error rates of groups by a `column`: an attribute or a measure such as sex, age=18,30,50, yaw=quantiles:4, country=top:5, norm (of the first --teacher); may be given several times; see docs/cohorts.md")
	f.StringVar(&o.ExcludeOverlap, "exclude-overlap", "", "training `dataset` whose people and photographs are looked for in the tests: figures without them stand beside all; see docs/overlap.md")
	f.StringVar(&o.OverlapTeacher, "overlap-teacher", "", "`name` of the caches, of both datasets, that --exclude-overlap looks with (default: the first --teacher)")
	f.BoolVar(&o.Cost, "cost", false, "measure what models cost: latency and throughput by batch, and peak memory; some 15 seconds a model")
	f.StringVar(&o.Scores, "scores", "", "CSV `file` for every comparison with its keys, label, fold and the cosines")
	f.IntVar(&o.Auto.Pairs, "auto-pairs", 0, fmt.Sprintf("how many pairs --pairs auto draws (default: %d, or what is possible)", protocol.AutoPairs))
	f.Uint64Var(&o.Auto.Seed, "seed", 1, "seed of the draw of --pairs auto")
	f.StringVar(&o.Hard, "hard", "", "`teacher` whose cache decides which different pairs of --pairs auto are hard")
	o.ijb.addFlags(f, &o.IJB)
	f.StringVar(&o.rule, "rule", o.Rule.Name, "`name` of the rule that published figures follow: plain, insightface, facexzoo; see docs/figures.md")
	f.StringVar(&o.far, "far-pick", "", "where TAR is read at a FAR: le, nearest, interp (default: as the rule does)")
	f.BoolVar(&o.Flip, "flip", o.Flip, "add the mirrored crop's embedding to the crop's own; without this flag as the rule does")
	f.BoolVar(&o.noFlip, "no-flip", false, "do not add it; the same as --flip=false")
	f.Float64SliceVar(&o.FAR, "far", o.FAR, "false accept `rates` to tell TAR at, each between 0 and 1, by commas; a rate of less than one false accept is not measurable")
	f.Lookup("far").DefValue = strings.ReplaceAll(strings.Trim(fmt.Sprint(o.FAR), "[]"), " ", ",") // pflag's has six digits
	f.BoolVar(&o.AllowMissing, "allow-missing", false, "leave out pairs whose images the dataset lacks, or that cannot be decoded")
	f.StringVar(&o.Preprocess, "preprocess", "auto", "`preprocessing` of all models: auto, arcface, raw or a JSON file")
	f.BoolVar(&o.NoSelfTest, "no-self-test", false, "do not compare preprocessings on some of the crops first")
	f.StringVar(&o.Output, "output", "", "`name` of the embedding among several outputs, for all models (default: the only one with an embedding's shape)")
	f.StringVar(&o.Runtime.Provider, "provider", "cpu", "execution `provider` of ONNX Runtime")
	f.IntVar(&o.Batch, "batch", 0, "crops in one run of a model (default: fits the machine)")
	f.IntVar(&o.Runtime.Threads, "threads", 0, "threads of one operator (default: all cores)")
}

func (o *evalOptions) validate(args []string) error {
	o.chooseTests()
	return errors.Join(
		noArguments(args), o.chooseRule(), o.chooseCohorts(), o.validateTests(), o.validateAuto(), o.validateEffect(),
		o.ijb.validate(o.flags, &o.IJB, o.asks(protocol.IJB)),
		allNamed("--model", o.Models), allNamed("--teacher", o.Teachers), allNamed("--embeddings", o.Embeddings), allNamed("--bin", o.bins),
		preprocessing(o.Preprocess),
		oneOf("--provider", o.Runtime.Provider, ort.Providers()...),
		notNegative("--batch", o.Batch), notNegative("--threads", o.Runtime.Threads),
	)
}

// chooseTests takes the lists and the sets that are given.
func (o *evalOptions) chooseTests() {
	for _, k := range protocol.Kinds() {
		for _, path := range *o.lists[k.Name] {
			o.Tests = append(o.Tests, eval.Test{Protocol: k, List: path})
		}
	}
	for _, path := range o.bins {
		o.Tests = append(o.Tests, eval.Test{Bin: path})
	}
}

// validateTests says what is missing to measure anything.
func (o *evalOptions) validateTests() error {
	if len(o.Tests) == 0 {
		var names []string
		for _, k := range protocol.Kinds() {
			names = append(names, "--"+k.Name)
		}
		return required(strings.Join(names, ", ")+" or --bin", "")
	}
	for _, k := range protocol.Kinds() {
		if err := allNamed("--"+k.Name, *o.lists[k.Name]); err != nil {
			return err
		}
	}
	listed := len(o.Tests) > len(o.bins)
	if listed && (len(o.Models)+len(o.Teachers) > 0 || len(o.Embeddings) == 0) {
		if err := required("--dataset", o.Dataset); err != nil {
			return err
		}
	}
	if !listed && o.Dataset != "" {
		return errors.New("--dataset has no say without --pairs: a .bin file has its own images")
	}
	return o.Validate()
}

// validateAuto refuses flags of a draw where nothing is drawn.
func (o *evalOptions) validateAuto() error {
	if !slices.Contains(*o.lists[protocol.Pairs.Name], eval.AutoList) {
		return misplaced(o.flags, "needs --pairs auto", "auto-pairs", "seed", "hard")
	}
	return notNegative("--auto-pairs", o.Auto.Pairs)
}

// asks says whether a protocol is asked for.
func (o *evalOptions) asks(k protocol.Kind) bool { return len(*o.lists[k.Name]) > 0 }

// validateEffect refuses flags that would change nothing in a report.
func (o *evalOptions) validateEffect() error {
	var errs []error
	if len(o.Models) == 0 {
		errs = append(errs, misplaced(o.flags, "needs --model", "cost", "preprocess", "output"))
	}
	pairs := o.asks(protocol.Pairs) || len(o.bins) > 0
	if !pairs {
		errs = append(errs, misplaced(o.flags, "needs --pairs or --bin", "cohort", "scores"))
	}
	if !pairs && !o.asks(protocol.IJB) {
		errs = append(errs, misplaced(o.flags, "needs --pairs, --bin or --ijb", "rule", "far-pick"))
		for _, far := range o.FAR {
			if o.flags.Changed("far") && far > protocol.LargestFAR {
				errs = append(errs, fmt.Errorf("--far %g needs --pairs, --bin or --ijb: of whole sets rates are told up to %g", far, protocol.LargestFAR))
			}
		}
	}
	return errors.Join(errs...)
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
	} else if o.noFlip && o.Flip {
		return errors.New("--flip and --no-flip contradict each other")
	}
	if o.noFlip {
		o.Flip = false
	}
	return nil
}

// chooseCohorts reads the columns that make groups.
func (o *evalOptions) chooseCohorts() error {
	for _, text := range o.cohorts {
		spec, err := cohort.Parse(text)
		if err != nil {
			return fmt.Errorf("--cohort: %w", err)
		}
		o.Cohorts = append(o.Cohorts, spec)
	}
	if o.ExcludeOverlap == "" {
		return misplaced(o.flags, "needs --exclude-overlap", "overlap-teacher")
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

func (o *evalOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Runtime.Library, o.Progress, o.Command = s.onnxruntime, s.progress(), s.given
	if program, err := os.Executable(); err == nil {
		o.CostCommand = []string{program, "peak-memory"}
	}
	if err := o.fillCaches(ctx); err != nil {
		return nil, err
	}
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
