// Package export writes students as ONNX models, of a run or of a checkpoint, and measures how
// long they take. It needs no training engine.
package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/durable"
	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/internal/release"
	"facepipe/internal/safetensors"
	"facepipe/student/checkpoint"
	"facepipe/student/net"
	"facepipe/student/net/layer"
)

// ErrUsage marks options that make no sense.
var ErrUsage = errors.New("wrong usage")

// Keys of the metadata in an exported model, besides [embed.PreprocessKey].
const (
	// TrainingKey is that of what the model says of its training, as JSON.
	TrainingKey = embed.TrainingKey
	// TeacherKey is that of the teacher's fingerprint, if it had one.
	TeacherKey = "pipe.teacher"
)

// Note is what an exported model says of its training.
type Note struct {
	// Program exported it, with its version.
	Program string `json:"program"`
	Student string `json:"student"`
	Teacher string `json:"teacher,omitempty"`
	Loss    string `json:"loss"`
	Dataset string `json:"dataset_digest"`
	Crops   int    `json:"crops"`
	// Epochs and Steps are those that were gone through, also of a run that is to go on. Steps
	// that were skipped, in half precision, moved nothing and are not among them.
	Epochs    float64 `json:"epochs,omitempty"`
	Steps     int     `json:"steps"`
	Skipped   int     `json:"skipped_steps,omitempty"`
	FinalLoss float64 `json:"final_loss"`
	Precision string  `json:"precision,omitempty"`
	// Averaged is whether the weights are the average of the steps'.
	Averaged bool `json:"averaged,omitempty"`
	// Init is where the weights that it began with came from.
	Init *checkpoint.Origin `json:"init,omitempty"`
}

// NoteOf is the note on the weights of a checkpoint.
func NoteOf(at checkpoint.Position, averaged bool) Note {
	n := Note{Program: release.Name + " " + release.Version, Student: at.Network, Teacher: at.Teacher, Loss: at.Objective,
		Dataset: at.Dataset, Crops: at.Crops, Epochs: at.Epochs, Steps: at.Step, FinalLoss: at.Loss,
		Precision: at.Precision, Averaged: averaged, Init: at.Init}
	if at.Total > 0 {
		n.Epochs *= float64(at.Step) / float64(at.Total)
	}
	if at.Scaler != nil {
		n.Skipped = at.Scaler.Skipped
		n.Steps -= n.Skipped
	}
	return n
}

// Form is how a student is exported.
type Form struct {
	// DType is fp32, or fp16 for weights and activations in half precision; input and
	// output are float32 in both.
	DType string
	// Opset is the version of ONNX's operators.
	Opset int
	// UnitLength divides the embedding by its length in the graph.
	UnitLength bool
	// InputNorm is where pixels are normalised: "outside" the graph, which takes values in
	// [-1, 1], or "inside" (it takes 0 to 255).
	InputNorm string
}

// DefaultForm is the one in which a run leaves its student: raw embeddings in float32.
func DefaultForm() Form {
	return Form{DType: "fp32", Opset: net.DefaultOpset, InputNorm: "outside"}
}

func (f Form) options() net.ExportOptions {
	return net.ExportOptions{Size: net.InputSide, Mean: net.InputMean, Std: net.InputStd, NormaliseInside: f.InputNorm == "inside",
		Half: f.DType == "fp16", UnitLength: f.UnitLength, Opset: int64(f.Opset), Producer: release.Name, Version: release.Version}
}

// Model is a student to be written.
type Model struct {
	Network *net.Network
	Values  layer.Values
	// At is the position of its run, Averaged whether the values are the average of the
	// steps'.
	At       checkpoint.Position
	Averaged bool
}

// Write writes a student as an ONNX file, with what a user must know to run it: its
// preprocessing, its teacher and its training, and with its own digest
// ([onnx.SealKey]).
func (m Model) Write(path string, form Form) error { return m.write(path, form, durable.WriteFile) }

func (m Model) write(path string, form Form, put func(path string, data []byte, perm os.FileMode) error) error {
	contract := embed.Preprocess{ChannelOrder: "RGB", Height: net.InputSide, Width: net.InputSide, Layout: "NCHW",
		Mean: [3]float32{net.InputMean, net.InputMean, net.InputMean}, Std: [3]float32{net.InputStd, net.InputStd, net.InputStd}}
	if form.InputNorm == "inside" {
		contract.Mean, contract.Std = [3]float32{}, [3]float32{1, 1, 1}
	}
	at, note := &m.At, NoteOf(m.At, m.Averaged)
	o := form.options()
	for _, p := range []struct {
		key   string
		value any
	}{{embed.PreprocessKey, contract}, {TrainingKey, note}} {
		text, err := json.Marshal(p.value)
		if err != nil {
			return err
		}
		o.Metadata = append(o.Metadata, onnx.Property{Key: p.key, Value: string(text)})
	}
	if at.Fingerprint != "" {
		o.Metadata = append(o.Metadata, onnx.Property{Key: TeacherKey, Value: at.Fingerprint})
	}
	model, err := m.Network.Export(m.Values, o)
	if err == nil {
		err = put(path, model.MarshalSealed(), 0o644)
	}
	if err != nil {
		return fmt.Errorf("export the student: %w", err)
	}
	return nil
}

// Options say what of a run to export, and how.
type Options struct {
	// Checkpoint is a checkpoint's file, or the folder of a run, of which Best takes the
	// best one instead of the newest.
	Checkpoint string
	Best       bool
	// Last takes the last step's weights even where there is an average of them.
	Last bool
	// Form is how; InputNorm "" is as in the run.
	Form Form
	// Out is the file to write.
	Out string

	// beforeRead, where set, is told which file will be read: tests remove it.
	beforeRead func(path string)
}

// Summary is a model that was exported from a checkpoint.
type Summary struct {
	ONNX       string `json:"onnx"`
	Checkpoint string `json:"checkpoint"`
	Student    string `json:"student"`
	Parameters int    `json:"parameters"`
	Step       int    `json:"step"`
	Averaged   bool   `json:"averaged"`
	DType      string `json:"dtype"`
	Opset      int    `json:"opset"`
	Bytes      int64  `json:"bytes"`
}

// Run writes the student of a checkpoint as ONNX, also while its run goes on.
//
// Errors: [ErrUsage], [checkpoint.ErrUnusable].
func Run(o Options) (Summary, error) {
	if err := o.Form.options().Validate(); err != nil {
		return Summary{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if info, err := os.Stat(o.Out); strings.HasSuffix(o.Out, string(filepath.Separator)) || err == nil && info.IsDir() {
		return Summary{}, fmt.Errorf("%w: out %s is a folder: name a file in it, such as %s", ErrUsage, o.Out, filepath.Join(o.Out, "student.onnx"))
	}
	path, m, err := o.read()
	if err != nil {
		return Summary{}, err
	}
	if o.Form.InputNorm == "" {
		o.Form.InputNorm = m.At.InputNorm
	}
	if err := m.write(o.Out, o.Form, durable.Replace); err != nil {
		return Summary{}, err
	}
	written, err := os.Stat(o.Out)
	if err != nil {
		return Summary{}, err
	}
	return Summary{ONNX: o.Out, Checkpoint: path, Student: m.Network.Name, Parameters: m.Network.Parameters(), Step: m.At.Step,
		Averaged: m.Averaged, DType: o.Form.DType, Opset: o.Form.Opset, Bytes: written.Size()}, nil
}

// read makes a model of the checkpoint that is meant.
func (o *Options) read() (path string, m Model, err error) {
	path, tensors, at, err := o.readFile()
	if err != nil {
		return "", m, err
	}
	weights, averaged := checkpoint.Weights(tensors, o.Last)
	m = Model{Values: layer.Values{}, At: at, Averaged: averaged}
	if m.Network, err = layOut(&at); err == nil {
		if a := m.Network.Adopt(m.Values, weights); len(a.Left) > 0 {
			err = fmt.Errorf("it has no %s of shape %v", a.Left[0].Name, a.Left[0].Shape)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: %s: %w", checkpoint.ErrUnusable, path, err)
	}
	return path, m, err
}

// readFile reads the checkpoint that is meant. A run that goes on may remove it between being
// found and being read, but not before there is a newer one, which is then taken.
func (o *Options) readFile() (path string, tensors map[string]safetensors.Tensor, at checkpoint.Position, err error) {
	for range 2 {
		if path, err = o.file(); err == nil {
			if o.beforeRead != nil {
				o.beforeRead(path)
			}
			tensors, at, err = checkpoint.Read(path)
		}
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return path, tensors, at, checkpoint.WithAlternative(err, path)
}

// file is the checkpoint that is meant.
func (o *Options) file() (string, error) {
	if info, err := os.Stat(o.Checkpoint); err != nil {
		return "", fmt.Errorf("%w: checkpoint: %w", ErrUsage, err)
	} else if !info.IsDir() && o.Best {
		return "", fmt.Errorf("%w: best is a run's: %s is a file", ErrUsage, o.Checkpoint)
	}
	if o.Best {
		return checkpoint.BestOf(o.Checkpoint)
	}
	return checkpoint.Newest(o.Checkpoint)
}

// layOut is the network that a checkpoint is of.
func layOut(at *checkpoint.Position) (*net.Network, error) {
	if at.Network == "" {
		return nil, fmt.Errorf("it does not say which network it is of: go on with its run first, by distill --resume")
	}
	return net.New(at.Network, at.Size)
}
