// Command ingest measures how fast photographs become a dataset. `ingest make` draws
// the photographs; each other phase runs in a process of its own and prints one line of
// JSON; `ingest table` makes the Markdown table of such lines. bench/ingest.sh runs all
// of it, beside OpenCV in Python.
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
)

// settings are what the flags say.
type settings struct {
	dir      string
	photos   int
	threads  int
	detector string
	runtime  string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	phases := map[string]func(settings) (measure.Result, error){
		"hash-photos":  hash("photos/images"),
		"hash-aligned": hash("aligned"),
		"aligned":      into(func(s settings, o *ingest.Options) { o.Sources = []string{"folder=" + filepath.Join(s.dir, "aligned")} }),
		"warp-png":     into(withLandmarks),
		"warp-raw":     into(func(s settings, o *ingest.Options) { withLandmarks(s, o); o.Store = ingest.StoreRaw }),
		"detector":     detectAll,
		"detect":       into(withDetector),
	}
	if len(args) == 0 {
		return errors.New("name a phase, make or table")
	}
	if args[0] == "table" {
		return printTable(os.Stdin, os.Stdout)
	}
	var s settings
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", "", "`folder` for photographs and datasets (required)")
	f.IntVar(&s.photos, "photos", 2000, "number of photographs")
	f.IntVar(&s.threads, "threads", runtime.NumCPU(), "photographs at a time")
	f.StringVar(&s.detector, "detector", "", "detector, such as scrfd=FILE.onnx")
	f.StringVar(&s.runtime, "onnxruntime", "", "ONNX Runtime `library`")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if s.dir == "" || s.photos < 1 || s.threads < 1 {
		return errors.New("give --dir, and at least one photograph and thread")
	}
	if args[0] == "make" {
		return makePhotos(s)
	}
	phase, ok := phases[args[0]]
	if !ok {
		return fmt.Errorf("no phase %q", args[0])
	}
	runtime.GOMAXPROCS(s.threads)
	memory := measure.WatchMemory()
	r, err := phase(s)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	r.System, r.Version, r.Phase = "pipe", runtime.Version(), args[0]
	r.Rows, r.Threads = s.photos, s.threads
	r.PeakMiB, r.Processor = memory.Peak(), measure.ProcessorSeconds()
	return r.Print(os.Stdout)
}

func withLandmarks(s settings, o *ingest.Options) {
	o.Sources = []string{"folder=" + filepath.Join(s.dir, "photos", "images")}
	o.Landmarks = filepath.Join(s.dir, "photos", "landmarks.txt")
}

func withDetector(s settings, o *ingest.Options) {
	o.Sources = []string{"folder=" + filepath.Join(s.dir, "photos", "images")}
	o.Detector, o.ONNXRuntime = s.detector, s.runtime
}

// into measures an ingest into a new dataset, with everything that makes it durable,
// and the index.
func into(set func(settings, *ingest.Options)) func(settings) (measure.Result, error) {
	return func(s settings) (measure.Result, error) {
		o := ingest.Options{Out: filepath.Join(s.dir, "out.ds"), Workers: s.threads, MaxRejectRate: 0.05}
		set(s, &o)
		if err := os.RemoveAll(o.Out); err != nil {
			return measure.Result{}, err
		}
		begun := time.Now()
		summary, err := ingest.Run(context.Background(), o)
		if err == nil && summary.Written < s.photos*95/100 {
			err = fmt.Errorf("%d of %d photographs became crops", summary.Written, s.photos)
		}
		return measure.Result{Seconds: time.Since(begun).Seconds(), Operations: summary.Seen}, err
	}
}
