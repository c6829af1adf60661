package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/progress"
	"facepipe/student/export"
	"facepipe/student/net"
)

type netsOptions struct {
	size      net.Config
	measure   bool // or fail
	noMeasure bool
}

// netRow is a network in numbers.
type netRow struct {
	Name       string `json:"name"`
	Parameters int    `json:"parameters"`
	// MACs are multiplications of a weight and a value for one crop.
	MACs int64 `json:"macs"`
	Dim  int   `json:"dim"`
	// Milliseconds that a crop takes on one thread; 0 if that was not measured.
	Milliseconds float64 `json:"milliseconds,omitempty"`
	About        string  `json:"about"`
}

func (o *netsOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "nets",
		Short: "List the networks that can be trained, with their cost",
		Long: `Nets lists what 'pipe distill --student' takes: trained parameters, multiplications
for one 112x112 crop, the length of the embedding, and the time that a crop takes. What is
multiplied is a weight by a value: products of tokens in attention are not counted.

For the latter each is exported with random weights and run on one thread of this
machine's processor by ONNX Runtime, a crop at a time, which takes half a minute for all.
Where there is no ONNX Runtime the reason is said instead.`,
		Example: `  pipe nets
  pipe nets --no-measure
  pipe nets --width 0.5 --dim 128 --json`,
	}
}

func (o *netsOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.noMeasure, "no-measure", false, "do not measure how long a crop takes here")
	f.BoolVar(&o.measure, "measure", false, "fail where that cannot be measured")
	f.IntVar(&o.size.Dim, "dim", 0, "length of the embedding (default: the network's own, 512)")
	f.Float64Var(&o.size.Width, "width", 0, "`factor` on the channels of every layer (default 1)")
}

func (o *netsOptions) validate(args []string) error {
	if o.measure && o.noMeasure {
		return errors.New("--measure and --no-measure exclude each other")
	}
	return noArguments(args)
}

// netList is the summary.
type netList struct {
	Networks []netRow `json:"networks"`
	// NotMeasured is why latencies are not known, if they were asked for.
	NotMeasured string `json:"not_measured,omitempty"`
}

func (o *netsOptions) run(ctx context.Context, s *session) (*result, error) {
	var list netList
	names := net.Architectures()
	var bar *progress.Bar
	if !o.noMeasure {
		bar = progress.New(s.progress(), "measure", int64(len(names)))
		defer bar.Finish()
	}
	for _, name := range names {
		n, err := net.New(name, o.size)
		if err != nil {
			return nil, usagef("%w", err)
		}
		row := netRow{Name: name, Parameters: n.Parameters(), MACs: n.MACs(), Dim: n.Dim, About: net.About(name)}
		if !o.noMeasure && list.NotMeasured == "" {
			seconds, err := export.Latency(n, s.onnxruntime)
			switch {
			case err != nil && o.measure:
				return nil, err
			case err != nil:
				list.NotMeasured = err.Error()
			}
			row.Milliseconds = 1000 * seconds
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		bar.Add(1)
		list.Networks = append(list.Networks, row)
	}
	slices.SortFunc(list.Networks, func(a, b netRow) int { return cmp.Compare(a.MACs, b.MACs) })
	return &result{list, func(w io.Writer) { printNets(w, list) }}, nil
}

func printNets(w io.Writer, list netList) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tPARAMETERS\tMACS\tDIM\tMS A CROP\tSOURCE")
	for _, r := range list.Networks {
		latency := "-"
		if r.Milliseconds > 0 {
			latency = fmt.Sprintf("%.1f", r.Milliseconds)
		}
		fmt.Fprintf(table, "%s\t%.2f M\t%.2f G\t%d\t%s\t%s\n", r.Name, float64(r.Parameters)/1e6, float64(r.MACs)/1e9, r.Dim, latency, r.About)
	}
	table.Flush() // an error is remembered by w
	if list.NotMeasured != "" {
		fmt.Fprintf(w, "not measured: %s\n", list.NotMeasured)
	}
}
