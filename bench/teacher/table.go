package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"facepipe/bench/measure"
)

// oneCore is what bench/teacher.sh says that a measurement ran on if it had one core only.
const oneCore = "one core"

// printTable makes Markdown of results: each model beside its limit and beside Python,
// and where the time went.
func printTable(r io.Reader, w io.Writer) error {
	all, err := measure.Read(r)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d threads; crops in the page cache; commits included; medians of %d rounds; %s", all[0].Threads,
		len(all.Of(all[0].System, all[0].Phase, all[0].Rows)), all[0].Version)
	for _, r := range all {
		if r.System != "pipe" {
			fmt.Fprintf(w, ", %s", r.Version)
			break
		}
	}
	fmt.Fprint(w, ".\n\n")
	table := measure.Table{{"precompute-teacher", "crops/s", "times one core", "bare session", "of it", "Python", "times it", "peak MiB", "µs a crop: decode", "normalise", "write"}}
	for _, phase := range phasesOf(all) {
		runs := all.Of("pipe", phase, 0)
		words := strings.Fields(phase) // precompute MODEL DATA, and what it ran on
		on := strings.Join(words[3:], " ")
		rate, python := runs.Rate(), all.Of("python", phase, 0).Rate()
		bare := all.Of("pipe", strings.TrimSpace("session "+words[1]+" "+on), 0).Rate()
		one := math.NaN()
		if on == "" {
			one = all.Of("pipe", phase+" "+oneCore, 0).Rate()
		}
		each := func(stage string) string {
			return measure.Number(1e6 * runs.Median(func(r measure.Result) float64 { return r.Also[stage] / float64(r.Operations) }))
		}
		table = append(table, []string{
			strings.TrimSuffix(words[1]+", "+words[2]+", "+on, ", "), measure.Number(rate), ratio(rate, one),
			measure.Number(bare), ratio(rate, bare), measure.Number(python), ratio(rate, python),
			measure.Number(runs.Median(func(r measure.Result) float64 { return r.PeakMiB })), each("decode"), each("normalise"), each("write"),
		})
	}
	return table.Print(w)
}

func ratio(a, b float64) string {
	if math.IsNaN(b) {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}

// phasesOf are the phases of precomputing, in the order in which they were measured.
func phasesOf(all measure.Results) []string {
	var phases []string
	for _, r := range all {
		if r.System == "pipe" && strings.HasPrefix(r.Phase, "precompute ") && !slices.Contains(phases, r.Phase) {
			phases = append(phases, r.Phase)
		}
	}
	return phases
}
