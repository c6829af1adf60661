package main

import (
	"fmt"
	"io"
	"slices"

	"facepipe/bench/measure"
)

// printTable makes Markdown of results: what a crop costs at every number of them.
func printTable(r io.Reader, w io.Writer) error {
	all, err := measure.Read(r)
	if err != nil {
		return err
	}
	var sizes []int
	for _, r := range all {
		if !slices.Contains(sizes, r.Rows) {
			sizes = append(sizes, r.Rows)
		}
	}
	slices.Sort(sizes)
	fmt.Fprintf(w, "Crops are 112×112 JPEGs in a RecordIO file, the teacher averages tiles (588-d, fp16); %d threads; in the page cache; "+
		"medians of %d rounds; %s.\n\n", all[0].Threads, len(all.Of("pipe", "ingest", sizes[0])), all[0].Version)
	table := measure.Table{{""}}
	for _, n := range sizes {
		table[0] = append(table[0], measure.Number(float64(n))+" crops")
	}
	for _, line := range []struct {
		name, phase string
		figure      func(measure.Result) float64
	}{
		{"ingest, crops/s", "ingest", rate}, {"ingest, µs of processor a crop", "ingest", cost}, {"ingest, peak MiB", "ingest", peak},
		{"precompute-teacher, crops/s", "precompute", rate}, {"precompute-teacher, µs of processor a crop", "precompute", cost},
		{"precompute-teacher, peak MiB", "precompute", peak},
		{"check --read-data, crops/s", "check", rate}, {"check --read-data, µs of processor a crop", "check", cost},
		{"check --read-data, peak MiB", "check", peak},
	} {
		cells := []string{line.name}
		for _, n := range sizes {
			cells = append(cells, measure.Number(all.Of("pipe", line.phase, n).Median(line.figure)))
		}
		table = append(table, cells)
	}
	return table.Print(w)
}

func rate(r measure.Result) float64 { return float64(r.Operations) / r.Seconds }
func cost(r measure.Result) float64 { return 1e6 * r.Processor / float64(r.Operations) }
func peak(r measure.Result) float64 { return r.PeakMiB }
