package cost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"facepipe/internal/crash"
	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/internal/regular"
)

// Memory is what the process takes that runs a model, on the machine and not on a device. Beside
// weights and activations that is what the program itself reads of the file.
type Memory struct {
	// OwnProcess says that it was measured in a process that did nothing else. Otherwise it is
	// this process's growth, which is too little where memory of earlier work is used again, and
	// too much where other work goes on beside.
	OwnProcess bool `json:"own_process"`
	// Base is what the process took before it opened the model, with ONNX Runtime; 0 if that is
	// not part of the peaks. In bytes.
	Base int64 `json:"base_bytes,omitempty"`
	// Peaks are by the size of the batch, in ascending order.
	Peaks []Peak `json:"peaks"`
}

// Peak is the most that the process took until it had run a batch of a size.
type Peak struct {
	Size  int   `json:"size"`
	Bytes int64 `json:"bytes"`
}

// request is what another process is to measure.
type request struct {
	Path  string
	Model embed.Options
	Sizes []int
}

// remember measures memory at the sizes that were timed.
func (c *Cost) remember(ctx context.Context, path string, model embed.Options, command []string) {
	r := request{Path: path, Model: model}
	for _, b := range c.Batches {
		r.Sizes = append(r.Sizes, b.Size)
	}
	if len(r.Sizes) > 0 {
		r.Model.Batch = r.Sizes[0] // opening a model runs it, too
	}
	measure := r.growth
	if len(command) > 0 {
		measure = func(ctx context.Context) (*Memory, error) { return r.inProcess(ctx, command) }
	}
	m, err := measure(ctx)
	if err != nil {
		c.note("memory is not measurable: %v", err)
		return
	}
	c.Memory = m
	if !m.OwnProcess {
		c.note("memory is the growth of this process, which uses that of earlier work again: it may be too little")
	}
}

// inProcess has a process of its own measure.
func (r request) inProcess(ctx context.Context, command []string) (*Memory, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], string(text))...)
	var said bytes.Buffer
	child.Stderr, child.WaitDelay = &said, time.Second
	out, err := child.Output()
	if err != nil {
		reason := bytes.TrimSpace(said.Bytes())
		if crash.Of(child.ProcessState) { // what follows are stacks
			reason, _, _ = bytes.Cut(reason, []byte("\n"))
		}
		return nil, fmt.Errorf("%w: %s", err, reason)
	}
	m := new(Memory)
	if err := json.Unmarshal(out, m); err != nil {
		return nil, fmt.Errorf("%s said %.100q: %w", command[0], out, err)
	}
	return m, nil
}

// Peaks measures the memory of this process, which should do nothing else, as the argument says
// that [Measure] gives to [Options.Command]. The result is what Measure expects on its standard
// output.
func Peaks(ctx context.Context, argument string) (*Memory, error) {
	var r request
	if err := json.Unmarshal([]byte(argument), &r); err != nil {
		return nil, fmt.Errorf("read what to measure: %w", err)
	}
	if err := ort.Init(r.Model.Runtime.Library); err != nil {
		return nil, err
	}
	m := &Memory{OwnProcess: true}
	var err error
	if m.Base, err = resident("VmRSS:"); err == nil {
		m.Peaks, err = r.peaks(ctx)
	}
	return m, err
}

// growth measures in this process.
func (r request) growth(ctx context.Context) (*Memory, error) {
	const resetPeak = "5"
	if err := os.WriteFile("/proc/self/clear_refs", []byte(resetPeak), 0); err != nil {
		return nil, err
	}
	before, err := resident("VmRSS:")
	if err != nil {
		return nil, err
	}
	m := new(Memory)
	m.Peaks, err = r.peaks(ctx)
	for i := range m.Peaks {
		m.Peaks[i].Bytes = max(0, m.Peaks[i].Bytes-before)
	}
	return m, err
}

// peaks opens the model and runs a batch of each size.
func (r request) peaks(ctx context.Context) (peaks []Peak, err error) {
	m, err := embed.Open(ctx, r.Path, r.Model)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	for _, size := range r.Sizes {
		if _, err := m.Runs(size, embed.Bound{}); err != nil {
			return nil, err
		}
		most, err := resident("VmHWM:")
		if err != nil {
			return nil, err
		}
		if n := len(peaks); n > 0 { // the kernel counts roughly
			most = max(most, peaks[n-1].Bytes)
		}
		peaks = append(peaks, Peak{size, most})
	}
	return peaks, nil
}

// resident is a figure of this process's memory, in bytes.
func resident(name string) (int64, error) {
	status, err := regular.Read("/proc/self/status", 1<<20)
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(status, []byte("\n"+name))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("/proc/self/status has no " + name)
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return kib << 10, err
}
