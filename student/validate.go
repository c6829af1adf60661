package student

import (
	"context"
	"fmt"

	"facepipe/store"
	"facepipe/student/torch"
)

// Validation is a set of crops on which a student is scored while it is trained.
type Validation struct {
	// Dataset holds the crops; it may be another than the one trained on.
	Dataset *store.Dataset
	// Crops are the ones that Score needs.
	Crops []store.Location
	// Score turns their raw embeddings, in the same order, into named figures such
	// as the accuracy.
	Score func(embeddings [][]float32) (map[string]float64, error)
	// Better names the figures that can tell the best checkpoint: 1 for one of which
	// more is better, -1 for one of which less is.
	Better map[string]int
}

// run scores the weights that would be exported.
func (v *Validation) run(ctx context.Context, m *model, batch int) (figures map[string]float64, err error) {
	err = m.withResult(func() error {
		figures, err = v.score(ctx, m, batch)
		return err
	})
	return figures, err
}

// score embeds the crops, in batches, with the norms' running statistics.
func (v *Validation) score(ctx context.Context, m *model, batch int) (map[string]float64, error) {
	size := v.Dataset.Contract().CropSize
	area := size * size * 3
	crops := v.Dataset.CropReader()
	defer crops.Close()
	embeddings := make([][]float32, 0, len(v.Crops))
	pixels := make([]uint8, batch*area)
	for from := 0; from < len(v.Crops); from += batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(batch, len(v.Crops)-from)
		for i, at := range v.Crops[from : from+n] {
			if err := crops.DecodeRGB(at, pixels[i*area:(i+1)*area]); err != nil {
				return nil, fmt.Errorf("validate: %w", err)
			}
		}
		rows, err := m.infer(pixels[:n*area], size)
		if err != nil {
			return nil, fmt.Errorf("validate: %w", err)
		}
		embeddings = append(embeddings, rows...)
	}
	return v.Score(embeddings)
}

// infer embeds pixels without recording gradients; one slice a row.
func (m *model) infer(pixels []uint8, size int) ([][]float32, error) {
	s := m.engine.NewScope()
	defer s.Close()
	var y torch.Tensor
	m.engine.NoGrad(func() { y = m.embed(s, pixels, nil, size, false) })
	flat := s.Floats(y)
	if err := s.Err(); err != nil {
		return nil, err
	}
	d := m.network.Dim
	rows := make([][]float32, len(flat)/d)
	for i := range rows {
		rows[i] = flat[i*d : (i+1)*d]
	}
	return rows, nil
}
