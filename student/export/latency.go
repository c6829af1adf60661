package export

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/internal/regular"
	"facepipe/student/net"
)

// Latency is how long ONNX Runtime takes to embed one crop with a network on one thread
// of the processor, in seconds: the median of some runs, with weights at random.
//
// Errors: ort.ErrRuntime.
func Latency(n *net.Network, onnxruntime string) (seconds float64, err error) {
	dir, err := os.MkdirTemp("", "pipe-latency-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, n.Name+".onnx")
	if err := exportInitial(n, path); err != nil {
		return 0, fmt.Errorf("measure %s: %w", n.Name, err)
	}
	m, err := embed.Open(context.Background(), path, embed.Options{Batch: 1, Runtime: ort.Options{Provider: ort.CPU, Threads: 1, Library: onnxruntime}})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", n.Name, err)
	}
	defer m.Close()
	runs, err := m.Runs(1, embed.Bound{Least: 9, For: time.Second})
	if err != nil {
		return 0, err
	}
	return runs.Median().Seconds(), nil
}

// exportInitial writes a network as it is before training.
func exportInitial(n *net.Network, path string) error {
	model, err := n.Export(n.Initial(1), DefaultForm().options())
	if err != nil {
		return err
	}
	return regular.WriteNew(path, model.Marshal(), 0o600)
}
