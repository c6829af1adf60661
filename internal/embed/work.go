package embed

import (
	"context"
	"fmt"

	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/internal/regular"
)

// Multiplications counts what the model multiplies for one crop, by the shapes that the runtime
// finds when it runs the model once on the processor. What is not known of some operators is in
// the result; that nothing is known is an error, which names the file.
func (m *Model) Multiplications() (onnx.Multiplications, error) {
	work, err := m.multiplications()
	if err != nil {
		return work, fmt.Errorf("count the multiplications of %s: %w", m.path, err)
	}
	return work, nil
}

func (m *Model) multiplications() (none onnx.Multiplications, err error) {
	data, err := regular.Read(m.path, onnx.MaxBytes)
	if err != nil {
		return none, err
	}
	probe, err := onnx.NewProbe(data)
	if err != nil {
		return none, err
	}
	batch := 1
	if d := probe.Image.Dims; len(d) > 0 && d[0].Size > 0 {
		batch = int(d[0].Size)
	}
	var outputs [][]float32
	if probe.Model != nil {
		if outputs, err = m.probed(probe.Model, batch); err != nil {
			return none, err
		}
	}
	return probe.Count(outputs, batch)
}

// probed are the outputs of another model for a batch of black crops.
func (m *Model) probed(model []byte, batch int) (outputs [][]float32, err error) {
	session, err := ort.Open(context.Background(), m.path, ort.Options{Model: model, External: m.external, Threads: 1})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	in, err := ort.NewTensor(m.resolved.Preprocess.shape(batch)...)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	outs := make([]*ort.Tensor, len(session.Outputs()))
	if err := session.Run([]*ort.Tensor{in}, outs); err != nil {
		return nil, err
	}
	for _, out := range outs {
		outputs = append(outputs, append([]float32(nil), out.Data()...))
		out.Close()
	}
	return outputs, nil
}
