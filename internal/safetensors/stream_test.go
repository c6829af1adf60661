package safetensors

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// The order in which tensors are given does not matter, also where one takes several chunks.
func TestWriteSorts(t *testing.T) {
	f := sample()
	long := make([]float32, 2*chunk+3)
	for i := range long {
		long[i] = rand.Float32()
	}
	f.Tensors["long"] = Tensor{Shape: []int{len(long)}, Float32: long}
	want, err := marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var sources []Source
	for name, tensor := range f.Tensors { // in any order
		sources = append(sources, Of(name, tensor))
	}
	var got bytes.Buffer
	if err := Write(&got, sources, f.Metadata); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("other bytes")
	}
}

func TestWriteRefuses(t *testing.T) {
	boom := errors.New("boom")
	one := Tensor{Shape: []int{1}, Float32: []float32{1}}
	for name, c := range map[string]struct {
		sources []Source
		want    error
	}{
		"a source that fails": {[]Source{{Name: "x", DType: "F32", Shape: []int{1}, Fetch: func() (Tensor, error) { return Tensor{}, boom }}}, boom},
		"another type":        {[]Source{{Name: "x", DType: "I64", Shape: []int{1}, Fetch: func() (Tensor, error) { return one, nil }}}, nil},
		"another length":      {[]Source{{Name: "x", DType: "F32", Shape: []int{2}, Fetch: func() (Tensor, error) { return one, nil }}}, nil},
		"one name twice":      {[]Source{Of("x", one), Of("x", one)}, nil},
	} {
		if err := Write(new(bytes.Buffer), c.sources, nil); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
