package torch

import (
	"errors"
	"unsafe"
)

// Slot is memory that is filled with a batch, and the same bytes on a device. It goes through its
// states in turn: it is written, sent, read by way of [Scope.View], and done with. Any goroutine may
// take it to the next one, one at a time; views are for the one that computes. See engine/slots.cc.
type Slot struct {
	engine *Engine
	handle uintptr
	bytes  int
}

// NewSlot makes a slot of so many bytes for a device.
func (e *Engine) NewSlot(device string, bytes int) (*Slot, error) {
	handle := new(uintptr)
	if err := e.check(e.api.slotCreate(int64(bytes), device, unsafe.Pointer(handle))); err != nil {
		return nil, err
	}
	return &Slot{engine: e, handle: *handle, bytes: bytes}, nil
}

// Memory is what may be written until the slot is sent. It waits until what was sent before has
// been copied, and is an error until that is done with. The memory may be another each time.
func (s *Slot) Memory() ([]byte, error) {
	at := new(unsafe.Pointer)
	if err := s.engine.check(s.engine.api.slotMemory(s.handle, unsafe.Pointer(at))); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(*at), s.bytes), nil
}

// Send begins to copy the slot to its device, and waits for nothing.
func (s *Slot) Send() error { return s.engine.check(s.engine.api.slotSend(s.handle)) }

// Done says that the device has been given all that it is to compute of what was sent. Views that
// are not released by then keep what they show.
func (s *Slot) Done() error { return s.engine.check(s.engine.api.slotDone(s.handle)) }

// Close releases the slot.
func (s *Slot) Close() {
	s.engine.api.slotDestroy(s.handle)
	s.handle = 0
}

// View is the array of a slot that begins at a byte, a multiple of the size of its elements: on the
// processor the slot's own memory, on a device its copy.
func (s *Scope) View(slot *Slot, dtype DType, from int, shape ...int) Tensor {
	if s.err != nil {
		return Tensor{}
	}
	if dtype.Size() == 0 || from%dtype.Size() != 0 {
		s.fail("view a slot", errors.New("an array that does not begin at a multiple of its elements' size"))
		return Tensor{}
	}
	dims := make([]int64, len(shape)+1) // one spare, so that a scalar has an address too
	for i, d := range shape {
		dims[i] = int64(d)
	}
	out := new(uintptr)
	if err := s.engine.check(s.engine.api.slotView(slot.handle, int64(dtype), int64(from), unsafe.Pointer(&dims[0]), int64(len(shape)), unsafe.Pointer(out))); err != nil {
		s.fail("view a slot", err)
		return Tensor{}
	}
	return s.own(*out)
}
