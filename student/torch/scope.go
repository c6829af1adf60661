package torch

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// Tensor is a handle to an array inside the engine. The zero Tensor stands for
// "none" where an operator takes an optional argument, and for the result of an
// operator that failed.
type Tensor struct{ handle uintptr }

// IsNone reports whether t is the zero Tensor.
func (t Tensor) IsNone() bool { return t.handle == 0 }

// Scope owns tensors and releases them together, and remembers the first error
// of the operators run in it.
type Scope struct {
	engine *Engine
	owned  []uintptr
	err    error
}

// NewScope opens an empty scope.
func (e *Engine) NewScope() *Scope { return &Scope{engine: e} }

// Engine is the engine whose tensors the scope owns.
func (s *Scope) Engine() *Engine { return s.engine }

// Close releases every tensor that the scope still owns. The scope can be used
// again afterwards, with its error forgotten.
func (s *Scope) Close() {
	for _, h := range s.owned {
		s.engine.api.release(h)
	}
	s.owned = s.owned[:0]
	s.err = nil
}

// Err is the first error of an operator in this scope, or nil.
func (s *Scope) Err() error { return s.err }

// Fail has the scope remember an error of who computes in it, as one of an operator.
func (s *Scope) Fail(what string, err error) { s.fail(what, err) }

// fail records the first error.
func (s *Scope) fail(what string, err error) {
	if s.err == nil && err != nil {
		s.err = fmt.Errorf("%s: %w", what, err)
	}
}

func (s *Scope) own(h uintptr) Tensor {
	s.owned = append(s.owned, h)
	return Tensor{h}
}

// Move hands a tensor over to another scope, which then releases it.
func (s *Scope) Move(t Tensor, to *Scope) Tensor {
	// Results are moved soon after they are made, so the search runs from the end.
	for i := len(s.owned) - 1; i >= 0; i-- {
		if s.owned[i] == t.handle {
			s.owned = append(s.owned[:i], s.owned[i+1:]...)
			return to.own(t.handle)
		}
	}
	s.fail("move", errors.New("the tensor does not belong to this scope"))
	return Tensor{}
}

// Inside runs f with a scope of its own, whose tensors are released afterwards, those that f
// moved aside. Its error becomes one of s.
func (s *Scope) Inside(f func(in *Scope)) {
	in := s.engine.NewScope()
	defer in.Close()
	in.err = s.err
	f(in)
	s.err = in.err
}

// FromData copies a dense row-major array into a new tensor on device ("cpu",
// "cuda:0"). len(data) must be the product of shape.
func FromData[T element](s *Scope, device string, data []T, shape ...int) Tensor {
	return s.upload(device, Tensor{}, ArrayOf(data, shape...))[0]
}

// FromDataLike is [FromData] on the device of another tensor.
func FromDataLike[T element](s *Scope, like Tensor, data []T, shape ...int) Tensor {
	return s.upload("", like, ArrayOf(data, shape...))[0]
}

// ToData copies t, of the element type T, to a new dense row-major slice. A device is waited for.
func ToData[T element](s *Scope, t Tensor) []T {
	data := room[T](s, t)
	if s.err == nil {
		s.fail("read a tensor", s.engine.check(s.engine.api.toData(t.handle,
			unsafe.Pointer(unsafe.SliceData(data)), int64(len(data)*dtypeOf[T]().Size()))))
	}
	return data
}

// room is for the values of t.
func room[T element](s *Scope, t Tensor) []T {
	dtype, shape := s.Info(t)
	if s.err != nil {
		return nil
	}
	if dtype != dtypeOf[T]() {
		s.fail("read a tensor", fmt.Errorf("it holds %v, not %v", dtype, dtypeOf[T]()))
		return nil
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	return make([]T, n)
}

// Floats copies t as float32, whatever floating-point type it holds.
func (s *Scope) Floats(t Tensor) []float32 {
	if dtype, _ := s.Info(t); dtype != Float32 {
		t = s.To(s.Detach(t), Float32)
	}
	return ToData[float32](s, t)
}

// Scalar is the value of a one-element floating-point tensor; NaN-safe.
func (s *Scope) Scalar(t Tensor) float64 {
	v := ToData[float64](s, s.To(s.Detach(t), Float64))
	if s.err == nil && len(v) != 1 {
		s.fail("read a scalar", fmt.Errorf("the tensor has %d elements", len(v)))
	}
	if s.err != nil {
		return 0
	}
	return v[0]
}

// maxDims bounds the number of dimensions of any tensor that pipe handles.
const maxDims = 8

// Info is the element type and the shape of t.
func (s *Scope) Info(t Tensor) (DType, []int) {
	if s.err != nil {
		return 0, nil
	}
	buf := make([]int64, 2+maxDims)
	err := s.engine.check(s.engine.api.info(t.handle, unsafe.Pointer(&buf[0]), unsafe.Pointer(&buf[1]), unsafe.Pointer(&buf[2]), maxDims))
	if err != nil {
		s.fail("describe a tensor", err)
		return 0, nil
	}
	shape := make([]int, buf[1])
	for i := range shape {
		shape[i] = int(buf[2+i])
	}
	return DType(buf[0]), shape
}

// Shape is the shape of t.
func (s *Scope) Shape(t Tensor) []int {
	_, shape := s.Info(t)
	return shape
}

// DType is the element type of t.
func (s *Scope) DType(t Tensor) DType {
	dtype, _ := s.Info(t)
	return dtype
}

// RequireGrad makes a leaf tensor collect gradients (or stop doing so).
func (s *Scope) RequireGrad(t Tensor, on bool) {
	if s.err != nil {
		return
	}
	var flag int32
	if on {
		flag = 1
	}
	s.fail("require a gradient", s.engine.check(s.engine.api.setRequireGrad(t.handle, flag)))
}

// Backward runs autograd from a scalar; gradients add up in the leaves.
func (s *Scope) Backward(loss Tensor) {
	if s.err != nil {
		return
	}
	s.fail("backward", s.engine.check(s.engine.api.backward(loss.handle)))
}

// Grad is the gradient of a leaf, or the zero Tensor when it has none.
func (s *Scope) Grad(t Tensor) Tensor {
	if s.err != nil {
		return Tensor{}
	}
	out := new(uintptr)
	if err := s.engine.check(s.engine.api.grad(t.handle, unsafe.Pointer(out))); err != nil {
		s.fail("gradient", err)
	}
	if *out == 0 {
		return Tensor{}
	}
	return s.own(*out)
}

// ClearGrad drops the gradient of a leaf.
func (s *Scope) ClearGrad(t Tensor) {
	if s.err != nil {
		return
	}
	s.fail("clear a gradient", s.engine.check(s.engine.api.clearGrad(t.handle)))
}

// value is one argument of an operator; the layout is pipe_value's.
type value struct {
	tag int64
	i   int64
	d   float64
	p   unsafe.Pointer
}

const (
	tagNone = iota
	tagTensor
	tagInt
	tagDouble
	tagBool
	tagIntList
	tagTensorList
)

// argument converts a Go value to what the engine takes.
func argument(a any) (value, error) {
	switch a := a.(type) {
	case nil:
		return value{tag: tagNone}, nil
	case Tensor:
		if a.IsNone() {
			return value{tag: tagNone}, nil
		}
		return value{tag: tagTensor, p: foreign(a.handle)}, nil
	case []Tensor:
		return value{tag: tagTensorList, i: int64(len(a)), p: unsafe.Pointer(unsafe.SliceData(a))}, nil
	case int:
		return value{tag: tagInt, i: int64(a)}, nil
	case DType:
		return value{tag: tagInt, i: int64(a)}, nil
	case float64:
		return value{tag: tagDouble, d: a}, nil
	case bool:
		v := value{tag: tagBool}
		if a {
			v.i = 1
		}
		return v, nil
	case []int:
		wide := make([]int64, len(a))
		for i, x := range a {
			wide[i] = int64(x)
		}
		return value{tag: tagIntList, i: int64(len(a)), p: unsafe.Pointer(unsafe.SliceData(wide))}, nil
	}
	return value{}, fmt.Errorf("argument of type %T", a)
}

// foreign makes a pointer of an address that the C++ heap owns. The collector
// ignores such addresses; going through memory keeps vet's rule for Go pointers
// out of the way.
func foreign(h uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&h)) }

// call runs an operator with at most room results and owns them. After an error
// it does nothing and returns nil.
func (s *Scope) call(room int, name, overload string, args ...any) []Tensor {
	if s.err != nil {
		return nil
	}
	op, err := s.engine.op(name, overload)
	if err != nil {
		s.fail(name, err)
		return nil
	}
	values := make([]value, len(args)+1) // one spare, so that no arguments have an address too
	for i, a := range args {
		if values[i], err = argument(a); err != nil {
			s.fail(name, err)
			return nil
		}
	}
	out := make([]uintptr, room+1)
	n := new(int64)
	err = s.engine.check(s.engine.api.call(op, unsafe.Pointer(&values[0]), int64(len(args)),
		unsafe.Pointer(&out[0]), int64(room), unsafe.Pointer(n)))
	runtime.KeepAlive(values)
	if err != nil {
		s.fail(name, err)
		return nil
	}
	results := make([]Tensor, *n)
	for i := range results {
		results[i] = s.own(out[i])
	}
	return results
}

// one runs an operator with a single result.
func (s *Scope) one(name, overload string, args ...any) Tensor {
	r := s.call(1, name, overload, args...)
	if s.err != nil {
		return Tensor{}
	}
	return r[0]
}
