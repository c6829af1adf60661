// Command scale measures whether the whole way, from a RecordIO file to a checked cache,
// costs the same for each of many crops, and how much memory it takes. `scale make` makes
// the file and a teacher that costs next to nothing; each other phase runs in a process of
// its own and prints one line of JSON; `scale table` makes the Markdown table of such
// lines. bench/scale.sh runs all of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"facepipe/bench/measure"
	"facepipe/ingest"
	"facepipe/internal/ort"
	"facepipe/store/check"
	"facepipe/teacher"
)

// settings are what the flags say.
type settings struct {
	dir     string
	rows    int
	runtime string
}

func (s settings) dataset() string { return filepath.Join(s.dir, "faces.ds") }
func (s settings) model() string   { return filepath.Join(s.dir, "pool.onnx") }

var phases = map[string]func(context.Context, settings) error{
	"ingest":     ingestAll,
	"precompute": precompute,
	"check":      checkDataset,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("name a phase, make or table")
	}
	if args[0] == "table" {
		return printTable(os.Stdin, os.Stdout)
	}
	var s settings
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", "", "`folder` for everything (required)")
	f.IntVar(&s.rows, "rows", 10_000, "number of crops")
	f.StringVar(&s.runtime, "onnxruntime", "", "ONNX Runtime `library`")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if s.dir == "" || s.rows < rowsAnPerson {
		return fmt.Errorf("give --dir, and at least %d rows", rowsAnPerson)
	}
	if args[0] == "make" {
		return makeData(s)
	}
	phase, ok := phases[args[0]]
	if !ok {
		return fmt.Errorf("no phase %q", args[0])
	}
	memory, begun := measure.WatchMemory(), time.Now()
	if err := phase(context.Background(), s); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return measure.Result{
		System: "pipe", Version: runtime.Version(), Phase: args[0], Rows: s.rows, Operations: s.rows,
		Threads: runtime.NumCPU(), Seconds: time.Since(begun).Seconds(), Processor: measure.ProcessorSeconds(), PeakMiB: memory.Peak(),
	}.Print(os.Stdout)
}

func ingestAll(ctx context.Context, s settings) error {
	if err := os.RemoveAll(s.dataset()); err != nil {
		return err
	}
	summary, err := ingest.Run(ctx, ingest.Options{Sources: []string{"recordio=" + filepath.Join(s.dir, "train.rec")}, Out: s.dataset()})
	if err == nil && summary.Written != s.rows {
		err = fmt.Errorf("%d of %d crops were written", summary.Written, s.rows)
	}
	return err
}

func precompute(ctx context.Context, s settings) error {
	if err := os.RemoveAll(filepath.Join(s.dataset(), "teachers")); err != nil {
		return err
	}
	summary, err := teacher.Precompute(ctx, teacher.Options{Dataset: s.dataset(), Model: s.model(), Preprocess: "arcface", Runtime: ort.Options{Library: s.runtime}})
	if err == nil && summary.Computed != s.rows {
		err = fmt.Errorf("%d of %d crops were embedded", summary.Computed, s.rows)
	}
	return err
}

func checkDataset(ctx context.Context, s settings) error {
	report, err := check.Run(ctx, s.dataset(), check.Options{ReadData: true})
	if err == nil && !report.OK {
		err = fmt.Errorf("%+v", report.Problems)
	}
	return err
}
