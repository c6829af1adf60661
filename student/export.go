package student

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
	"facepipe/internal/safetensors"
	"facepipe/student/net"
	"facepipe/student/net/layer"
)

// Keys of the metadata in an exported model, besides [embed.PreprocessKey].
const (
	summaryKey     = "pipe.training"
	fingerprintKey = "pipe.teacher"
)

// trainingNote is what an exported model says of its training.
type trainingNote struct {
	Student   string  `json:"student"`
	Teacher   string  `json:"teacher,omitempty"`
	Loss      string  `json:"loss"`
	Dataset   string  `json:"dataset_digest"`
	Crops     int     `json:"crops"`
	Epochs    int     `json:"epochs,omitempty"`
	Steps     int     `json:"steps"`
	FinalLoss float64 `json:"final_loss"`
	Precision string  `json:"precision,omitempty"`
	// Averaged is whether the weights are the average of the steps'.
	Averaged bool `json:"averaged,omitempty"`
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
	// InputNorm is where pixels are normalised, as in [Options].
	InputNorm string
}

// DefaultForm is the one in which a run leaves its student: raw embeddings in float32.
func DefaultForm() Form {
	return Form{DType: "fp32", Opset: net.DefaultOpset, InputNorm: "outside"}
}

func (f Form) options() net.ExportOptions {
	return net.ExportOptions{Size: inputSize, Mean: inputMean, Std: inputStd, NormaliseInside: f.InputNorm == "inside",
		Half: f.DType == "fp16", UnitLength: f.UnitLength, Opset: int64(f.Opset), Producer: "pipe", Version: fmt.Sprint(checkpointVersion)}
}

// export writes the student with what a user must know to run it.
func (r *run) export(path string) error {
	s := r.model.engine.NewScope()
	defer s.Close()
	var values layer.Values
	err := r.model.withResult(func() (err error) {
		values, err = r.model.network.Values(s)
		return err
	})
	if err != nil {
		return err
	}
	form := DefaultForm()
	form.InputNorm = r.o.InputNorm
	at := r.position()
	return writeModel(path, r.model.network, values, form, at.note(r.model.average != nil), at.Fingerprint)
}

// note is what a model exported at a position says of its training.
func (at *position) note(averaged bool) trainingNote {
	return trainingNote{Student: at.Network, Teacher: at.Teacher, Loss: at.Objective, Dataset: at.Dataset, Crops: at.Crops,
		Epochs: at.Epochs, Steps: at.Step, FinalLoss: at.Loss, Precision: at.Precision, Averaged: averaged}
}

// writeModel writes an ONNX file with its preprocessing, its teacher and its training.
func writeModel(path string, n *net.Network, values layer.Values, form Form, note trainingNote, fingerprint string) error {
	contract := embed.Preprocess{ChannelOrder: "RGB", Height: inputSize, Width: inputSize, Layout: "NCHW",
		Mean: [3]float32{inputMean, inputMean, inputMean}, Std: [3]float32{inputStd, inputStd, inputStd}}
	if form.InputNorm == "inside" {
		contract.Mean, contract.Std = [3]float32{}, [3]float32{1, 1, 1}
	}
	o := form.options()
	for _, p := range []struct {
		key   string
		value any
	}{{embed.PreprocessKey, contract}, {summaryKey, note}} {
		text, err := json.Marshal(p.value)
		if err != nil {
			return err
		}
		o.Metadata = append(o.Metadata, onnx.Property{Key: p.key, Value: string(text)})
	}
	if fingerprint != "" {
		o.Metadata = append(o.Metadata, onnx.Property{Key: fingerprintKey, Value: fingerprint})
	}
	model, err := n.Export(values, o)
	if err != nil {
		return fmt.Errorf("export the student: %w", err)
	}
	if err := durable.WriteFile(path, model.Marshal(), 0o644); err != nil {
		return fmt.Errorf("export the student: %w", err)
	}
	return nil
}

// CheckpointExport says what of a run to export, and how.
type CheckpointExport struct {
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

// Exported is a model that was exported from a checkpoint.
type Exported struct {
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

// ExportCheckpoint writes the student of a checkpoint as ONNX, also while its run goes on.
// It needs no training engine.
//
// Errors: [ErrUsage], [ErrCheckpoint].
func ExportCheckpoint(o CheckpointExport) (Exported, error) {
	if err := o.Form.options().Validate(); err != nil {
		return Exported{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if info, err := os.Stat(o.Out); strings.HasSuffix(o.Out, string(filepath.Separator)) || err == nil && info.IsDir() {
		return Exported{}, fmt.Errorf("%w: out %s is a folder: name a file in it, such as %s", ErrUsage, o.Out, filepath.Join(o.Out, "student.onnx"))
	}
	path, tensors, at, err := o.read()
	if err != nil {
		return Exported{}, err
	}
	weights, averaged := resultOf(tensors)
	if o.Last && averaged {
		weights, averaged = withPrefix(tensors, paramPrefix), false
	}
	n, err := at.layOut()
	if err != nil {
		return Exported{}, fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)
	}
	values, err := valuesOf(n, weights)
	if err != nil {
		return Exported{}, fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)
	}
	if o.Form.InputNorm == "" {
		o.Form.InputNorm = at.InputNorm
	}
	if err := writeModel(o.Out, n, values, o.Form, at.note(averaged), at.Fingerprint); err != nil {
		return Exported{}, err
	}
	written, err := os.Stat(o.Out)
	if err != nil {
		return Exported{}, err
	}
	return Exported{ONNX: o.Out, Checkpoint: path, Student: n.Name, Parameters: n.Parameters(), Step: at.Step, Averaged: averaged,
		DType: o.Form.DType, Opset: o.Form.Opset, Bytes: written.Size()}, nil
}

// layOut is the network that a checkpoint is of.
func (at *position) layOut() (*net.Network, error) {
	if at.Network == "" {
		return nil, fmt.Errorf("it does not say which network it is of: go on with its run first, by distill --resume")
	}
	return net.New(at.Network, at.Size)
}

// read reads the checkpoint that is meant. A run that goes on may remove it between being
// found and being read, but not before there is a newer one, which is then taken.
func (o *CheckpointExport) read() (path string, tensors map[string]safetensors.Tensor, at position, err error) {
	for range 2 {
		if path, err = o.file(); err != nil {
			return "", nil, position{}, err
		}
		if o.beforeRead != nil {
			o.beforeRead(path)
		}
		if tensors, at, err = readCheckpoint(path); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return path, tensors, at, err
}

// file is the checkpoint that is meant.
func (o *CheckpointExport) file() (string, error) {
	if info, err := os.Stat(o.Checkpoint); err != nil {
		return "", fmt.Errorf("%w: checkpoint: %w", ErrUsage, err)
	} else if !info.IsDir() && o.Best {
		return "", fmt.Errorf("%w: best is a run's: %s is a file", ErrUsage, o.Checkpoint)
	}
	if !o.Best {
		return newestCheckpoint(o.Checkpoint)
	}
	text, err := os.ReadFile(bestPath(o.Checkpoint))
	if err != nil {
		return "", fmt.Errorf("%w: %s keeps no best checkpoint (distill --keep-best): %w", ErrCheckpoint, o.Checkpoint, err)
	}
	var b bestFile
	if err := json.Unmarshal(text, &b); err != nil || filepath.Base(b.File) != b.File {
		return "", fmt.Errorf("%w: %s names no checkpoint", ErrCheckpoint, bestPath(o.Checkpoint))
	}
	return filepath.Join(checkpointFolder(o.Checkpoint), b.File), nil
}
