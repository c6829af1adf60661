package student

import (
	"encoding/json"
	"fmt"

	"facepipe/internal/durable"
	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/student/net"
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
	Epochs    int     `json:"epochs"`
	Steps     int     `json:"steps"`
	FinalLoss float64 `json:"final_loss"`
	Precision string  `json:"precision"`
}

// export writes the student with what a user must know to run it: its
// preprocessing, its teacher and its training.
func (r *run) export(path string) error {
	inside := r.o.InputNorm == "inside"
	size := r.loader.CropSize()
	contract := embed.Preprocess{ChannelOrder: "RGB", Height: size, Width: size, Layout: "NCHW",
		Mean: [3]float32{inputMean, inputMean, inputMean}, Std: [3]float32{inputStd, inputStd, inputStd}}
	if inside {
		contract.Mean, contract.Std = [3]float32{}, [3]float32{1, 1, 1}
	}
	metadata, err := properties(map[string]any{
		embed.PreprocessKey: contract,
		summaryKey: trainingNote{Student: r.o.Network, Teacher: r.o.Teacher, Loss: r.o.Loss.Name, Dataset: r.ds.Digest(),
			Crops: r.ds.Rows(), Epochs: r.o.Epochs, Steps: r.last.Step, FinalLoss: r.last.Loss, Precision: r.o.Precision},
	})
	if err != nil {
		return err
	}
	if f := r.manifest.TeacherFingerprint; f != "" {
		metadata = append(metadata, onnx.Property{Key: fingerprintKey, Value: f})
	}
	s := r.model.engine.NewScope()
	defer s.Close()
	var model *onnx.Model
	err = r.model.withResult(func() error {
		model, err = r.model.network.Export(s, net.ExportOptions{Size: size, Mean: inputMean, Std: inputStd,
			NormaliseInside: inside, Producer: "pipe", Version: fmt.Sprint(checkpointVersion), Metadata: metadata})
		return err
	})
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, model.Marshal(), 0o644); err != nil {
		return fmt.Errorf("export the student: %w", err)
	}
	return nil
}

// properties encodes metadata as JSON, in the order of the keys.
func properties(values map[string]any) ([]onnx.Property, error) {
	var list []onnx.Property
	for _, key := range []string{embed.PreprocessKey, summaryKey} {
		text, err := json.Marshal(values[key])
		if err != nil {
			return nil, err
		}
		list = append(list, onnx.Property{Key: key, Value: string(text)})
	}
	return list, nil
}
