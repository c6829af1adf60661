package student

import (
	"context"
	"fmt"

	"facepipe/store"
	"facepipe/student/checkpoint"
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

// validationDue is whether the run is to be scored where it is, and has not been.
func (r *run) validationDue() bool {
	step, perEpoch := r.last.Step, r.loader.StepsPerEpoch()
	if r.o.Validation == nil || step == 0 || r.last.Validated == step {
		return false
	}
	return step%(perEpoch*r.o.ValidateEvery) == 0 || step == r.schedule.Total
}

// makeUpValidation makes up for a validation during which an earlier process was stopped.
func (r *run) makeUpValidation(ctx context.Context) error {
	if !r.validationDue() {
		return nil
	}
	if err := r.validate(ctx); err != nil {
		return err
	}
	return r.save()
}

// validate has rank 0 score the student, and the others wait for it.
func (r *run) validate(ctx context.Context) error {
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.world.lead(ctx, func() error { return r.score(ctx) }); err != nil {
		return err
	}
	r.last.Validated = r.last.Step
	return nil
}

// score scores the student and notes whether it is the best so far.
func (r *run) score(ctx context.Context) error {
	figures, err := r.o.Validation.run(ctx, r.model, r.o.Batch)
	if err != nil {
		return err
	}
	if err := r.noteIfBest(figures); err != nil {
		return err
	}
	line := map[string]any{"step": r.last.Step, "epoch": r.last.Step / r.loader.StepsPerEpoch()}
	r.last.Figures, r.last.Validated = map[string]float64{}, r.last.Step
	for name, v := range figures {
		if !finite(v) { // no reason to end a run
			fmt.Fprintf(r.progress, "validation after step %d: %s is %g\n", r.last.Step, name, v)
			continue
		}
		line[validationKey+name], r.last.Figures[name] = v, v
	}
	return r.metrics.write(line)
}

// noteIfBest remembers the step if its figure is better than all before.
func (r *run) noteIfBest(figures map[string]float64) error {
	name := r.o.KeepBest
	if name == "" {
		return nil
	}
	b, sign := r.last.Best, float64(r.o.Validation.Better[name])
	value, ok := figures[name]
	if !ok {
		return fmt.Errorf("keep the best checkpoint: the validation gave no %s", name)
	}
	if finite(value) && (b == nil || b.Figure != name || sign*value > sign*b.Value) {
		r.last.Best = &checkpoint.Best{Step: r.last.Step, Figure: name, Value: value}
	}
	return nil
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
	m.engine.NoGrad(func() { y = m.network.Forward(s, m.pixels(s, pixels, nil, size, m.dtype), m.dtype, false) })
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
