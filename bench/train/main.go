// Command train measures distill. `train make` draws crops and gives them a cache of
// embeddings; `train distill` trains some steps and prints one line of JSON; `train agree`
// fails where a device's losses are not the processor's; `train flat` says how much memory
// each tenth of a run took, and fails where that grows; `train table` makes the Markdown table of what distill printed.
// bench/train.sh and bench/gpu.sh run all of it, beside PyTorch.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"facepipe/bench/measure"
	"facepipe/student"
)

// settings are what the flags say.
type settings struct {
	dir    string
	crops  int
	data   string
	warm   int
	within float64
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
		return errors.New("name a phase: make, distill, agree, flat or table")
	}
	if args[0] == "table" {
		return printTable(os.Stdin, os.Stdout)
	}
	s := settings{Options: student.DefaultOptions()}
	s.Epochs = 1
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", "", "`folder` for crops and datasets (required)")
	f.IntVar(&s.crops, "crops", 1472, "number of crops")
	f.StringVar(&s.data, "data", dataJPEG, "crops as `jpeg` or png")
	f.IntVar(&s.warm, "warm", 3, "steps before the first that counts")
	f.Float64Var(&s.within, "within", 0.01, "relative difference up to which two losses agree")
	f.IntVar(&s.Epochs, "epochs", s.Epochs, "how often all crops are seen")
	f.IntVar(&s.Batch, "batch", 64, "crops a step")
	f.StringVar(&s.Network, "student", s.Network, "network")
	f.StringVar(&s.Loss.Name, "loss", "cosine", "loss")
	f.StringVar(&s.Precision, "precision", s.Precision, "fp32 or bf16")
	f.StringVar(&s.Device, "device", s.Device, "cpu or cuda")
	f.StringVar(&s.CUDA.TF32, "tf32", s.CUDA.TF32, "on or off: TF32 on CUDA devices")
	f.StringVar(&s.Engine, "engine", "", "training engine `library`")
	f.IntVar(&s.Threads, "threads", 0, "threads of one operator")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if s.dir == "" {
		return errors.New("give --dir")
	}
	phase, ok := map[string]func(settings) error{"make": makeData, "distill": distill, "agree": agree, "flat": flat}[args[0]]
	if !ok {
		return fmt.Errorf("no phase %q", args[0])
	}
	return phase(s)
}

// distill measures the steps after the first few.
func distill(s settings) error {
	memory := measure.WatchMemory()
	steps, summary, err := train(s)
	if err != nil {
		return err
	}
	if len(steps) <= s.warm {
		return fmt.Errorf("%d steps, of which the first %d do not count", len(steps), s.warm)
	}
	first, last := steps[s.warm-1], steps[len(steps)-1]
	system := fmt.Sprintf("pipe %s %s", s.Precision, s.Loss.Name)
	if s.data == dataPNG {
		system += ", PNG crops"
	}
	return measure.Result{
		System:  system,
		Version: fmt.Sprintf("%s, libtorch %s", runtime.Version(), summary.Torch),
		Phase:   fmt.Sprintf("%s, batch %d", s.Network, s.Batch), Rows: s.Batch, Operations: (len(steps) - s.warm) * s.Batch,
		Threads: runtime.GOMAXPROCS(0), Seconds: last.Seconds - first.Seconds, PeakMiB: memory.Peak(),
		Also: map[string]float64{"loss": last.Loss, waitKey: last.Wait - first.Wait},
	}.Print(os.Stdout)
}

// flat prints the most memory in each tenth of a run, and fails where it grows.
func flat(s settings) error {
	memory := measure.WatchMemory()
	steps, _, err := train(s)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %s, %s, batch %d: MiB in each tenth of %d steps:", s.Network, s.Loss.Name, s.Precision, s.Batch, len(steps))
	peaks := memory.Peaks(10)
	for _, mib := range peaks {
		fmt.Printf(" %.0f", mib)
	}
	fmt.Println()
	return grows(peaks)
}

// grows is an error if the last peak of memory is well above that of the first third, by when what
// is kept for the steps to come is there.
func grows(peaks []float64) error {
	before, after := slices.Max(peaks[:(len(peaks)+2)/3]), peaks[len(peaks)-1]
	if after <= 1.05*before+32 {
		return nil
	}
	return fmt.Errorf("memory grows from %.0f to %.0f MiB", before, after)
}

// agree trains the same steps on the processor and on the device. It prints the largest
// relative difference of a loss, and fails where that is more than they may differ by:
// training magnifies rounding (docs/distributed.md), a wrong kernel differs by far more.
func agree(s settings) error {
	device := s.Device
	var losses [2][]step
	var err error
	for i, d := range []string{"cpu", device} {
		s.Device = d
		if losses[i], _, err = train(s); err != nil {
			return fmt.Errorf("on %s: %w", d, err)
		}
	}
	worst := 0.0
	for i, a := range losses[0] {
		worst = max(worst, math.Abs(losses[1][i].Loss-a.Loss)/math.Abs(a.Loss))
	}
	fmt.Printf("%s, %s, %s: %d losses on %s and on the processor differ by at most %.2g\n",
		s.Network, s.Loss.Name, s.Precision, len(losses[0]), device, worst)
	if !(worst <= s.within) {
		return fmt.Errorf("losses on %s and on the processor differ by %.2g, more than %g", device, worst, s.within)
	}
	return nil
}

// step is a line of a run's journal.
type step struct {
	Seconds, Loss float64
	Wait          float64 `json:"wait_seconds"`
}

// waitKey is the name of the wait in a result.
const waitKey = "wait_seconds"

// train trains an epoch in an empty run folder.
func train(s settings) (steps []step, summary student.Summary, err error) {
	out, err := os.MkdirTemp(s.dir, "run")
	if err != nil {
		return nil, summary, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(out)) }()
	o := s.Options
	o.Dataset, o.Teacher, o.Out = filepath.Join(s.dir, s.data+".ds"), teacherName, out
	o.LR, o.WarmupEpochs, o.Schedule = 1e-3, 0, "constant"
	o.LogEvery, o.CheckpointEvery = 1, 1_000_000_000 // none but the last
	if summary, err = student.Distill(context.Background(), o); err != nil {
		return nil, summary, err
	}
	steps, err = journal(filepath.Join(out, "metrics.jsonl"))
	return steps, summary, err
}

func journal(path string) ([]step, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var steps []step
	for lines := json.NewDecoder(f); lines.More(); {
		var s step
		if err := lines.Decode(&s); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		steps = append(steps, s)
	}
	return steps, nil
}
