// Command teacher measures precompute-teacher. `teacher make` draws crops and writes
// models; each other phase runs in a process of its own and prints one line of JSON;
// `teacher table` makes the Markdown table of such lines. bench/teacher.sh runs all of
// it, beside OpenCV and ONNX Runtime in Python.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"facepipe/bench/measure"
	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/teacher"
)

// settings are what the flags say.
type settings struct {
	dir     string
	crops   int
	seconds float64
	batch   int
	model   string
	data    string
	on      string
	ort.Options
}

func (s settings) modelPath() string {
	if filepath.Ext(s.model) == ".onnx" {
		return s.model
	}
	return filepath.Join(s.dir, s.model+".onnx")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "teacher:", err)
		os.Exit(1)
	}
}

var phases = map[string]func(settings) (measure.Result, error){
	"session":    bareSession,
	"precompute": precompute,
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
	f.StringVar(&s.dir, "dir", "", "`folder` for crops, models and datasets (required)")
	f.IntVar(&s.crops, "crops", 2000, "number of crops")
	f.Float64Var(&s.seconds, "seconds", 5, "how long a bare session runs")
	f.IntVar(&s.batch, "batch", 0, "crops in one run of the model (default: the program's)")
	f.StringVar(&s.model, "model", free, "model: free, r50, device, or an ONNX `file`")
	f.StringVar(&s.data, "data", "jpeg", "crops as `jpeg`, png or raw")
	f.StringVar(&s.on, "on", "", "what this runs on, where that is `less` than the machine")
	f.StringVar(&s.Provider, "provider", "", "execution `provider`")
	f.IntVar(&s.Threads, "threads", 0, "threads of one operator")
	f.StringVar(&s.Library, "onnxruntime", "", "ONNX Runtime `library`")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if s.dir == "" || s.crops < 1 {
		return errors.New("give --dir, and at least one crop")
	}
	if args[0] == "make" {
		return makeData(s)
	}
	phase, ok := phases[args[0]]
	if !ok {
		return fmt.Errorf("no phase %q", args[0])
	}
	memory := measure.WatchMemory()
	r, err := phase(s)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	name := filepath.Base(s.model)
	r.System, r.Version, r.Phase = "pipe", runtime.Version(), s.called(args[0], name)
	r.Rows, r.Threads = s.crops, cmp.Or(s.Threads, runtime.GOMAXPROCS(0))
	r.PeakMiB, r.Processor = memory.Peak(), measure.ProcessorSeconds()
	return r.Print(os.Stdout)
}

// called is what a phase is called among the results: "precompute MODEL DATA", "session MODEL",
// and what it ran on.
func (s settings) called(phase, model string) string {
	words := []string{phase, model}
	if phase != "session" {
		words = append(words, s.data)
	}
	if s.on != "" {
		words = append(words, s.on)
	}
	return strings.Join(words, " ")
}

// bareSession runs the model on one batch that stays where it is: what no pipeline can
// be faster than.
func bareSession(s settings) (measure.Result, error) {
	m, err := embed.Open(context.Background(), s.modelPath(), embed.Options{Batch: s.batch, Runtime: s.Options})
	if err != nil {
		return measure.Result{}, err
	}
	defer m.Close()
	rate, err := m.Rate(m.Batch(), time.Duration(s.seconds*float64(time.Second)))
	return measure.Result{Seconds: 1, Operations: int(rate + 0.5)}, err
}

// precompute embeds all crops into an empty cache.
func precompute(s settings) (measure.Result, error) {
	dataset := filepath.Join(s.dir, s.data+".ds")
	if err := os.RemoveAll(filepath.Join(dataset, "teachers")); err != nil {
		return measure.Result{}, err
	}
	summary, err := teacher.Precompute(context.Background(), teacher.Options{
		Dataset: dataset, Model: s.modelPath(), Batch: s.batch, Runtime: s.Options, NoSelfTest: true, MaxRejectRate: 1,
	})
	if err == nil && summary.Computed != s.crops {
		err = fmt.Errorf("%d of %d crops were embedded", summary.Computed, s.crops)
	}
	t := summary.Stages
	return measure.Result{Operations: summary.Computed, Seconds: float64(summary.Computed) / summary.ImagesPerSecond, Also: map[string]float64{
		"read": t.Read, "decode": t.Decode, "normalise": t.Normalise, "infer": t.Infer, "wait": t.Wait, "write": t.Write, "commit": t.Commit,
	}}, err
}
