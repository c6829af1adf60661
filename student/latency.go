package student

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/student/net"
	"facepipe/student/torch"
)

// Latency is how long ONNX Runtime takes to embed one crop with a network on one thread
// of the processor, in seconds: the median of some short runs, with weights at random.
//
// Errors: torch.ErrEngine, ort.ErrRuntime.
func Latency(n *net.Network, engine, onnxruntime string) (seconds float64, err error) {
	dir, err := os.MkdirTemp("", "pipe-latency-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, n.Name+".onnx")
	if err := exportRandom(n, engine, path); err != nil {
		return 0, fmt.Errorf("measure %s: %w", n.Name, err)
	}
	m, err := embed.Open(path, embed.Options{Batch: 1, Runtime: ort.Options{Provider: ort.CPU, Threads: 1, Library: onnxruntime}})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", n.Name, err)
	}
	defer m.Close()
	const runs = 9
	rates := make([]float64, runs)
	for i := range rates {
		if rates[i], err = m.Rate(1, time.Second/runs); err != nil {
			return 0, err
		}
	}
	slices.Sort(rates)
	return 1 / rates[runs/2], nil
}

// exportRandom writes a network as it is before training.
func exportRandom(n *net.Network, engine, path string) error {
	e, err := torch.Open(engine)
	if err != nil {
		return err
	}
	if err := n.Materialise(e, "cpu", 1); err != nil {
		return err
	}
	defer n.Close()
	s := e.NewScope()
	defer s.Close()
	const size = 112
	model, err := n.Export(s, net.ExportOptions{Size: size, Mean: inputMean, Std: inputStd, Producer: "pipe"})
	if err != nil {
		return err
	}
	return os.WriteFile(path, model.Marshal(), 0o600)
}
