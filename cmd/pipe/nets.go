package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/student"
	"facepipe/student/net"
)

type netsOptions struct {
	size    net.Config
	measure bool
}

// netRow is a network in numbers.
type netRow struct {
	Name       string `json:"name"`
	Parameters int    `json:"parameters"`
	// MACs are multiplications of a weight and a value for one crop.
	MACs int64 `json:"macs"`
	Dim  int   `json:"dim"`
	// Milliseconds that a crop takes on one thread, 0 if that was not measured.
	Milliseconds float64 `json:"milliseconds,omitempty"`
	About        string  `json:"about"`
}

func (o *netsOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "nets",
		Short: "List the networks that can be trained, with their cost",
		Long: `Nets lists what 'pipe distill --student' takes: trained parameters, multiplications
for one 112x112 crop, and the length of the embedding.

With --measure each is exported with random weights and run on one thread of this
machine's processor by ONNX Runtime, a crop at a time.`,
		Example: `  pipe nets
  pipe nets --measure
  pipe nets --width 0.5 --dim 128 --json`,
	}
}

func (o *netsOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.measure, "measure", false, "measure how long a crop takes here")
	f.IntVar(&o.size.Dim, "dim", 0, "length of the embedding (default: the network's own, 512)")
	f.Float64Var(&o.size.Width, "width", 0, "`factor` on the channels of every layer (default 1)")
}

func (o *netsOptions) validate(args []string) error { return noArguments(args) }

func (o *netsOptions) run(ctx context.Context, s *session) (*result, error) {
	var rows []netRow
	for _, name := range net.Architectures() {
		n, err := net.New(name, o.size)
		if err != nil {
			return nil, usagef("%w", err)
		}
		row := netRow{Name: name, Parameters: n.Parameters(), MACs: n.MACs(), Dim: n.Dim, About: net.About(name)}
		if o.measure {
			seconds, err := student.Latency(n, s.onnxruntime)
			if err != nil {
				return nil, err
			}
			row.Milliseconds = 1000 * seconds
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b netRow) int { return cmp.Compare(a.MACs, b.MACs) })
	return &result{map[string]any{"networks": rows}, func(w io.Writer) { printNets(w, rows) }}, nil
}

func printNets(w io.Writer, rows []netRow) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tPARAMETERS\tMACS\tDIM\tMS A CROP\tSOURCE")
	for _, r := range rows {
		latency := "-"
		if r.Milliseconds > 0 {
			latency = fmt.Sprintf("%.1f", r.Milliseconds)
		}
		fmt.Fprintf(table, "%s\t%.2f M\t%.2f G\t%d\t%s\t%s\n", r.Name, float64(r.Parameters)/1e6, float64(r.MACs)/1e9, r.Dim, latency, r.About)
	}
	table.Flush() // an error is remembered by w
}
