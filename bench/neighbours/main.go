// Command neighbours measures how long it takes to find the nearest crops of every crop, beside
// the product of matrices that comparing all with all is. Each phase runs in a process of its own
// and prints one line of JSON; `neighbours table` makes the Markdown table of such lines.
// bench/neighbours.sh runs all of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"facepipe/bench/measure"
	"facepipe/store/derived"
)

// settings are what the flags say.
type settings struct {
	dir       string
	rows, k   int
	exactUpTo int
}

func (s settings) dataset() string { return filepath.Join(s.dir, "faces.ds") }

var phases = map[string]func(context.Context, settings) (measure.Result, error){
	"make":    makeData,
	"find":    findNeighbours,
	"product": multiply,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "neighbours:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("name a phase: make, find, product or table")
	}
	if args[0] == "table" {
		return printTable(os.Stdin, os.Stdout)
	}
	var s settings
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", "", "`folder` for everything (required)")
	f.IntVar(&s.rows, "rows", 100_000, "number of crops")
	f.IntVar(&s.k, "k", derived.DefaultNeighbours, "number of neighbours")
	f.IntVar(&s.exactUpTo, "exact-up-to", derived.DefaultExactUpTo, "crops up to which all are compared")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if s.dir == "" || s.rows < 1 {
		return errors.New("give --dir, and at least one row")
	}
	phase, ok := phases[args[0]]
	if !ok {
		return fmt.Errorf("no phase %q", args[0])
	}
	memory, begun, processor := measure.WatchMemory(), time.Now(), measure.ProcessorSeconds()
	r, err := phase(context.Background(), s)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	r.System, r.Version, r.Phase, r.Rows, r.Threads = "pipe", runtime.Version(), args[0], s.rows, runtime.GOMAXPROCS(0)
	if r.Seconds == 0 {
		r.Seconds, r.Processor = time.Since(begun).Seconds(), measure.ProcessorSeconds()-processor
	}
	r.PeakMiB = memory.Peak()
	return r.Print(os.Stdout)
}

// findNeighbours is what `pipe teachers neighbours --rebuild` does.
func findNeighbours(ctx context.Context, s settings) (r measure.Result, err error) {
	found, err := derived.DeriveNeighbours(ctx, s.dataset(), teacherName, derived.NeighboursOptions{K: s.k, ExactUpTo: s.exactUpTo, Rebuild: true})
	exact := 0.0
	if found.Exact {
		exact = 1
	}
	return measure.Result{Operations: s.rows, Bytes: found.Bytes, Also: map[string]float64{
		"exact": exact, "recall": found.Recall, "lists": float64(found.Lists), "probes": float64(found.Probes),
	}}, err
}

// printTable makes Markdown of results.
func printTable(in io.Reader, out io.Writer) error {
	all, err := measure.Read(in)
	if err != nil {
		return err
	}
	t := measure.Table{{"crops", "found by", "recall", "seconds", "µs of processor a crop", "the product alone", "its rate, %", "peak MiB"}}
	seen := map[int]bool{}
	for _, r := range all {
		if r.Phase != "find" || seen[r.Rows] {
			continue
		}
		seen[r.Rows] = true
		t = append(t, tableRow(all, r))
	}
	return t.Print(out)
}

func tableRow(all measure.Results, r measure.Result) []string {
	found, product := all.Of("pipe", "find", r.Rows), all.Of("pipe", "product", r.Rows)
	micros := func(r measure.Result) float64 { return 1e6 * r.Processor / float64(r.Operations) }
	by := "comparing all"
	if r.Also["exact"] == 0 {
		by = fmt.Sprintf("%.0f of %.0f lists", r.Also["probes"], r.Also["lists"])
	}
	mine, bare := found.Median(micros), product.Median(micros)
	return []string{
		fmt.Sprint(r.Rows), by, fmt.Sprintf("%.4f", r.Also["recall"]),
		fmt.Sprintf("%.0f", found.Median(func(r measure.Result) float64 { return r.Seconds })),
		fmt.Sprintf("%.0f", mine), fmt.Sprintf("%.0f", bare), fmt.Sprintf("%.0f", 100*bare/mine),
		fmt.Sprintf("%.0f", found.Median(func(r measure.Result) float64 { return r.PeakMiB })),
	}
}
