package student

import (
	"errors"
	"fmt"
	"math"

	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// tally is what the micro-batches of one step add up to: the mean of their losses (float64), the
// parts of each, and the rows of all of them. What is in the engine is there until the backward pass
// of the next step begins.
type tally struct {
	loss  torch.Tensor
	parts []loss.Parts
	rows  []int64
	// overflowed is whether an embedding was not finite, in half precision: then there is
	// no loss.
	overflowed bool
}

// add takes in one of so many micro-batches, and keeps what it adds up to.
func (t *tally) add(s, kept *torch.Scope, value torch.Tensor, parts loss.Parts, rows []int64, of int) {
	share := s.DivScalar(s.To(s.Detach(value), torch.Float64), float64(of))
	if !t.loss.IsNone() {
		share = s.Add(t.loss, share)
	}
	if parts.Move(s, kept); s.Err() == nil {
		t.loss = s.Move(share, kept)
	}
	t.parts = append(t.parts, parts)
	t.rows = append(t.rows, rows...)
}

// forward runs one of the micro-batches of a step forward. Norms see one after the other.
func (m *model) forward(s *torch.Scope, b *data.Batch, size int) loss.Batch {
	if m.statistics != nil && b.Part == 0 {
		m.statistics.keep(s)
	}
	return m.world.gather(s, m.input(s, b, size))
}

// backward runs one of so many micro-batches backward. Gradients add up in the parameters, each
// with its fraction of the step, so that their sum is that of the mean loss. The loss remembers
// (memory bank, running statistics) one micro-batch after the other.
func (m *model) backward(s *torch.Scope, in loss.Batch, part, of int, t *tally) error {
	if m.overflows(s, in.Student) {
		t.overflowed = true
	}
	if t.overflowed {
		t.rows = append(t.rows, in.Samples...)
		return s.Err()
	}
	value, parts := m.loss.Step(s, in)
	last := part+1 == of
	if last {
		m.world.expect(s)
	}
	s.Backward(m.scaledLoss(s, value, of))
	if last {
		m.world.collect(s)
	}
	t.add(s, m.figures, value, parts, in.Samples, of)
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
	m.targets.of(s, m.device, b, y, &in)
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

// launch gives the device the optimizer's step with the gradients that have added up, which it
// takes unless the loss is above limit, or it or the gradient not finite. It returns what comes of
// it: the loss, the length of the gradient, whether the step was taken, and the figures.
func (m *model) launch(s *torch.Scope, t *tally, limit, rate float64) (*torch.Fetch, error) {
	if m.scaler != nil {
		m.scaler.unscale(s, m.params())
	}
	report, err := m.optimizer.Step(s, torch.Terms{Loss: t.loss, Limit: limit}, rate)
	if err != nil {
		return nil, err
	}
	if waiting := loss.Waiting(t.parts); len(waiting) > 0 {
		report = s.Concat([]torch.Tensor{report, s.Stack(waiting)}, 0)
	}
	values := s.Fetch(report)
	return values, s.Err()
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

// batch takes a micro-batch and, with the last one of a step, the step. The step before is judged
// once the device has the forward pass of this one to go on with.
func (r *run) batch(b *data.Batch) (stepped bool, err error) {
	m := r.model
	before := m.engine.BlockingCalls()
	defer func() { r.blocked += m.engine.BlockingCalls() - before }()
	s := m.engine.NewScope()
	defer s.Close()
	in := m.forward(s, b, r.loader.CropSize())
	if b.Part == 0 {
		if err := r.settle(); err != nil {
			return false, err
		}
		m.figures.Close()
		r.tally = tally{}
	}
	if err := m.backward(s, in, b.Part, r.o.Accumulate, &r.tally); err != nil {
		return false, fmt.Errorf("step %d: %w", b.Step+1, err)
	}
	if b.Part+1 < r.o.Accumulate {
		return false, nil
	}
	if err := r.step(s, b.Step); err != nil {
		return false, err
	}
	return true, nil
}

// flight is a step that the device was given and nobody has judged.
type flight struct {
	at     int
	rate   float64
	tally  tally
	values *torch.Fetch // see launch
}

// step has the device take the step.
func (r *run) step(s *torch.Scope, at int) error {
	m, rate := r.model, r.schedule.At(at)
	if r.tally.overflowed {
		return r.overflowed(s, at, rate)
	}
	values, err := m.launch(s, &r.tally, r.guard.most(), rate)
	if err != nil {
		return fmt.Errorf("step %d: %w", at+1, err)
	}
	r.last.Step = at + 1
	r.flight = &flight{at, rate, r.tally, values}
	if m.scaler != nil { // the next forward pass depends on whether there was a step
		if err := r.settle(); err != nil || !r.moved {
			return err
		}
	}
	if m.average != nil {
		err = m.average.follow(s, at)
	}
	return err
}

// settle waits for the step in flight, if there is one, judges it and tells of it. The device goes
// on with what it was given since. A gradient that is not finite has moved nothing: with a loss
// scale the step is skipped, leaves the running statistics as they were, and the next one has a
// smaller scale; otherwise the run has diverged, as with a loss that is not finite or far too large.
func (r *run) settle() error {
	f, m := r.flight, r.model
	if f == nil {
		return nil
	}
	r.flight = nil
	s := m.engine.NewScope()
	defer s.Close()
	v := s.Fetched(f.values)
	if err := s.Err(); err != nil {
		return fmt.Errorf("step %d: %w", f.at+1, err)
	}
	o := outcome{at: f.at, rate: f.rate, rows: f.tally.rows, loss: v[0], gradient: v[1], parts: loss.MeansOf(f.tally.parts, v[3:])}
	if reason := r.guard.judge(o.loss); reason != "" {
		return r.diagnose(reason, o)
	}
	r.moved = v[2] != 0
	switch {
	case !r.moved && !m.skip(s):
		return r.diagnose("the gradient is not finite", o)
	case r.moved && m.scaler != nil:
		m.scaler.took()
	}
	m.optimizer.ClearGradients(s)
	r.last.Loss = o.loss
	return errors.Join(s.Err(), r.tell(o))
}

// outcome is what came of a step.
type outcome struct {
	at             int
	rate           float64
	rows           []int64
	loss, gradient float64
	parts          map[string]float64
}

// overflowed goes on without a step of which there is no loss: that of the step before stays
// the last one.
func (r *run) overflowed(s *torch.Scope, at int, rate float64) error {
	o := outcome{at: at, rate: rate, rows: r.tally.rows, loss: math.NaN(), gradient: math.NaN()}
	if !r.model.skip(s) {
		o.gradient, o.parts = r.gradient(), loss.Means(s, r.tally.parts)
		return r.diagnose("the embeddings are not finite", o)
	}
	r.last.Step, r.moved = at+1, false
	return errors.Join(s.Err(), r.tell(o))
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
