package data

import "unsafe"

// Slot is memory for a batch that somebody computes with, maybe on a device: it is written, sent
// there, read, and done with, in turn.
type Slot interface {
	// Memory may be written until Send; it may be another each time. It waits for as long as what
	// was sent before is being copied.
	Memory() ([]byte, error)
	// Send begins to copy what was written, and waits for nothing.
	Send() error
	// Done says that whoever reads what was sent has all that he needs of it.
	Done() error
	Close()
}

// plain is a slot in this process's memory alone.
type plain []byte

func newPlain(bytes int) (Slot, error) {
	words := make([]int64, (bytes+7)/8) // which aligns it for all
	return plain(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), bytes)), nil
}

func (p plain) Memory() ([]byte, error) { return p, nil }
func (plain) Send() error               { return nil }
func (plain) Done() error               { return nil }
func (plain) Close()                    {}

// Layout is where the parts of a batch of N crops begin in its slot, in bytes.
type Layout struct {
	N int
	// Pixels are uint8, Mirrored too, Rows int64, Labels int32.
	Pixels, Mirrored, Rows, Labels int
	// Teachers are float32, N×dim of each teacher.
	Teachers []int
	dims     []int
	area     int // bytes of a crop
	bytes    int // of all
}

// newLayout lays out n crops of a side, with embeddings of some sizes.
func newLayout(n, side int, dims []int) Layout {
	l := Layout{N: n, dims: dims, area: side * side * 3}
	next := func(bytes int) (begins int) {
		const alignment = 64 // of parts, for devices and for types of elements
		begins = l.bytes
		l.bytes += (bytes + alignment - 1) / alignment * alignment
		return begins
	}
	l.Pixels, l.Mirrored, l.Rows, l.Labels = next(n*l.area), next(n), next(8*n), next(4*n)
	for _, dim := range dims {
		l.Teachers = append(l.Teachers, next(4*n*dim))
	}
	return l
}

// in makes b the batch that lies in memory.
func (l *Layout) in(memory []byte, b *Batch) {
	b.Pixels, b.Mirrored = memory[l.Pixels:][:l.N*l.area], memory[l.Mirrored:][:l.N]
	b.Rows, b.Labels = array[int64](memory[l.Rows:], l.N), array[int32](memory[l.Labels:], l.N)
	b.Teachers = b.Teachers[:0]
	for k, at := range l.Teachers {
		b.Teachers = append(b.Teachers, array[float32](memory[at:], l.N*l.dims[k]))
	}
}

// array is memory as n elements.
func array[T int32 | int64 | float32](memory []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(memory))), n)
}
