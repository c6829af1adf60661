package loss

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

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
	mirrored      []bool
	// place is where each image stands, nil where one may stand there several times.
	place map[image]int
	// own are the entries of each identity, of which there may be most; nil where there may be
	// any number.
	own  owned
	most int

	scope            *torch.Scope
	teacher, student torch.Tensor // capacity×d unit vectors; student only if kept
	keepStudent      bool

	// What is searched, see search.go: the vectors again, in bfloat16 where that is
	// faster and closely does not rule it out, and a column of sample, label and step
	// each (int64).
	closely  bool
	searched map[torch.Tensor]torch.Tensor
	columns  columns
}

// image is what an embedding is of: a sample or its mirror image.
type image struct {
	sample   int64
	mirrored bool
}

func newBank(capacity, dim int, keepStudent bool) *bank {
	return &bank{
		capacity: capacity, dim: dim, keepStudent: keepStudent,
		sample: make([]int64, capacity), label: make([]int32, capacity), step: make([]int64, capacity),
		mirrored: make([]bool, capacity),
	}
}

// replacing has an image that comes again replace its entry.
func (b *bank) replacing() *bank {
	b.place = make(map[image]int, b.capacity)
	return b
}

// limiting has an identity with most entries give up its oldest one for a new one.
func (b *bank) limiting(most int) *bank {
	b.own, b.most = owned{}, most
	return b.replacing()
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
	return s.Move(torch.FromDataLike(s, like, data, b.capacity, b.dim), b.scope)
}

// push writes a batch over the oldest entries, or each image over its own one.
func (b *bank) push(s *torch.Scope, p pair, step int) {
	if b.capacity == 0 || s.Err() != nil {
		return
	}
	b.allocate(s, p.student)
	first := 0
	if b.place == nil {
		first = max(0, len(p.samples)-b.capacity) // of a batch larger than the bank the end stays
	}
	writes := map[int]int{} // rows of the batch by their entries; of several for one the last stays
	for row := first; row < len(p.samples); row++ {
		sample := p.samples[row]
		of := image{sample, p.isMirrored(row)}
		entry := b.entry(of, p.labels[row])
		writes[entry] = row
		b.sample[entry], b.label[entry], b.step[entry], b.mirrored[entry] = sample, p.labels[row], int64(step), of.mirrored
	}
	var entries, rows []int64
	for _, entry := range slices.Sorted(maps.Keys(writes)) {
		entries, rows = append(entries, int64(entry)), append(rows, int64(writes[entry]))
	}
	up := s.Upload(b.teacher, append(b.numbers(entries), torch.ArrayOf(rows, len(rows)))...)
	at, from := up[0], up[4]
	s.Engine().NoGrad(func() {
		s.SetRows(b.teacher, at, s.ToLike(s.Rows(p.teacher, from), b.teacher))
		if b.keepStudent {
			s.SetRows(b.student, at, s.ToLike(s.Detach(s.Rows(p.student, from)), b.student))
		}
	})
	b.refresh(s, at, up[1:4])
}

// entry is where an image of an identity is to be written: over its own entry, if there is one
// and the bank replaces them, over the identity's oldest, if it has as many as it may, or over
// the oldest.
func (b *bank) entry(of image, label int32) int {
	if entry, ok := b.place[of]; ok {
		return entry
	}
	entry, taken := b.oldest(label), true
	if entry < 0 {
		entry, taken = b.next, b.filled == b.capacity
		b.next = (entry + 1) % b.capacity
		b.filled = min(b.capacity, b.filled+1)
	}
	if taken {
		delete(b.place, image{b.sample[entry], b.mirrored[entry]})
		b.own.remove(b.label[entry], entry)
	}
	if b.place != nil {
		b.place[of] = entry
	}
	b.own.add(label, entry)
	return entry
}

// oldest is the oldest entry of an identity that has as many as it may, -1 of another. Of
// several of one step it is that with the smallest number.
func (b *bank) oldest(label int32) int {
	own := b.own[label]
	if b.own == nil || len(own) < b.most {
		return -1
	}
	return slices.MinFunc(own, func(x, y int) int { return cmp.Compare(b.step[x], b.step[y]) })
}

// owned are the entries of each identity, smaller numbers first. A nil one holds none.
type owned map[int32][]int

func (o owned) add(label int32, entry int) {
	if o == nil {
		return
	}
	at, _ := slices.BinarySearch(o[label], entry)
	o[label] = slices.Insert(o[label], at, entry)
}

func (o owned) remove(label int32, entry int) {
	at, found := slices.BinarySearch(o[label], entry)
	if !found {
		return
	}
	if o[label] = slices.Delete(o[label], at, at+1); len(o[label]) == 0 {
		delete(o, label)
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
	if b.place != nil && slices.Contains(b.mirrored, true) { // without the array none is
		mirrored := make([]int64, b.capacity)
		for i, m := range b.mirrored {
			if m {
				mirrored[i] = 1
			}
		}
		st["bank.mirrored"] = Array{Shape: n, Int64: mirrored}
	}
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
	if err := b.restorePlaces(st); err != nil || filled == 0 {
		return err
	}
	b.scope = s.Engine().NewScope()
	if b.teacher, err = b.load(st, "bank.teacher", device); err == nil && b.keepStudent {
		b.student, err = b.load(st, "bank.student", device)
	}
	if err != nil {
		return err
	}
	b.makeSearchable(s)
	entries := make([]int64, b.filled)
	for i := range entries {
		entries[i] = int64(i)
	}
	up := s.Upload(b.teacher, b.numbers(entries)...)
	b.refresh(s, up[0], up[1:])
	return s.Err()
}

// restorePlaces takes back where each image stands, and the entries of each identity.
func (b *bank) restorePlaces(st State) error {
	if b.place == nil {
		return nil
	}
	if _, ok := st["bank.mirrored"]; ok {
		a, err := st.take("bank.mirrored", b.capacity)
		if err != nil {
			return err
		}
		for i, m := range a.Int64 {
			b.mirrored[i] = m != 0
		}
	}
	for i := range b.filled {
		b.place[image{b.sample[i], b.mirrored[i]}] = i
		b.own.add(b.label[i], i)
	}
	return nil
}

func (b *bank) load(st State, name, device string) (torch.Tensor, error) {
	a, err := st.take(name, b.capacity*b.dim)
	if err != nil {
		return torch.Tensor{}, err
	}
	t := torch.FromData(b.scope, device, a.Float32, b.capacity, b.dim)
	return t, b.scope.Err()
}
