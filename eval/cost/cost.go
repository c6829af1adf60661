// Package cost measures what an ONNX model costs beside its accuracy: parameters and
// multiplications from its graph, bytes on disk, latency and throughput here, and memory. It
// also compares the precisions of one model.
package cost

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/internal/regular"
)

// Cost is what a model costs. What could not be found out is absent, and Notes say why.
type Cost struct {
	// Digest is the model's, see [embed.Digest]; Training identifies what its metadata say of
	// its training, "" if they say nothing.
	Digest   string `json:"digest"`
	Training string `json:"training,omitempty"`
	// Bytes are those of the file, with files of weights beside it.
	Bytes int64 `json:"bytes"`
	// Parameters are the numbers in the file's weights (see [onnx.Graph.Parameters]), Weights
	// those of each type that they are stored in, and Precision the type of most of them: fp32,
	// fp16, int8 and so on.
	Parameters int64            `json:"parameters"`
	Weights    map[string]int64 `json:"weights"`
	Precision  string           `json:"precision"`
	// Multiplications are those for one crop.
	Multiplications *Multiplications `json:"multiplications,omitempty"`
	// Dim is the length of an embedding, Height and Width are the crop's in pixels.
	Dim    int `json:"dim"`
	Height int `json:"height"`
	Width  int `json:"width"`
	// Provider and Threads ran the model.
	Provider string `json:"provider"`
	Threads  int    `json:"threads"`
	// Load is how many processes on average wanted a processor in the minute before the times
	// were taken, this one among them, and Processors how many processors this process may use.
	Load       *float64 `json:"load,omitempty"`
	Processors int      `json:"processors"`
	// Batches are the times by the number of crops of a run.
	Batches []Batch `json:"batches"`
	Memory  *Memory `json:"memory,omitempty"`
	// Notes say what a reader of the figures must know.
	Notes []string `json:"notes,omitempty"`
}

// Multiplications are those of [onnx.Multiplications].
type Multiplications struct {
	// MACs are multiplications of a weight and a value, Attention those of two values in
	// products of matrices.
	MACs      int64 `json:"macs"`
	Attention int64 `json:"attention"`
	// Unknown are operators that may multiply more.
	Unknown []string `json:"unknown,omitempty"`
}

// Batch is how long runs with a number of crops take: the network alone, without decoding.
type Batch struct {
	Size int `json:"size"`
	// Runs were timed after one that warmed up.
	Runs int `json:"runs"`
	// Median and P95 are milliseconds of a whole run; P95 is absent of fewer than 20 runs.
	Median float64 `json:"median_ms"`
	P95    float64 `json:"p95_ms,omitempty"`
	// Throughput is crops a second by the median.
	Throughput float64 `json:"crops_per_second"`
}

// Options tune a measurement.
type Options struct {
	// Sizes are the batches to measure, each at least 1. A model of a fixed batch is measured
	// at that alone. Without any, only what the file tells is: nothing is timed.
	Sizes []int
	// Seconds and Runs bound the runs of each size. A size of which a single run would take
	// longer is left out, unless it is the first.
	Seconds float64
	Runs    int
	// Command, if any, runs [Peaks] in a process of its own and prints what it returns: its
	// last argument is added. Without it memory is the growth of this process.
	Command []string
}

// DefaultOptions are batches of 1, 8, 32 and 64 crops, for up to 3 seconds or 500 runs each.
func DefaultOptions() Options { return Options{Sizes: []int{1, 8, 32, 64}, Seconds: 3, Runs: 500} }

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	for _, size := range o.Sizes {
		if size < 1 || size > embed.MaxBatch {
			return fmt.Errorf("a batch of %d crops is not within 1 and %d", size, embed.MaxBatch)
		}
	}
	if len(o.Sizes) > 0 && (!(o.Seconds > 0) || o.Runs < 1) {
		return fmt.Errorf("%d batches of %d runs in %g seconds measure nothing", len(o.Sizes), o.Runs, o.Seconds)
	}
	return nil
}

// Measure finds what a model costs. The model must open as embed.Open says, whose errors it
// returns; other figures that cannot be had are absent.
func Measure(ctx context.Context, path string, model embed.Options, o Options) (*Cost, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	file, err := embed.Describe(path)
	if err != nil {
		return nil, err
	}
	model.Batch = max(0, model.Batch) // whatever is fastest is measured below
	load, known := loadAverage()
	m, err := embed.Open(ctx, path, model)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	c := &Cost{Digest: m.Digest(), Training: trainingOf(file.Model), Bytes: file.Bytes, Parameters: file.Parameters, Weights: file.Weights,
		Precision: precision(file.Weights), Dim: m.Dim(), Height: m.Preprocess().Height, Width: m.Preprocess().Width,
		Provider: cmp.Or(model.Runtime.Provider, ort.CPU), Threads: cmp.Or(model.Runtime.Threads, runtime.GOMAXPROCS(0)),
		Processors: runtime.GOMAXPROCS(0), Notes: m.Notes()}
	if known {
		c.Load = &load
	}
	c.multiply(m)
	if len(o.Sizes) == 0 {
		return c, ctx.Err()
	}
	sizes := slices.Compact(slices.Sorted(slices.Values(o.Sizes)))
	if m.OnlyBatch() {
		sizes = []int{m.Batch()}
		c.note("it runs in batches of %d only", m.Batch())
	}
	if err := c.time(ctx, m, sizes, o); err != nil {
		return nil, err
	}
	c.remember(ctx, path, model, o.Command)
	return c, ctx.Err()
}

func (c *Cost) note(format string, a ...any) { c.Notes = append(c.Notes, fmt.Sprintf(format, a...)) }

// multiply counts the multiplications.
func (c *Cost) multiply(m *embed.Model) {
	work, err := Count(m)
	if err != nil {
		c.note("multiplications are not measurable: %v", err)
		return
	}
	if c.Multiplications = work; len(work.Unknown) > 0 {
		c.note("multiplications within %v are not known, and not counted", work.Unknown)
	}
}

// Count counts a model's multiplications. Errors are those of [embed.Model.Multiplications].
func Count(m *embed.Model) (*Multiplications, error) {
	work, err := m.Multiplications()
	if err != nil {
		return nil, err
	}
	return &Multiplications{work.Weights, work.Attention, work.Unknown}, nil
}

// String is how many there are, such as "0.440 billion, and 0.013 of attention".
func (w *Multiplications) String() string {
	text := fmt.Sprintf("%.3f billion", float64(w.MACs)/1e9)
	if w.Attention > 0 {
		text += fmt.Sprintf(", and %.3f of attention", float64(w.Attention)/1e9)
	}
	if len(w.Unknown) > 0 {
		text += fmt.Sprintf(", without those within %s, which are not known", strings.Join(w.Unknown, ", "))
	}
	return text
}

// time times runs at the sizes, in ascending order.
func (c *Cost) time(ctx context.Context, m *embed.Model, sizes []int, o Options) error {
	if c.Load != nil && *c.Load > busy*float64(c.Processors) {
		c.note("the machine was busy (load %.1f on %d processors): times may be too long", *c.Load, c.Processors)
	}
	for _, size := range sizes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if expected := c.expected(size); expected > o.Seconds {
			c.note("batches of %d and more are not measured: a run would take some %.3g s", size, expected)
			break
		}
		runs, err := m.Runs(size, embed.Bound{Most: o.Runs, For: time.Duration(o.Seconds * float64(time.Second))})
		if err != nil {
			c.note("batches of %d and more are not measurable: %v", size, err)
			break
		}
		b := Batch{Size: size, Runs: len(runs), Median: milliseconds(runs.Median()), Throughput: float64(size) / runs.Median().Seconds()}
		if p95, ok := runs.P95(); ok {
			b.P95 = milliseconds(p95)
		}
		c.Batches = append(c.Batches, b)
	}
	return nil
}

// busy is the share of the processors in use from which on times are doubtful.
const busy = 0.5

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// expected is how many seconds a run of a size should take, by the largest that was measured; 0
// before there is one.
func (c *Cost) expected(size int) float64 {
	if len(c.Batches) == 0 {
		return 0
	}
	return float64(size) / c.Batches[len(c.Batches)-1].Throughput
}

// loadAverage is that of the last minute; false if the system does not tell.
func loadAverage() (float64, bool) {
	text, err := regular.Read("/proc/loadavg", 1<<10)
	if err != nil {
		return 0, false
	}
	first, _, _ := bytes.Cut(text, []byte(" "))
	load, err := strconv.ParseFloat(string(first), 64)
	return load, err == nil
}

// precisions are the usual names of types of weights.
var precisions = map[string]string{
	onnx.Float32.String(): "fp32", onnx.Float16.String(): "fp16", onnx.BFloat16.String(): "bf16", onnx.Float64.String(): "fp64",
	onnx.Int8.String(): "int8", onnx.Uint8.String(): "int8",
}

// precision is the type that most weights are stored in; "" without weights.
func precision(weights map[string]int64) string {
	shares, most := map[string]int64{}, ""
	for of, n := range weights {
		name := cmp.Or(precisions[of], of)
		shares[name] += n
	}
	for name, n := range shares {
		if most == "" || n > shares[most] || n == shares[most] && name < most {
			most = name
		}
	}
	return most
}

// trainingOf identifies what a model says of its training, by whatever version of the program
// it was exported; "" if it says nothing.
func trainingOf(m *onnx.Model) string {
	var note map[string]any
	if json.Unmarshal([]byte(m.Property(embed.TrainingKey)), &note) != nil || len(note) == 0 {
		return ""
	}
	delete(note, "program")
	text, err := json.Marshal(note) // with sorted keys
	if err != nil {
		panic(err) // it was JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
