package embed

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"facepipe/internal/onnx"
)

// File is what a model's file says of itself, before anything runs it.
type File struct {
	// Digest is that of [Digest]; Bytes counts files of weights beside the model, too.
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
	// Producer is the exporter with its version, "" if it gives no name.
	Producer string `json:"producer,omitempty"`
	IR       int64  `json:"ir"`
	Opset    int64  `json:"opset"`
	// Inputs are without weights, which old exporters list among them.
	Inputs  []Value `json:"inputs"`
	Outputs []Value `json:"outputs"`
	// Parameters are the numbers in weights, and Weights those of each type that they are stored
	// in, such as float16; [onnx.Graph.Parameters] says what counts.
	Parameters int64            `json:"parameters"`
	Weights    map[string]int64 `json:"weights,omitempty"`
	// Says has what the metadata say of licences.
	Says map[string]string `json:"says,omitempty"`

	// Model is the parsed file.
	Model *onnx.Model `json:"-"`
}

// Value is an input or output as it is declared.
type Value struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Shape has a number, a name or "?" for each dimension.
	Shape []string `json:"shape"`
}

func (v Value) String() string {
	return fmt.Sprintf("%s %s [%s]", v.Name, v.Type, strings.Join(v.Shape, " "))
}

// Describe reads a model's file. Errors are those of [Digest].
func Describe(path string) (*File, error) {
	m, err := onnx.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	f := &File{Producer: strings.TrimSpace(m.Producer + " " + m.Version), IR: m.IRVersion, Opset: m.OpsetVersion,
		Inputs: values(m.Graph.Images()), Outputs: values(m.Graph.Outputs), Weights: map[string]int64{}, Model: m}
	for _, p := range m.Metadata {
		if strings.Contains(strings.ToLower(p.Key), "licen") {
			if f.Says == nil {
				f.Says = map[string]string{}
			}
			f.Says[p.Key] = p.Value
		}
	}
	weights, err := m.Graph.Parameters()
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w", path, err)
	}
	for of, n := range weights {
		f.Weights[of.String()] = n
		f.Parameters += n
	}
	external := m.ExternalFiles()
	if f.Digest, err = modelDigest(path, external); err != nil {
		return nil, fmt.Errorf("open model %s: %w", path, err)
	}
	for _, name := range append(external, filepath.Base(path)) {
		info, err := os.Stat(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			return nil, fmt.Errorf("open model %s: %w", path, err)
		}
		f.Bytes += info.Size()
	}
	return f, nil
}

func values(list []onnx.ValueInfo) []Value {
	out := make([]Value, len(list))
	for i, v := range list {
		out[i] = Value{Name: v.Name, Type: v.Type.String(), Shape: make([]string, len(v.Dims))}
		for k, d := range v.Dims {
			if out[i].Shape[k] = cmp.Or(d.Name, "?"); d.Size > 0 {
				out[i].Shape[k] = strconv.FormatInt(d.Size, 10)
			}
		}
	}
	return out
}

// Timing is what a crop costs in batches of a size.
type Timing struct {
	Batch        int     `json:"batch"`
	Milliseconds float64 `json:"ms_per_crop"`
}

// OnlyBatch says that the model runs at its batch and at no other: it declares that, crops of a
// larger one depend on each other, or the provider would build for minutes for another.
func (m *Model) OnlyBatch() bool { return m.only || m.batchReason != "" }

// Time measures what a crop costs alone and in batches of the model's size, of which a model
// may have only one. The model stays at its batch.
func (m *Model) Time() ([]Timing, error) {
	own, sizes := m.batch, []int{m.batch}
	if own > 1 && !m.OnlyBatch() {
		sizes = []int{1, own}
	}
	var all []Timing
	for _, size := range sizes {
		rate, err := m.medianRate(size)
		if err != nil && size != own { // no batch but its own
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Timing{Batch: size, Milliseconds: 1000 / rate})
	}
	return all, nil
}
