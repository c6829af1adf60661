// Command train measures distill. `train make` draws crops and gives them a cache of
// embeddings; `train distill` trains some steps and prints one line of JSON; `train table`
// makes the Markdown table of such lines. bench/train.sh runs all of it, beside PyTorch.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"facepipe/bench/measure"
	"facepipe/student"
)

// settings are what the flags say.
type settings struct {
	dir   string
	crops int
	warm  int
	student.Options
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("name a phase: make, distill or table")
	}
	if args[0] == "table" {
		return printTable(os.Stdin, os.Stdout)
	}
	s := settings{Options: student.DefaultOptions()}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", "", "`folder` for crops and datasets (required)")
	f.IntVar(&s.crops, "crops", 1472, "number of crops")
	f.IntVar(&s.warm, "warm", 3, "steps before the first that counts")
	f.IntVar(&s.Batch, "batch", 64, "crops a step")
	f.StringVar(&s.Network, "student", s.Network, "network")
	f.StringVar(&s.Loss.Name, "loss", "cosine", "loss")
	f.StringVar(&s.Precision, "precision", s.Precision, "fp32 or bf16")
	f.StringVar(&s.Device, "device", s.Device, "cpu or cuda")
	f.StringVar(&s.Engine, "engine", "", "training engine `library`")
	f.IntVar(&s.Threads, "threads", 0, "threads of one operator")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	switch {
	case s.dir == "":
		return errors.New("give --dir")
	case args[0] == "make":
		return makeData(s)
	case args[0] != "distill":
		return fmt.Errorf("no phase %q", args[0])
	}
	r, err := distill(s)
	if err != nil {
		return err
	}
	return r.Print(os.Stdout)
}

// distill trains an epoch in an empty run folder. The first steps do not count.
func distill(s settings) (r measure.Result, err error) {
	out, err := os.MkdirTemp(s.dir, "run")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(out)) }()
	memory := measure.WatchMemory()
	o := s.Options
	o.Dataset, o.Teacher, o.Out = filepath.Join(s.dir, "faces.ds"), teacherName, out
	o.LR, o.WarmupEpochs, o.Schedule = 1e-3, 0, "constant"
	o.Epochs, o.LogEvery, o.CheckpointEvery = 1, 1, 1<<30
	summary, err := student.Distill(context.Background(), o)
	if err != nil {
		return r, err
	}
	peak := memory.Peak()
	begun, ended, last, err := clock(filepath.Join(out, "metrics.jsonl"), s.warm, summary.Steps)
	return measure.Result{
		System: fmt.Sprintf("pipe %s %s", o.Precision, o.Loss.Name), Version: fmt.Sprintf("%s, libtorch %s", runtime.Version(), summary.Torch),
		Phase: fmt.Sprintf("%s, batch %d", o.Network, o.Batch), Rows: o.Batch, Operations: (summary.Steps - s.warm) * o.Batch,
		Threads: runtime.GOMAXPROCS(0), Seconds: ended - begun, PeakMiB: peak, Also: map[string]float64{"loss": last},
	}, err
}

// clock is when the steps from and to were done, in seconds from the run's start, and the
// loss of the latter.
func clock(journal string, from, to int) (begun, ended, loss float64, err error) {
	f, err := os.Open(journal)
	if err != nil {
		return 0, 0, 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var line struct {
			Step          int
			Seconds, Loss float64
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return 0, 0, 0, err
		}
		switch line.Step {
		case from:
			begun = line.Seconds
		case to:
			ended, loss = line.Seconds, line.Loss
		}
	}
	if begun == 0 || ended == 0 {
		return 0, 0, 0, fmt.Errorf("%s: steps %d and %d are not both in it", journal, from, to)
	}
	return begun, ended, loss, lines.Err()
}
