package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"facepipe/bench/measure"
)

// printTable makes Markdown of results: a table for each student and batch, with every way
// of training it and how many times as fast the fastest of pipe's is.
func printTable(r io.Reader, w io.Writer) error {
	all, err := measure.Read(r)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no results")
	}
	fmt.Fprintf(w, "%d threads; decoding of the crops included; medians of %d rounds.\n", all[0].Threads, len(all.Of(all[0].System, all[0].Phase, 0)))
	for _, phase := range names(all, func(r measure.Result) string { return r.Phase }) {
		var some measure.Results
		for _, r := range all {
			if r.Phase == phase {
				some = append(some, r)
			}
		}
		table := measure.Table{{phase, "images/s", "pipe's best is", "of it waiting for data, %", "peak MiB"}}
		systems := names(some, func(r measure.Result) string { return r.System })
		best := 0.0
		for _, system := range systems {
			if strings.HasPrefix(system, "pipe ") {
				best = max(best, some.Of(system, phase, 0).Rate())
			}
		}
		for _, system := range systems {
			runs := some.Of(system, phase, 0)
			table = append(table, []string{
				system, measure.Number(runs.Rate()), fmt.Sprintf("%.2f×", best/runs.Rate()), measure.Number(runs.Median(waiting)),
				measure.Number(runs.Median(func(r measure.Result) float64 { return r.PeakMiB })),
			})
		}
		fmt.Fprintln(w)
		if err := table.Print(w); err != nil {
			return err
		}
	}
	return nil
}

// waiting is the share of the time, in per cent, in which steps waited for their crops; NaN
// where that was not measured.
func waiting(r measure.Result) float64 {
	wait, measured := r.Also[waitKey]
	if !measured {
		return math.NaN()
	}
	return 100 * wait / r.Seconds
}

// names are what results are called, in the order in which they were measured.
func names(all measure.Results, name func(measure.Result) string) []string {
	var found []string
	for _, r := range all {
		if !slices.Contains(found, name(r)) {
			found = append(found, name(r))
		}
	}
	return found
}
