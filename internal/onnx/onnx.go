// Package onnx reads and writes the part of ONNX model files that pipe needs: the graph's
// nodes, inputs, outputs, initializers and the metadata. Files are protocol buffers
// (onnx.proto of the ONNX standard), which are read without generated code or a schema
// compiler.
//
// A [Model] that was read holds slices of the bytes that it was read from.
package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"facepipe/internal/half"
)

// ElemType is the element type of a tensor, numbered as in the standard.
type ElemType int32

// The element types that pipe uses.
const (
	Float32  ElemType = 1
	Uint8    ElemType = 2
	Int8     ElemType = 3
	Uint16   ElemType = 4
	Int16    ElemType = 5
	Int32    ElemType = 6
	Int64    ElemType = 7
	Bool     ElemType = 9
	Float16  ElemType = 10
	Float64  ElemType = 11
	BFloat16 ElemType = 16
)

// Size is the number of bytes of an element; 8 of a type that pipe does not know.
func (e ElemType) Size() int {
	switch e {
	case Uint8, Int8, Bool:
		return 1
	case Uint16, Int16, Float16, BFloat16:
		return 2
	case Float32, Int32:
		return 4
	}
	return 8
}

// Model is a model file.
type Model struct {
	IRVersion    int64
	Producer     string
	Version      string // of the producer
	OpsetVersion int64  // of the default operator set
	Metadata     []Property
	Graph        Graph

	external []string
}

// Property is one entry of a model's metadata.
type Property struct{ Key, Value string }

// Property looks an entry of the metadata up; "" if it has none.
func (m *Model) Property(key string) string { return property(m.Metadata, key) }

func property(list []Property, key string) string {
	for _, p := range list {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

// Graph is the computation.
type Graph struct {
	Name         string
	Nodes        []Node
	Inputs       []ValueInfo
	Outputs      []ValueInfo
	Initializers []Tensor
}

// Node is one operator. Domain is the operator set that OpType is of, "" for the default one.
type Node struct {
	Name, OpType    string
	Domain          string
	Inputs, Outputs []string
	Attributes      []Attribute
}

// Attribute is a setting of a node: an integer, a float, a list of either, a text or a tensor. Of
// other kinds only the name is kept. A list of floats is read, but not written, and so are
// graphs, as bytes.
type Attribute struct {
	Name   string
	Kind   AttributeKind
	Int    int64
	Float  float32
	Ints   []int64
	Floats []float32
	Text   string
	Tensor *Tensor

	graphs [][]byte
}

// AttributeKind says which field of an attribute holds the value, numbered as in the standard.
type AttributeKind int32

// The kinds of attributes that pipe uses.
const (
	KindFloat  AttributeKind = 1
	KindInt    AttributeKind = 2
	KindText   AttributeKind = 3
	KindTensor AttributeKind = 4
	KindInts   AttributeKind = 7
)

// Int is an integer attribute.
func Int(name string, v int64) Attribute { return Attribute{Name: name, Kind: KindInt, Int: v} }

// Ints is an attribute that lists integers.
func Ints(name string, v ...int64) Attribute { return Attribute{Name: name, Kind: KindInts, Ints: v} }

// Text is an attribute that is a string.
func Text(name, v string) Attribute { return Attribute{Name: name, Kind: KindText, Text: v} }

// Float is a floating-point attribute.
func Float(name string, v float32) Attribute {
	return Attribute{Name: name, Kind: KindFloat, Float: v}
}

// Tensor is an initializer. Data holds the elements, little-endian and row-major.
type Tensor struct {
	Name string
	Type ElemType
	Dims []int64
	Data []byte
	// External, if not empty, says where the elements are instead of in Data: the keys
	// location (a file, relative to the model's folder), offset and length.
	External []Property
}

// file is the external file that holds the elements, or "".
func (t Tensor) file() string { return property(t.External, "location") }

// Stored says in which file, relative to the model's folder, the elements are, and where in
// it; length is -1 for all that follows. file is "" if they are in Data.
func (t Tensor) Stored() (file string, offset, length int64, err error) {
	length = -1
	for _, p := range []struct {
		key string
		to  *int64
	}{{"offset", &offset}, {"length", &length}} {
		text := property(t.External, p.key)
		if text == "" {
			continue
		}
		if *p.to, err = strconv.ParseInt(text, 10, 64); err != nil || *p.to < 0 {
			return "", 0, 0, fmt.Errorf("tensor %s: %s %q of its external data", t.Name, p.key, text)
		}
	}
	return t.file(), offset, length, nil
}

// FloatTensor makes a float32 initializer.
func FloatTensor(name string, values []float32, dims ...int64) Tensor {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return Tensor{Name: name, Type: Float32, Dims: dims, Data: data}
}

// HalfTensor makes a float16 initializer of values rounded to the nearest. A value beyond
// 65504, the largest float16, is an error.
func HalfTensor(name string, values []float32, dims ...int64) (Tensor, error) {
	data := make([]byte, 0, 2*len(values))
	for i, v := range values {
		h := half.FromFloat(v)
		if math.IsInf(float64(half.ToFloat(h)), 0) {
			return Tensor{}, fmt.Errorf("tensor %s: element %d, %g, is beyond the range of float16", name, i, v)
		}
		data = binary.LittleEndian.AppendUint16(data, h)
	}
	return Tensor{Name: name, Type: Float16, Dims: dims, Data: data}, nil
}

// IntTensor makes an int64 initializer.
func IntTensor(name string, values []int64, dims ...int64) Tensor {
	data := make([]byte, 0, 8*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return Tensor{Name: name, Type: Int64, Dims: dims, Data: data}
}

// Floats are the values of a float32 or float16 tensor that the file itself holds.
func (t Tensor) Floats() ([]float32, error) {
	if file := t.file(); file != "" {
		return nil, fmt.Errorf("tensor %s: its values are in another file, %s", t.Name, file)
	}
	switch {
	case t.Type == Float32 && len(t.Data)%4 == 0:
		return decode(t.Data, 4, littleFloat), nil
	case t.Type == Float16 && len(t.Data)%2 == 0:
		return decode(t.Data, 2, func(b []byte) float32 { return half.ToFloat(binary.LittleEndian.Uint16(b)) }), nil
	}
	return nil, fmt.Errorf("tensor %s: %d bytes of element type %d are no float32 or float16 values", t.Name, len(t.Data), t.Type)
}

func littleFloat(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }

func decode[T any](data []byte, width int, one func([]byte) T) []T {
	out := make([]T, len(data)/width)
	for i := range out {
		out[i] = one(data[i*width:])
	}
	return out
}

// ValueInfo describes an input or output of a graph.
type ValueInfo struct {
	Name string
	Type ElemType
	Dims []Dim
}

// Dim is one dimension: a fixed size, or the name of a variable one, which may be "".
type Dim struct {
	Size int64 // -1 where it may vary
	Name string
}

// Fixed makes dimensions of fixed sizes.
func Fixed(sizes ...int64) []Dim {
	dims := make([]Dim, len(sizes))
	for i, s := range sizes {
		dims[i] = Dim{Size: s}
	}
	return dims
}

// Variable makes a named dimension that may vary.
func Variable(name string) Dim { return Dim{Size: -1, Name: name} }
