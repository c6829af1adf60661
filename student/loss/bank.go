package loss

import (
	"fmt"

	"facepipe/student/torch"
)

// bank is a ring of the embeddings of earlier batches. Vectors live in the
// engine, and what mining decides by lives here and there.
type bank struct {
	capacity, dim int
	filled, next  int
	sample        []int64
	label         []int32
	step          []int64

	scope            *torch.Scope
	teacher, student torch.Tensor // capacity×d unit vectors; student only if kept
	keepStudent      bool

	// What is searched, see search.go: the vectors again, in bfloat16 where that is
	// faster, and a column of sample, label and step each (int64).
	searched               map[torch.Tensor]torch.Tensor
	samples, labels, steps torch.Tensor
}

func newBank(capacity, dim int, keepStudent bool) *bank {
	return &bank{
		capacity: capacity, dim: dim, keepStudent: keepStudent,
		sample: make([]int64, capacity), label: make([]int32, capacity), step: make([]int64, capacity),
	}
}

// allocate makes the vectors on the device of like.
func (b *bank) allocate(s *torch.Scope, like torch.Tensor) {
	if b.scope != nil || b.capacity == 0 {
		return
	}
	b.scope = s.Engine().NewScope()
	b.teacher = b.zeros(s, like)
	if b.keepStudent {
		b.student = b.zeros(s, like)
	}
	b.makeSearchable(s)
}

func (b *bank) zeros(s *torch.Scope, like torch.Tensor) torch.Tensor {
	data := make([]float32, b.capacity*b.dim)
	return s.Move(s.ToDeviceOf(torch.FromData(s, "cpu", data, b.capacity, b.dim), like), b.scope)
}

// push writes a batch over the oldest entries.
func (b *bank) push(s *torch.Scope, p pair, step int) {
	if b.capacity == 0 || s.Err() != nil {
		return
	}
	b.allocate(s, p.student)
	first := max(0, len(p.samples)-b.capacity) // of a batch larger than the bank the end stays
	for from := first; from < len(p.samples); {
		n := min(len(p.samples)-from, b.capacity-b.next)
		s.Engine().NoGrad(func() {
			s.CopyRows(b.teacher, b.next, s.Slice(p.teacher, 0, from, from+n))
			if b.keepStudent {
				s.CopyRows(b.student, b.next, s.Detach(s.Slice(p.student, 0, from, from+n)))
			}
		})
		for k := range n {
			b.sample[b.next+k], b.label[b.next+k], b.step[b.next+k] = p.samples[from+k], p.labels[from+k], int64(step)
		}
		b.refresh(s, b.next, b.next+n)
		from += n
		b.next = (b.next + n) % b.capacity
		b.filled = min(b.capacity, b.filled+n)
	}
}

func (b *bank) state(s *torch.Scope, st State) {
	if b.capacity == 0 {
		return
	}
	labels := make([]int64, b.capacity)
	for i, v := range b.label {
		labels[i] = int64(v)
	}
	n := []int{b.capacity}
	st["bank.ring"] = Array{Shape: []int{2}, Int64: []int64{int64(b.filled), int64(b.next)}}
	st["bank.sample"] = Array{Shape: n, Int64: append([]int64{}, b.sample...)}
	st["bank.label"] = Array{Shape: n, Int64: labels}
	st["bank.step"] = Array{Shape: n, Int64: append([]int64{}, b.step...)}
	if b.filled == 0 {
		return
	}
	shape := []int{b.capacity, b.dim}
	st["bank.teacher"] = Array{Shape: shape, Float32: s.Floats(b.teacher)}
	if b.keepStudent {
		st["bank.student"] = Array{Shape: shape, Float32: s.Floats(b.student)}
	}
}

func (b *bank) restore(s *torch.Scope, device string, st State) error {
	if b.capacity == 0 {
		return nil
	}
	ring, err := st.take("bank.ring", 2)
	if err != nil {
		return err
	}
	filled, next := int(ring.Int64[0]), int(ring.Int64[1])
	if filled < 0 || filled > b.capacity || next < 0 || next >= b.capacity {
		return fmt.Errorf("loss state bank.ring is out of range: %d filled, next %d of %d", filled, next, b.capacity)
	}
	for name, into := range map[string][]int64{"bank.sample": b.sample, "bank.step": b.step} {
		a, err := st.take(name, b.capacity)
		if err != nil {
			return err
		}
		copy(into, a.Int64)
	}
	labels, err := st.take("bank.label", b.capacity)
	if err != nil {
		return err
	}
	for i, v := range labels.Int64 {
		b.label[i] = int32(v)
	}
	b.filled, b.next = filled, next
	if filled == 0 {
		return nil
	}
	b.scope = s.Engine().NewScope()
	if b.teacher, err = b.load(st, "bank.teacher", device); err == nil && b.keepStudent {
		b.student, err = b.load(st, "bank.student", device)
	}
	if err != nil {
		return err
	}
	b.makeSearchable(s)
	b.refresh(s, 0, b.filled)
	return s.Err()
}

func (b *bank) load(st State, name, device string) (torch.Tensor, error) {
	a, err := st.take(name, b.capacity*b.dim)
	if err != nil {
		return torch.Tensor{}, err
	}
	t := torch.FromData(b.scope, device, a.Float32, b.capacity, b.dim)
	return t, b.scope.Err()
}
