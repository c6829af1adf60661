// Command store measures the dataset: what it takes to write, index, open, look up,
// read and check many rows, in time and in memory. Every phase runs in a process of
// its own and prints one line of JSON; `store table` makes the Markdown table of such
// lines. bench/store.sh runs all of it, beside other containers of the same rows.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"

	"facepipe/bench/measure"
)

// settings are what the flags say.
type settings struct {
	dir     string
	rows    int
	threads int
	seconds float64
	profile string
}

// phase is something to measure.
type phase struct {
	name string
	run  func(settings) (measure.Result, error)
}

// phases are in the order in which they need each other.
var phases = []phase{
	{"export", exportRows},
	{"write", writeCrops},
	{"embed", writeEmbeddings},
	{"index", buildIndex},
	{"open", openDataset},
	{"lookup-id", lookUpIDs},
	{"read-id", readByID},
	{"read-row", readByRow},
	{"scan", scanFiles},
	{"sequential", readInOrder},
	{"check", checkDataset},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("name a phase: " + phaseNames() + ", or table")
	}
	if args[0] == "table" {
		return printTable(os.Stdin, os.Stdout)
	}
	i := slices.IndexFunc(phases, func(p phase) bool { return p.name == args[0] })
	if i < 0 {
		return fmt.Errorf("no phase %q; there are %s", args[0], phaseNames())
	}
	var s settings
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", "", "`folder` for rows and dataset (required)")
	f.IntVar(&s.rows, "rows", 50_000, "number of rows")
	f.IntVar(&s.threads, "threads", runtime.NumCPU(), "goroutines that read")
	f.Float64Var(&s.seconds, "seconds", 2, "how long to read at random")
	f.StringVar(&s.profile, "profile", "", "write a CPU profile to this `file`")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if s.dir == "" || s.rows < 1 || s.threads < 1 {
		return errors.New("give --dir, and at least one row and thread")
	}
	stop, err := startProfile(s.profile)
	if err != nil {
		return err
	}
	memory, before := measure.WatchMemory(), measure.ProcessorSeconds()
	r, err := phases[i].run(s)
	stop()
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	r.System, r.Version, r.Phase, r.Rows = "pipe", runtime.Version(), args[0], s.rows
	r.PeakMiB, r.Processor = memory.Peak(), measure.ProcessorSeconds()-before
	return r.Print(os.Stdout)
}

// startProfile profiles the process until stop is called, if path names a file.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

func phaseNames() string {
	var names []string
	for _, p := range phases {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}
