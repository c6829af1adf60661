package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Source is a tensor that is fetched when its turn comes to be written, so that of
// many tensors only one is in memory.
type Source struct {
	Name string
	// DType is F32, F64 or I64.
	DType string
	Shape []int
	// Fetch gives the values, of the type and number that the header promises.
	Fetch func() (Tensor, error)
}

// Of makes a source of a tensor that is in memory.
func Of(name string, t Tensor) Source {
	return Source{Name: name, DType: t.append(new(bytes.Buffer), 0, 0), Shape: t.Shape, Fetch: func() (Tensor, error) { return t, nil }}
}

// Write encodes tensors in the order of their names. The same tensors and metadata give the same
// bytes.
func Write(w io.Writer, sources []Source, metadata map[string]string) error {
	sources = slices.SortedFunc(slices.Values(sources), func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	header := map[string]any{}
	if len(metadata) > 0 {
		header[metadataKey] = metadata
	}
	var at int64
	for _, s := range sources {
		e := entry{DType: s.DType, Shape: s.Shape, Offsets: [2]int64{at, at + int64(elements(s.Shape)*widths[s.DType])}}
		if e.Shape == nil {
			e.Shape = []int{}
		}
		header[s.Name], at = e, e.Offsets[1]
	}
	if len(header) != len(sources)+min(1, len(metadata)) {
		return fmt.Errorf("two tensors have one name")
	}
	text, err := headerText(header)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)); err != nil {
		return err
	}
	for _, s := range sources {
		if err := s.write(w); err != nil {
			return err
		}
	}
	return nil
}

// headerText encodes a header, padded so that the tensors are aligned.
func headerText(header map[string]any) ([]byte, error) {
	text, err := json.Marshal(header) // maps are written in the order of their keys
	for err == nil && len(text)%8 != 0 {
		text = append(text, ' ')
	}
	return text, err
}

// chunk is the number of values that are encoded at a time.
const chunk = 1 << 16

func (s Source) write(w io.Writer) error {
	t, err := s.Fetch()
	if err != nil {
		return fmt.Errorf("tensor %s: %w", s.Name, err)
	}
	n := t.values()
	if n != elements(s.Shape) {
		return fmt.Errorf("tensor %s: %d values for shape %v", s.Name, n, s.Shape)
	}
	var buffer bytes.Buffer
	for from := 0; from < n; from += chunk {
		buffer.Reset()
		if dtype := t.append(&buffer, from, min(n, from+chunk)); dtype != s.DType {
			return fmt.Errorf("tensor %s: values of type %s where %s was promised", s.Name, dtype, s.DType)
		}
		if _, err := w.Write(buffer.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
