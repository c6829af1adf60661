package student

import (
	"errors"
	"fmt"

	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/net/layer"
	"facepipe/student/optim"
	"facepipe/student/torch"
)

// tally is what the micro-batches of one step add up to: the mean of their losses, the
// parts of each, and the rows of all of them. What of the parts is in the engine is there
// until the next step begins.
type tally struct {
	loss  float64
	parts []loss.Parts
	rows  []int64
	// overflowed is whether an embedding was not finite, in half precision: then there is
	// no loss.
	overflowed bool
}

// add takes in one of so many micro-batches.
func (t *tally) add(value float64, parts loss.Parts, rows []int64, of int) {
	t.loss += value / float64(of)
	t.parts = append(t.parts, parts)
	t.rows = append(t.rows, rows...)
}

// backward runs one of the micro-batches of a step forward and backward. Gradients add
// up in the parameters, each with its fraction of the step, so that their sum is that of
// the mean loss. Norms see, and the loss remembers (memory bank, running statistics),
// one micro-batch after the other.
func (m *model) backward(b *data.Batch, size, of int, t *tally) error {
	s := m.engine.NewScope()
	defer s.Close()
	if m.statistics != nil && b.Part == 0 {
		m.statistics.keep(s)
	}
	if b.Part == 0 {
		m.figures.Close() // of the step before
	}
	in := m.world.gather(s, m.input(s, b, size))
	if m.overflows(s, in.Student) {
		t.overflowed = true
	}
	if t.overflowed {
		t.rows = append(t.rows, in.Samples...)
		return s.Err()
	}
	value, parts := m.loss.Step(s, in)
	last := b.Part+1 == of
	if last {
		m.world.expect(s)
	}
	s.Backward(m.scaledLoss(s, value, of))
	if last {
		m.world.collect(s)
	}
	parts.Move(s, m.figures)
	t.add(s.Scalar(value), parts, in.Samples, of)
	return s.Err()
}

// input is a micro-batch with its embeddings, as the loss sees it.
func (m *model) input(s *torch.Scope, b *data.Batch, size int) loss.Batch {
	y := m.embed(s, b, size)
	in := loss.Batch{Student: y, Samples: b.Rows, Mirrored: make([]bool, len(b.Rows)), Labels: b.Labels, Step: b.Step}
	for i, m := range b.Mirrored {
		in.Mirrored[i] = m != 0
	}
	if m.bridge != nil {
		in.Student = s.Linear(y, m.bridge.Tensor())
	}
	if m.loss.LooksAtOwn() && (m.bridge != nil || len(m.targets.params()) > 0) {
		in.Own = y
	}
	m.targets.of(s, m.device, b.Teacher, len(b.Rows), y, &in)
	return in
}

// overflows is whether there is a loss scale and an embedding is not finite. The loss need not
// show that: the direction of a vector that is no number is zero.
func (m *model) overflows(s *torch.Scope, embeddings torch.Tensor) bool {
	return m.scaler != nil && broken(s, embeddings)
}

// scaledLoss is what one of so many micro-batches adds to the loss that is differentiated.
func (m *model) scaledLoss(s *torch.Scope, value torch.Tensor, of int) torch.Tensor {
	factor := 1 / float64(of)
	if m.scaler != nil {
		factor *= m.scaler.Scale
	}
	if factor == 1 {
		return value
	}
	return s.Scale(value, factor)
}

// move takes the optimizer's step with the gradients that have added up, and reports
// their length. A gradient that is not finite moves nothing: with a loss scale the step
// is skipped (moved is false), leaves the running statistics as they were, and the next one
// has a smaller scale; otherwise it is optim.ErrNotFinite.
func (m *model) move(step int, rate float64) (norm float64, moved bool, err error) {
	s := m.engine.NewScope()
	defer s.Close()
	if m.scaler != nil {
		m.scaler.unscale(s, m.params())
	}
	norm, err = m.optimizer.Step(s, rate)
	if errors.Is(err, optim.ErrNotFinite) && m.skip(s) {
		return norm, false, s.Err()
	}
	if err != nil {
		return norm, false, err
	}
	if m.scaler != nil {
		m.scaler.took()
	}
	if m.average != nil {
		err = m.average.follow(s, step)
	}
	return norm, true, err
}

// skip leaves a step that overflowed out, and reports whether a smaller scale is left to try.
func (m *model) skip(s *torch.Scope) bool {
	if m.scaler == nil || !m.scaler.skip() {
		return false
	}
	m.optimizer.ClearGradients(s)
	m.statistics.giveBack(s)
	return true
}

// batch takes a micro-batch and, with the last one of a step, the step.
func (r *run) batch(b *data.Batch) (stepped bool, err error) {
	if b.Part == 0 {
		r.tally = tally{}
	}
	if err := r.model.backward(b, r.loader.CropSize(), r.o.Accumulate, &r.tally); err != nil {
		return false, fmt.Errorf("step %d: %w", b.Step+1, err)
	}
	if !finite(r.tally.loss) {
		return false, r.diagnose("the loss is not finite", b.Step, r.tally, r.gradient(), r.schedule.At(b.Step))
	}
	if b.Part+1 < r.o.Accumulate {
		return false, nil
	}
	return true, r.step(b.Step)
}

// step judges the loss and takes the step.
func (r *run) step(at int) error {
	rate := r.schedule.At(at)
	if r.tally.overflowed {
		return r.overflowed(at, rate)
	}
	if reason := r.guard.judge(r.tally.loss); reason != "" {
		return r.diagnose(reason, at, r.tally, r.gradient(), rate)
	}
	norm, moved, err := r.model.move(at, rate)
	if errors.Is(err, optim.ErrNotFinite) {
		return r.diagnose("the gradient is not finite", at, r.tally, norm, rate)
	}
	if err != nil {
		return fmt.Errorf("step %d: %w", at+1, err)
	}
	r.last.Step, r.last.Loss = at+1, r.tally.loss
	r.norm, r.moved = norm, moved
	return nil
}

// overflowed goes on without a step of which there is no loss: that of the step before stays
// the last one.
func (r *run) overflowed(at int, rate float64) error {
	s := r.model.engine.NewScope()
	defer s.Close()
	if !r.model.skip(s) {
		return r.diagnose("the embeddings are not finite", at, r.tally, r.gradient(), rate)
	}
	r.tally = tally{}
	r.last.Step, r.moved = at+1, false
	return s.Err()
}

// gradient is the length of what has added up so far, without the loss scale.
func (r *run) gradient() float64 {
	m := r.model
	s := m.engine.NewScope()
	defer s.Close()
	norm := s.Norm(gradients(s, m.params()))
	if m.scaler != nil {
		norm /= m.scaler.Scale
	}
	return norm
}

// gradients are those that the trained ones among parameters have.
func gradients(s *torch.Scope, params []*layer.Param) []torch.Tensor {
	var list []torch.Tensor
	for _, p := range trained(params) {
		if g := p.Gradient(s); !g.IsNone() {
			list = append(list, g)
		}
	}
	return list
}
