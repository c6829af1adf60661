package ort

import (
	"fmt"
	"unsafe"

	yalue "github.com/yalue/onnxruntime_go"

	"facepipe/internal/onnx"
)

// pool is memory of the process that a session's device copies from and to by itself, without
// going through a buffer of the driver: pages that the system does not move.
type pool struct{ allocator uintptr }

// newPool is that of a session's device, by the runtime's name for it.
func newPool(session *yalue.DynamicAdvancedSession, name string, device int) (*pool, error) {
	const deviceAllocator, forOutputs = 0, -1
	var info, allocator uintptr
	text := append([]byte(name), 0)
	if err := api.check(api.memory(&text[0], deviceAllocator, int32(device), forOutputs, &info)); err != nil {
		return nil, err
	}
	defer api.freeMemory(info)
	if err := api.check(api.allocator(sessionOf(session), info, &allocator)); err != nil {
		return nil, err
	}
	return &pool{allocator}, nil
}

// take allocates zeros, to be given back by free.
func (p *pool) take(size int) (memory []byte, free func(), err error) {
	var at unsafe.Pointer
	if err := api.check(api.allocate(p.allocator, uintptr(size), &at)); err != nil {
		return nil, nil, err
	}
	memory = unsafe.Slice((*byte)(at), size)
	clear(memory)
	return memory, func() { api.free(p.allocator, at) }, nil
}

func (p *pool) close() {
	if p != nil {
		api.freeAllocator(p.allocator)
	}
}

// NewTensor makes a tensor of zeros for the session's inputs or outputs, of float32, float16 or
// uint8, in memory that its device copies fastest. Close it before the session.
func (s *Session) NewTensor(kind onnx.ElemType, dims ...int64) (*Tensor, error) {
	if s.pool == nil {
		return NewTensorOf(kind, dims...)
	}
	memory, free, err := s.pool.take(size(kind, dims))
	if err != nil {
		return nil, fmt.Errorf("make a tensor of shape %v: %s", dims, firstLine(err))
	}
	t, err := newTensor(kind, dims, memory)
	if err != nil {
		free()
		return nil, err
	}
	t.free = free
	return t, nil
}

// fastMemory opens the session's pool, and says why it has none if it should.
func (s *Session) fastMemory(o Options) {
	name := named(o.Provider).pinned
	if name == "" {
		return
	}
	pool, err := newPool(s.session, name, o.Device)
	if err != nil {
		s.slow = fmt.Sprintf("pixels are copied to %s by way of memory that the system may move, which is slower: %s", o.Provider, firstLine(err))
		return
	}
	s.pool = pool
}
