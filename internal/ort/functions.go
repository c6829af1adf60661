package ort

import (
	"errors"
	"reflect"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	yalue "github.com/yalue/onnxruntime_go"

	"facepipe/internal/onnx"
)

// functions is the runtime's table, of version [apiVersion]. It has what the binding leaves out.
// A function keeps its place for ever.
type functions [placesKnown]uintptr

// Places in the table.
const (
	errorMessage     = 2
	sessionRun       = 9
	tensorData       = 51
	shapeDimensions  = 61 // their number
	shapeSizes       = 62
	createMemoryInfo = 68
	allocate         = 75
	deallocate       = 76
	releaseMemory    = 94
	createAllocator  = 131
	releaseAllocator = 132
	tensorShape      = 65
	releaseStatus    = 93
	releaseValue     = 96
	releaseShape     = 99
	sessionSubgraphs = 407 // that providers were given
	subgraphProvider = 408
	subgraphNodes    = 409
	nodeOperator     = 412
	placesKnown      = 413
)

// calls are functions of the table, as Go calls them. What they return is a status, 0 if all is
// well.
type calls struct {
	message   func(status uintptr) *byte
	release   func(status uintptr)
	run       func(session, options uintptr, inNames **byte, ins *uintptr, nIn uintptr, outNames **byte, nOut uintptr, outs *uintptr) uintptr
	data      func(value uintptr, data *unsafe.Pointer) uintptr
	shape     func(value uintptr, shape *uintptr) uintptr
	dims      func(shape uintptr, n *uintptr) uintptr
	sizes     func(shape uintptr, sizes *int64, n uintptr) uintptr
	freeValue func(value uintptr)
	freeShape func(shape uintptr)

	memory        func(name *byte, kind, device, use int32, info *uintptr) uintptr
	freeMemory    func(info uintptr)
	allocator     func(session, info uintptr, allocator *uintptr) uintptr
	freeAllocator func(allocator uintptr)
	allocate      func(allocator, size uintptr, at *unsafe.Pointer) uintptr
	free          func(allocator uintptr, at unsafe.Pointer) uintptr
}

func (f *functions) calls() *calls {
	c := &calls{}
	for place, to := range map[int]any{
		errorMessage: &c.message, releaseStatus: &c.release, sessionRun: &c.run, tensorData: &c.data, tensorShape: &c.shape,
		shapeDimensions: &c.dims, shapeSizes: &c.sizes, releaseValue: &c.freeValue, releaseShape: &c.freeShape,
		createMemoryInfo: &c.memory, releaseMemory: &c.freeMemory, createAllocator: &c.allocator, releaseAllocator: &c.freeAllocator,
		allocate: &c.allocate, deallocate: &c.free,
	} {
		purego.RegisterFunc(to, f[place])
	}
	return c
}

// check makes a Go error of a status, and releases it.
func (c *calls) check(status uintptr) error {
	if status == 0 {
		return nil
	}
	defer c.release(status)
	return errors.New(unix.BytePtrToString(c.message(status)))
}

// sessionOf is the runtime's own session, which the binding keeps to itself.
func sessionOf(s *yalue.DynamicAdvancedSession) uintptr {
	return reflect.ValueOf(s).Elem().FieldByName("s").Elem().FieldByName("ortSession").Pointer()
}

// valueOf is the runtime's own value.
func valueOf(v yalue.Value) uintptr {
	return reflect.ValueOf(v.GetInternals()).Elem().FieldByName("ortValue").Pointer()
}

// runAllocating is [Session.Run], with outputs that are nil allocated here: of float16 the
// binding would copy half.
func (s *Session) runAllocating(inputs, outputs []*Tensor) error {
	c := api
	ins, outs := make([]uintptr, len(inputs)), make([]uintptr, len(outputs))
	for i, t := range inputs {
		ins[i] = valueOf(t.value)
	}
	for i, t := range outputs {
		if t != nil {
			outs[i] = valueOf(t.value)
		}
	}
	inNames, outNames := cNames(s.inputs), cNames(s.outputs)
	err := c.check(c.run(sessionOf(s.session), 0, &inNames[0], &ins[0], uintptr(len(ins)), &outNames[0], uintptr(len(outs)), &outs[0]))
	runtime.KeepAlive(inputs)
	runtime.KeepAlive(outputs)
	if err != nil {
		return err
	}
	var failed error
	for i, t := range outputs {
		if t != nil {
			continue
		}
		if failed == nil {
			outputs[i], failed = c.copied(outs[i], s.outputs[i].Type)
		}
		c.freeValue(outs[i])
	}
	return failed
}

// copied makes a tensor of a value of the runtime, which is on the processor.
func (c *calls) copied(value uintptr, kind onnx.ElemType) (*Tensor, error) {
	var shape, n uintptr
	if err := c.check(c.shape(value, &shape)); err != nil {
		return nil, err
	}
	defer c.freeShape(shape)
	if err := c.check(c.dims(shape, &n)); err != nil {
		return nil, err
	}
	dims := make([]int64, n+1) // one spare, so that a scalar's have an address too
	var data unsafe.Pointer
	if err := errors.Join(c.check(c.sizes(shape, &dims[0], n)), c.check(c.data(value, &data))); err != nil {
		return nil, err
	}
	t, err := newTensor(kind, dims[:n], nil)
	if err == nil {
		copy(t.bytes, unsafe.Slice((*byte)(data), len(t.bytes)))
	}
	return t, err
}

func cNames(list []Info) []*byte {
	out := make([]*byte, len(list))
	for i, v := range list {
		out[i] = unsafe.SliceData(append([]byte(v.Name), 0))
	}
	return out
}
