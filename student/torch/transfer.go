package torch

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// Array is a dense row-major array of this process's memory.
type Array struct {
	data  unsafe.Pointer
	shape []int64
	dtype DType
	err   error
}

// ArrayOf is data in a shape, whose product must be len(data).
func ArrayOf[T element](data []T, shape ...int) Array {
	a := Array{data: unsafe.Pointer(unsafe.SliceData(data)), shape: make([]int64, len(shape)+1), dtype: dtypeOf[T]()} // one spare, so that a scalar has an address too
	n := 1
	for i, d := range shape {
		n *= d
		a.shape[i] = int64(d)
	}
	if a.shape = a.shape[:len(shape)]; n != len(data) {
		a.err = fmt.Errorf("%d values for shape %v", len(data), shape)
	}
	return a
}

// Upload copies arrays into new tensors on the device of another one. They go there together, and
// nobody waits for them.
func (s *Scope) Upload(like Tensor, arrays ...Array) []Tensor { return s.upload("", like, arrays...) }

// UploadTo is Upload to a device by its name.
func (s *Scope) UploadTo(device string, arrays ...Array) []Tensor {
	return s.upload(device, Tensor{}, arrays...)
}

// upload is Upload to the device of like or, where that is none, to the one with a name.
func (s *Scope) upload(device string, like Tensor, arrays ...Array) []Tensor {
	type array struct { // pipe_array
		data, shape unsafe.Pointer
		dtype, ndim int64
	}
	tensors, all := make([]Tensor, len(arrays)), make([]array, len(arrays))
	for i, a := range arrays {
		s.fail("make a tensor", a.err)
		all[i] = array{a.data, unsafe.Pointer(unsafe.SliceData(a.shape)), int64(a.dtype), int64(len(a.shape))}
	}
	if device == "" && like.IsNone() {
		s.fail("make a tensor", errors.New("there is no tensor to make one like"))
	}
	if s.err != nil || len(arrays) == 0 {
		return tensors
	}
	out := make([]uintptr, len(arrays))
	err := s.engine.check(s.engine.api.fromData(unsafe.Pointer(&all[0]), int64(len(all)), device, like.handle, unsafe.Pointer(&out[0])))
	runtime.KeepAlive(arrays)
	if err != nil {
		s.fail("make a tensor", err)
		return tensors
	}
	for i, h := range out {
		tensors[i] = s.own(h)
	}
	return tensors
}

// Fetch is the values of a tensor on their way from a device.
type Fetch struct {
	handle uintptr
	data   []float64
}

// Fetch begins to copy a tensor of float64. [Scope.Fetched] ends it.
func (s *Scope) Fetch(t Tensor) *Fetch {
	f := &Fetch{data: room[float64](s, t)}
	if s.err == nil {
		handle := new(uintptr)
		s.fail("read a tensor", s.engine.check(s.engine.api.fetch(t.handle, unsafe.Pointer(handle))))
		f.handle = *handle
	}
	return f
}

// Fetched waits for the values, and not for what a device was given since. It can be called once.
func (s *Scope) Fetched(f *Fetch) []float64 {
	if f.handle == 0 {
		s.fail("read a tensor", errors.New("nothing was begun"))
		return nil
	}
	s.fail("read a tensor", s.engine.check(s.engine.api.fetched(f.handle, unsafe.Pointer(unsafe.SliceData(f.data)), int64(8*len(f.data)))))
	f.handle = 0
	return f.data
}
