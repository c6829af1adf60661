package classifier

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/internal/npy"
	"facepipe/internal/onnx"
)

// The numbers of the matrices that tests write, exact in every element type.
var numbers = []float64{1, -2.5, 0.25, 1024, -6.103515625e-05, 0.5, 3, 5.9604644775390625e-08, 7, -8, 9, 65504}

// halves are the bits of numbers as binary16.
var halves = []uint16{0x3c00, 0xc100, 0x3400, 0x6400, 0x8400, 0x3800, 0x4200, 0x0001, 0x4700, 0xc800, 0x4880, 0x7bff}

// encoded are the numbers in an element type.
func encoded(element string) (data []byte) {
	for i, x := range numbers {
		switch element {
		case "float16":
			data = binary.LittleEndian.AppendUint16(data, halves[i])
		case "float32":
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(x)))
		case "float64":
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(x))
		}
	}
	return data
}

func writeTo(t testing.TB, name string, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, slices.Concat(parts...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll reads a matrix of 4 columns.
func readAll(t testing.TB, m *matrix) (all []float64) {
	t.Helper()
	row := make([]float32, 4)
	for range m.rows {
		if err := m.next(row); err != nil {
			t.Fatal(err)
		}
		for _, x := range row {
			all = append(all, float64(x))
		}
	}
	if err := m.next(row); !errors.Is(err, io.EOF) {
		t.Errorf("after the last row: %v", err)
	}
	if err := m.close(); err != nil {
		t.Error(err)
	}
	return all
}

func TestMatrixOfArray(t *testing.T) {
	for descr, element := range map[string]string{npy.Float16: "float16", npy.Float32: "float32", npy.Float64: "float64"} {
		path := writeTo(t, "w.npy", npy.AppendHeader(nil, descr, 3, 4), encoded(element))
		m, err := openMatrix(path, "", 4)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, m); m.rows != 3 || m.element.name != element || !slices.Equal(got, numbers) {
			t.Errorf("%s: %v", element, got)
		}
	}
}

// head writes an ONNX file with initializers.
func head(t testing.TB, initializers ...onnx.Tensor) string {
	t.Helper()
	m := onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: onnx.Graph{
		Outputs: []onnx.ValueInfo{{Name: "y", Type: onnx.Float32, Dims: onnx.Fixed(1)}}, Initializers: initializers}}
	return writeTo(t, "head.onnx", m.Marshal())
}

func TestMatrixOfInitializer(t *testing.T) {
	bias := onnx.FloatTensor("bias", []float32{1, 2, 3, 4}, 4)
	for element, kind := range map[string]onnx.ElemType{"float16": onnx.Float16, "float32": onnx.Float32, "float64": onnx.Float64} {
		weight := onnx.Tensor{Name: "weight", Type: kind, Dims: []int64{3, 4}, Data: encoded(element)}
		other := onnx.FloatTensor("other", make([]float32, 8), 2, 4)
		for _, c := range []struct {
			path, tensor string
		}{{head(t, bias, weight), ""}, {head(t, other, weight, bias), "weight"}} {
			m, err := openMatrix(c.path, c.tensor, 4)
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, m); m.tensor != "weight" || m.element.name != element || !slices.Equal(got, numbers) {
				t.Errorf("%s: %v", element, got)
			}
		}
	}
}

// Weights beside the model are read from there.
func TestMatrixOutside(t *testing.T) {
	weight := func(location, offset, length string) onnx.Tensor {
		w := onnx.Tensor{Name: "weight", Type: onnx.Float32, Dims: []int64{3, 4}}
		for _, p := range []onnx.Property{{Key: "location", Value: location}, {Key: "offset", Value: offset}, {Key: "length", Value: length}} {
			if p.Value != "" {
				w.External = append(w.External, p)
			}
		}
		return w
	}
	data := encoded("float32")
	for _, c := range []struct {
		tensor onnx.Tensor
		file   []byte
		say    string // "" if it is read
	}{
		{weight("w.bin", "", ""), data, ""},
		{weight("w.bin", "8", "48"), slices.Concat(make([]byte, 8), data, make([]byte, 5)), ""},
		{weight("w.bin", "8", ""), data, "40 bytes of w.bin follow offset 8, 48 are needed"},
		{weight("w.bin", "", "44"), data, "48 are needed"},
		{weight("w.bin", "-8", ""), data, "offset"},
		{weight("w.bin", "much", ""), data, "much"},
		{weight("../w.bin", "", ""), data, "not below"},
		{weight("gone.bin", "", ""), data, "gone.bin"},
	} {
		path := head(t, c.tensor)
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "w.bin"), c.file, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := openMatrix(path, "", 4)
		if c.say != "" {
			if !errors.Is(err, ErrMatrix) || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%v: %v", c.tensor.External, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, m); !slices.Equal(got, numbers) {
			t.Errorf("%v: %v", c.tensor.External, got)
		}
	}
}

func TestMatrixRefuses(t *testing.T) {
	data := encoded("float32")
	array := func(header []byte, data []byte) string { return writeTo(t, "w.npy", header, data) }
	weight := func(name string, rows, dim int64) onnx.Tensor {
		return onnx.FloatTensor(name, make([]float32, rows*dim), rows, dim)
	}
	short := weight("short", 3, 4)
	short.Data = short.Data[:40]
	fortran := []byte(strings.Replace(string(npy.AppendHeader(nil, npy.Float32, 3, 4)), "False,", "True, ", 1))
	for name, c := range map[string]struct {
		path, tensor string
		want         error
		say          string
	}{
		"no file":            {"/no/such.npy", "", os.ErrNotExist, "/no/such.npy"},
		"text":               {array([]byte("text"), nil), "", npy.ErrFormat, "w.npy"},
		"integers":           {array(npy.AppendHeader(nil, npy.Int32, 3, 4), data), "", ErrMatrix, "<i4"},
		"big-endian":         {array(npy.AppendHeader(nil, ">f4", 3, 4), data), "", ErrMatrix, ">f4"},
		"three dimensions":   {array(npy.AppendHeader(nil, npy.Float32, 3, 2, 2), data), "", ErrMatrix, "two dimensions"},
		"Fortran order":      {array(fortran, data), "", ErrMatrix, "Fortran order true"},
		"truncated":          {array(npy.AppendHeader(nil, npy.Float32, 3, 4), data[:47]), "", ErrMatrix, "47 bytes"},
		"more":               {array(npy.AppendHeader(nil, npy.Float32, 3, 4), append(data, 0)), "", ErrMatrix, "49 bytes"},
		"beyond all":         {array(npy.AppendHeader(nil, npy.Float32, 1<<62, 4), data), "", ErrMatrix, "another number"},
		"columns":            {array(npy.AppendHeader(nil, npy.Float32, 4, 3), data), "", ErrMatrix, "transpose"},
		"another dimension":  {array(npy.AppendHeader(nil, npy.Float32, 2, 6), data), "", ErrMatrix, "2 x 6"},
		"no rows":            {array(npy.AppendHeader(nil, npy.Float32, 0, 4), nil), "", ErrMatrix, "0 x 4"},
		"tensor of an array": {array(npy.AppendHeader(nil, npy.Float32, 3, 4), data), "weight", ErrMatrix, "weight"},
		"no model":           {writeTo(t, "text.onnx", []byte("text")), "", onnx.ErrFormat, "text.onnx"},
		"two that fit":       {head(t, weight("a", 2, 4), weight("b", 3, 4)), "", ErrMatrix, "a (2 x 4), b (3 x 4)"},
		"none that fits":     {head(t, weight("a", 2, 5)), "", ErrMatrix, "a (2 x 5)"},
		"nothing":            {head(t), "", ErrMatrix, "none of two dimensions"},
		"another name":       {head(t, weight("a", 2, 4)), "b", ErrMatrix, `called "b"; it has a`},
		"named, misfit":      {head(t, weight("a", 2, 5)), "a", ErrMatrix, "2 x 5"},
		"named vector":       {head(t, onnx.FloatTensor("a", make([]float32, 4), 4)), "a", ErrMatrix, "not two dimensions"},
		"named integers":     {head(t, onnx.IntTensor("a", make([]int64, 4), 1, 4)), "a", ErrMatrix, "type 7"},
		"short":              {head(t, short), "", ErrMatrix, "40 bytes"},
		"negative":           {head(t, onnx.Tensor{Name: "a", Type: onnx.Float32, Dims: []int64{-1, 4}}), "", ErrMatrix, "[-1 4]"},
	} {
		if m, err := openMatrix(c.path, c.tensor, 4); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, %+v", name, err, m)
		}
	}
}

// FuzzMatrix: whatever a .npy file holds, it is read to its end or refused.
func FuzzMatrix(f *testing.F) {
	for _, descr := range []string{npy.Float16, npy.Float32, npy.Float64} {
		f.Add(slices.Concat(npy.AppendHeader(nil, descr, 3, 4), encoded(map[string]string{npy.Float16: "float16", npy.Float32: "float32", npy.Float64: "float64"}[descr])))
	}
	f.Add(npy.AppendHeader(nil, npy.Float32, 1<<40, 4))
	path := filepath.Join(f.TempDir(), "w.npy")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		alloctest.AtMost(t, 4<<20+20*len(data), func() {
			if m, err := openMatrix(path, "", 4); err == nil {
				_ = m.close()
			}
		})
		m, err := openMatrix(path, "", 4)
		if err != nil {
			if !errors.Is(err, ErrMatrix) && !errors.Is(err, npy.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		readAll(t, m)
	})
}
