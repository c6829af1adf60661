package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"facepipe/internal/alloctest"
)

func sample() File {
	return File{
		Tensors: map[string]Tensor{
			"a.weight": {Shape: []int{2, 3}, Float32: []float32{1, 2, 3, 4, 5, -6.5}},
			"b":        {Shape: []int{2}, Float64: []float64{0.1, -3}},
			"c":        {Shape: []int{1, 2}, Int64: []int64{-1, 1 << 60}},
			"empty":    {Shape: []int{0, 4}, Float32: []float32{}},
		},
		Metadata: map[string]string{"step": "12"},
	}
}

// written is a file's bytes.
func written(f File) ([]byte, error) {
	var out bytes.Buffer
	err := Write(&out, Sources(f.Tensors), f.Metadata)
	return out.Bytes(), err
}

func TestRoundTrip(t *testing.T) {
	data, err := written(sample())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, sample()) {
		t.Errorf("got %+v", got)
	}
	again, _ := written(got)
	if !bytes.Equal(again, data) {
		t.Error("the same content gave other bytes")
	}
}

func TestWriteRefusesWrongShape(t *testing.T) {
	if _, err := written(File{Tensors: map[string]Tensor{"x": {Shape: []int{3}, Float32: []float32{1}}}}); err == nil {
		t.Error("no error for 1 value of shape [3]")
	}
}

func TestTruncatedAtEveryByte(t *testing.T) {
	data, _ := written(sample())
	for n := range data {
		want := ErrTruncated
		if n <= 8 { // nothing of the header
			want = ErrFormat
		}
		if _, err := Unmarshal(data[:n]); !errors.Is(err, want) {
			t.Fatalf("first %d of %d bytes: %v", n, len(data), err)
		}
	}
}

func header(text string, body int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(append(out, text...), make([]byte, body)...)
}

// Narrow floats become float32, whose values are theirs.
func TestNarrowFloats(t *testing.T) {
	text := `{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8]}}`
	data := header(text, 8)
	body := data[len(data)-8:]
	for i, bits := range []uint16{0x3e00, 0xc000, 0x3fc0, 0xc000} { // 1.5 and -2 in both
		binary.LittleEndian.PutUint16(body[2*i:], bits)
	}
	got, err := Unmarshal(data)
	want := map[string]Tensor{"a": {Shape: []int{2}, Float32: []float32{1.5, -2}}, "b": {Shape: []int{1, 2}, Float32: []float32{1.5, -2}}}
	if err != nil || !reflect.DeepEqual(got.Tensors, want) {
		t.Errorf("%v, %+v", err, got.Tensors)
	}
}

func TestBadHeaders(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":            nil,
		"text":               []byte("Dear Sir or Madam {"),
		"an absurd length":   append(binary.LittleEndian.AppendUint64(nil, 1<<60), "{}"...),
		"no header":          binary.LittleEndian.AppendUint64(nil, 4),
		"no JSON":            header("{", 0),
		"unknown type":       header(`{"x":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}`, 2),
		"negative dimension": header(`{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4),
		"absurd shape":       header(`{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}`, 4),
		"backwards":          header(`{"x":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}}`, 4),
		"bytes of nobody":    header(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 8),
	} {
		if _, err := Unmarshal(data); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	short := header(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 4)
	if _, err := Unmarshal(short); !errors.Is(err, ErrTruncated) {
		t.Errorf("values beyond the end: %v", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	data, _ := written(sample())
	f.Add(data)
	f.Add(header(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4))
	f.Fuzz(func(t *testing.T, data []byte) {
		alloctest.AtMost(t, 256*len(data)+1<<17, func() { _, _ = Unmarshal(data) })
		file, err := Unmarshal(data)
		if err != nil {
			return
		}
		if _, err := written(file); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
