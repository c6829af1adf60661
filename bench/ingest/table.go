package main

import (
	"fmt"
	"io"
	"math"

	"facepipe/bench/measure"
)

// comparisons are what is measured, beside what.
var comparisons = []struct {
	name          string
	phase         string
	system, other string // of what it is measured against
	against       string
}{
	{"aligned 112×112 JPEG into a dataset", "aligned", "pipe", "hash-aligned", "only reading and hashing them"},
	{"250×250 JPEG with landmarks, crops as PNG", "warp-png", "opencv", "warp", "OpenCV in Python: decode and warpAffine, nothing stored"},
	{"250×250 JPEG with landmarks, crops raw", "warp-raw", "opencv", "warp", "the same"},
	{"250×250 JPEG with landmarks, crops as PNG", "warp-png", "opencv", "warp-png", "OpenCV in Python: the same, crops encoded as PNG"},
	{"250×250 JPEG, faces detected", "detect", "pipe", "detector", "the detector alone, in a loop"},
}

// printTable makes Markdown of results.
func printTable(r io.Reader, w io.Writer) error {
	all, err := measure.Read(r)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s photographs, %d at a time, in the page cache; commits and the index included; medians of %d rounds; %s",
		measure.Number(float64(all[0].Rows)), all[0].Threads, len(all.Of("pipe", "aligned", 0)), all[0].Version)
	if python := all.Of("opencv", "warp", 0); len(python) > 0 {
		fmt.Fprintf(w, ", %s", python[0].Version)
	}
	fmt.Fprint(w, ".\n\n")
	table := measure.Table{{"", "images/s", "beside", "images/s", "ratio"}}
	for _, c := range comparisons {
		rate, other := all.Of("pipe", c.phase, 0).Rate(), all.Of(c.system, c.other, 0).Rate()
		if math.IsNaN(rate) || math.IsNaN(other) {
			continue
		}
		table = append(table, []string{c.name, measure.Number(rate), c.against, measure.Number(other), fmt.Sprintf("%.2f", rate/other)})
	}
	return table.Print(w)
}
