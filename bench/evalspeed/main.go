// Command evalspeed measures the protocols of package identification: on data of IJB-C's size, and
// on all pairs of a set beside the product of matrices that it is. Each phase runs in a process of
// its own and prints one line of JSON; `evalspeed table` makes the Markdown table of such lines.
// bench/evalspeed.sh runs all of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"facepipe/bench/measure"
)

// settings are what the flags say.
type settings struct {
	dir  string
	rows int
}

var phases = map[string]func(context.Context, settings) (measure.Result, error){
	"make":    makeData,
	"1:1":     verify,
	"1:N":     identify,
	"pairs":   allPairs,
	"product": multiply,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "evalspeed:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("name a phase: make, 1:1, 1:N, pairs, product or table")
	}
	if args[0] == "table" {
		return printTable(os.Stdin, os.Stdout)
	}
	var s settings
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", "", "`folder` for everything (required)")
	f.IntVar(&s.rows, "rows", 50_000, "number of crops of all pairs")
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
	r.System, r.Version, r.Phase, r.Threads = "pipe", runtime.Version(), args[0], runtime.GOMAXPROCS(0)
	if r.Seconds == 0 {
		r.Seconds, r.Processor = time.Since(begun).Seconds(), measure.ProcessorSeconds()-processor
	}
	r.PeakMiB = memory.Peak()
	return r.Print(os.Stdout)
}

// printTable makes Markdown of results.
func printTable(in io.Reader, out io.Writer) error {
	all, err := measure.Read(in)
	if err != nil {
		return err
	}
	t := measure.Table{{"", "comparisons", "seconds", "of processors", "peak MiB", "numpy, seconds", "of processors", "peak MiB", "ratio of processors"}}
	for _, phase := range []string{"1:1", "1:N", "pairs", "product"} {
		mine, numpy := all.Of("pipe", phase, 0), all.Of("numpy", phase, 0)
		if len(mine) == 0 {
			continue
		}
		row := append([]string{phase, measure.Number(float64(mine[0].Operations))}, figures(mine)...)
		row = append(row, figures(numpy)...)
		t = append(t, append(row, measure.Number(numpy.Median(processor)/mine.Median(processor))))
	}
	return t.Print(out)
}

func processor(r measure.Result) float64 { return r.Processor }

// figures are the medians of a system's figures, "" without any.
func figures(all measure.Results) []string {
	return []string{
		measure.Number(all.Median(func(r measure.Result) float64 { return r.Seconds })), measure.Number(all.Median(processor)),
		measure.Number(all.Median(func(r measure.Result) float64 { return r.PeakMiB })),
	}
}
