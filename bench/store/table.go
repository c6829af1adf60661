package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"facepipe/bench/measure"
)

// printTable makes Markdown of results: pipe beside the others, and pipe by itself at
// every number of rows there is.
func printTable(r io.Reader, w io.Writer) error {
	all, err := measure.Read(r)
	if err != nil {
		return err
	}
	var sizes []int
	for _, r := range all {
		if r.Phase == "write" && r.System == "pipe" && !slices.Contains(sizes, r.Rows) {
			sizes = append(sizes, r.Rows)
		}
	}
	slices.Sort(sizes)
	if len(sizes) == 0 {
		return fmt.Errorf("no results of writing")
	}
	most := sizes[len(sizes)-1]
	if err := describe(all, most, w); err != nil {
		return err
	}
	if t := beside(all, most); len(t[0]) > 2 {
		if err := t.Print(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return alone(all, sizes).Print(w)
}

// describe says what was measured.
func describe(all measure.Results, rows int, w io.Writer) error {
	var versions []string
	threads, rounds := 0, len(all.Of("pipe", "write", rows))
	for _, r := range all {
		if v := r.System + " (" + r.Version + ")"; !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
		threads = max(threads, r.Threads)
	}
	_, err := fmt.Fprintf(w, "%s rows of a %d-byte crop and a %d-d fp16 embedding; %d threads where reads are random, one where in order; "+
		"all files in the page cache; medians of %d rounds; %s.\n\n",
		measure.Number(float64(rows)), imageBytes, dim, threads, rounds, strings.Join(versions, ", "))
	return err
}

// beside are all systems at one number of rows.
func beside(all measure.Results, rows int) measure.Table {
	systems := []string{"pipe"}
	for _, r := range all {
		if !slices.Contains(systems, r.System) {
			systems = append(systems, r.System)
		}
	}
	table := measure.Table{append([]string{""}, systems...)}
	for _, line := range []struct {
		name   string
		figure func(system string) float64
	}{
		{"size, bytes a row", func(s string) float64 { return totalBytes(all, s, rows) / float64(rows) }},
		{"write, rows/s", func(s string) float64 { return float64(rows) / writeSeconds(all, s, rows) }},
		{"random read by id, rows/s", func(s string) float64 { return all.Of(s, "read-id", rows).Rate() }},
		{"random read by row, rows/s", func(s string) float64 { return all.Of(s, "read-row", rows).Rate() }},
		{"read in order, rows/s", func(s string) float64 { return all.Of(s, "sequential", rows).Rate() }},
	} {
		cells := []string{line.name, measure.Number(line.figure("pipe"))}
		for _, s := range systems[1:] {
			cells = append(cells, measure.Ratio(line.figure(s), line.figure("pipe")))
		}
		table = append(table, cells)
	}
	return table
}

// writeSeconds is what it takes to have all rows durable and ready to be looked up.
func writeSeconds(all measure.Results, system string, rows int) float64 {
	seconds := all.Of(system, "write", rows).Median(func(r measure.Result) float64 { return r.Seconds + r.Also["close_seconds"] })
	if system == "pipe" {
		seconds += all.Of(system, "embed", rows).Median(func(r measure.Result) float64 { return r.Seconds })
	}
	return seconds
}

func totalBytes(all measure.Results, system string, rows int) float64 {
	size := func(r measure.Result) float64 { return float64(r.Bytes) }
	bytes := all.Of(system, "write", rows).Median(size)
	if system == "pipe" {
		bytes += all.Of(system, "embed", rows).Median(size) + all.Of(system, "index", rows).Median(size)
	}
	return bytes
}

// alone are pipe's own figures at several numbers of rows.
func alone(all measure.Results, sizes []int) measure.Table {
	head := []string{"pipe"}
	for _, rows := range sizes {
		head = append(head, measure.Number(float64(rows))+" rows")
	}
	table := measure.Table{head}
	add := func(name string, figure func(rows int) float64) {
		cells := []string{name}
		for _, rows := range sizes {
			cells = append(cells, measure.Number(figure(rows)))
		}
		if slices.ContainsFunc(cells[1:], func(c string) bool { return c != "" }) {
			table = append(table, cells)
		}
	}
	seconds := func(r measure.Result) float64 { return r.Seconds }
	of := func(phase string, figure func(measure.Result) float64) func(int) float64 {
		return func(rows int) float64 { return all.Of("pipe", phase, rows).Median(figure) }
	}
	add("open, s", of("open", seconds))
	add("open and first look-up, s", of("open", func(r measure.Result) float64 { return r.Also["first_lookup_seconds"] }))
	add("build the index, s", of("index", seconds))
	add("look-ups by id, /s", func(rows int) float64 { return all.Of("pipe", "lookup-id", rows).Rate() })
	add("embeddings by id, /s", func(rows int) float64 { return all.Of("pipe", "read-id", rows).Rate() })
	add("embeddings by row, /s", func(rows int) float64 { return all.Of("pipe", "read-row", rows).Rate() })
	share := func(figure func(measure.Result) float64) func(rows int) float64 {
		return func(rows int) float64 {
			scan := all.Of("pipe", "scan", rows).Median(seconds)
			return math.Round(100 * scan / all.Of("pipe", "sequential", rows).Median(figure))
		}
	}
	add("read in order, % of a scan of the mapped files", share(seconds))
	add("the same, checksums verified before", share(func(r measure.Result) float64 { return r.Also["again_seconds"] }))
	for _, p := range []struct{ phase, name string }{{"write", "make and write crops, index"}, {"embed", "make and write embeddings"}, {"index", "build the index"}, {"check", "check all data"}} {
		add(p.name+", µs of processor a row", of(p.phase, func(r measure.Result) float64 { return 1e6 * r.Processor / float64(r.Rows) }))
		add(p.name+", peak MiB", of(p.phase, func(r measure.Result) float64 { return r.PeakMiB }))
	}
	return table
}
