package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"facepipe/bench/measure"
)

// printTable makes Markdown of results: a table for each student and batch, with every way
// of training it and how many times as fast the fastest of pipe's is; and, where there were
// several batches, a table for each student with every way at its best one.
func printTable(r io.Reader, w io.Writer) error {
	all, err := measure.Read(r)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d threads; decoding of the crops included; medians of %d rounds.\n", all[0].Threads, len(all.Of(all[0].System, all[0].Phase, 0)))
	for _, phase := range names(all, phaseOf) {
		if err := compare(w, all, phase, []string{phase}); err != nil {
			return err
		}
	}
	for _, student := range names(all, studentOf) {
		var phases []string
		for _, phase := range names(all, phaseOf) {
			if studentOf(measure.Result{Phase: phase}) == student {
				phases = append(phases, phase)
			}
		}
		if len(phases) == 1 {
			continue
		}
		if err := compare(w, all, student+", each at its best batch", phases); err != nil {
			return err
		}
	}
	return nil
}

// compare prints a table of all systems, each in the phase in which it is fastest.
func compare(w io.Writer, all measure.Results, title string, phases []string) error {
	fastest := func(system string) measure.Results {
		return slices.MaxFunc(inPhases(all, system, phases), func(a, b measure.Results) int { return cmp.Compare(a.Rate(), b.Rate()) })
	}
	systems := slices.DeleteFunc(names(all, func(r measure.Result) string { return r.System }),
		func(system string) bool { return len(inPhases(all, system, phases)) == 0 })
	best := 0.0
	for _, system := range systems {
		if strings.HasPrefix(system, "pipe ") {
			best = max(best, fastest(system).Rate())
		}
	}
	table := measure.Table{{title, "images/s", "pipe's best is", "of it waiting for data, %", "peak MiB"}}
	for _, system := range systems {
		runs := fastest(system)
		if len(phases) > 1 {
			system = fmt.Sprintf("%s, %d", system, runs[0].Rows)
		}
		table = append(table, []string{
			system, measure.Number(runs.Rate()), fmt.Sprintf("%.2f×", best/runs.Rate()), measure.Number(runs.Median(waiting)),
			measure.Number(runs.Median(func(r measure.Result) float64 { return r.PeakMiB })),
		})
	}
	fmt.Fprintln(w)
	return table.Print(w)
}

// inPhases are the results of a system, phase by phase, without phases that have none.
func inPhases(all measure.Results, system string, phases []string) []measure.Results {
	var some []measure.Results
	for _, phase := range phases {
		if runs := all.Of(system, phase, 0); len(runs) > 0 {
			some = append(some, runs)
		}
	}
	return some
}

func phaseOf(r measure.Result) string { return r.Phase }

// studentOf is the network's name: phases are called "NETWORK, batch N".
func studentOf(r measure.Result) string {
	name, _, _ := strings.Cut(r.Phase, ", ")
	return name
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
