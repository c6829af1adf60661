package npy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

// file is a header of a version with that text.
func file(major byte, text string) []byte {
	b := append([]byte(magic), major, 0)
	if major == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	}
	return append(b, text...)
}

func TestReadHeader(t *testing.T) {
	for _, c := range []struct {
		text string
		want Header
	}{
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (10, 512), }   \n", Header{Float32, false, []int{10, 512}}},
		{"{'descr': '<f2', 'fortran_order': True, 'shape': (7,), }\n", Header{Float16, true, []int{7}}},
		{"{'descr': '>f8', 'fortran_order': False, 'shape': ()}", Header{">f8", false, []int{}}},
		{`{"shape":(2,3,4),"fortran_order":False,"descr":"|u1"}`, Header{Uint8, false, []int{2, 3, 4}}},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (10L, 512L), }", Header{Float32, false, []int{10, 512}}},
		{" { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 0 , 5 , ) , } ", Header{Float32, false, []int{0, 5}}},
	} {
		for major := byte(1); major <= 3; major++ {
			r := bytes.NewReader(append(file(major, c.text), "data"...))
			got, err := ReadHeader(r)
			if err != nil || !reflect.DeepEqual(got, c.want) || r.Len() != 4 {
				t.Errorf("version %d, %s: %+v, %v, %d bytes left", major, c.text, got, err, r.Len())
			}
		}
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	fine := "{'descr': '<f4', 'fortran_order': False, 'shape': (10, 512), }"
	for name, c := range map[string]struct {
		data []byte
		say  string
	}{
		"nothing":       {nil, "ends within"},
		"text":          {[]byte("Dear Sir or Madam"), "begin"},
		"half":          {file(1, fine)[:30], "ends within"},
		"version":       {file(4, fine), "version 4.0"},
		"huge":          {append([]byte(magic), 2, 0, 255, 255, 255, 255), "4294967295"},
		"records":       {file(1, "{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}"), "several fields"},
		"key twice":     {file(1, strings.Replace(fine, "'shape'", "'descr'", 1)), "twice"},
		"key":           {file(1, strings.Replace(fine, "'shape'", "'form'", 1)), `"form"`},
		"missing":       {file(1, "{'descr': '<f4', 'shape': (1,)}"), "missing"},
		"no tuple":      {file(1, strings.Replace(fine, "(10, 512)", "(10)", 1)), "not a tuple"},
		"negative":      {file(1, strings.Replace(fine, "10", "-1", 1)), "size expected"},
		"beyond an int": {file(1, strings.Replace(fine, "10", "99999999999999999999", 1)), "size expected"},
		"more":          {file(1, fine+" 7"), "after its end"},
		"expression":    {file(1, strings.Replace(fine, "False", "exit()", 1)), "True or False"},
		"escape":        {file(1, strings.Replace(fine, "<f4", `\x3cf4`, 1)), "string expected"},
		"sides":         {file(1, strings.Replace(fine, "10, 512", strings.Repeat("1, ", 65), 1)), "64 dimensions"},
	} {
		if _, err := ReadHeader(bytes.NewReader(c.data)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAppendHeader(t *testing.T) {
	shapes := [][]int{{}, {0}, {7}, {3, 4}, {123456789, 512}}
	for rows := 1; rows < 1<<60; rows *= 7 { // headers of every length
		shapes = append(shapes, []int{rows, 512})
	}
	for _, shape := range shapes {
		b := AppendHeader([]byte("before"), Float32, shape...)[len("before"):]
		got, err := ReadHeader(bytes.NewReader(b))
		if err != nil || got.Descr != Float32 || got.Fortran || !reflect.DeepEqual(got.Shape, shape) || len(b)%align != 0 || b[len(b)-1] != '\n' {
			t.Errorf("%v: %+v, %v in %d bytes", shape, got, err, len(b))
		}
	}
}

func TestElements(t *testing.T) {
	for _, c := range []struct {
		shape []int
		want  int
		ok    bool
	}{
		{nil, 1, true}, {[]int{3, 4}, 12, true}, {[]int{0, math.MaxInt, math.MaxInt}, 0, true},
		{[]int{math.MaxInt, 2}, 0, false}, {[]int{1 << 32, 1 << 32}, 0, false},
	} {
		if n, ok := (Header{Shape: c.shape}).Elements(); n != c.want || ok != c.ok {
			t.Errorf("%v: %d, %t", c.shape, n, ok)
		}
	}
}

// FuzzHeader: what is read can be written and reads the same; nothing else is an error
// of another kind.
func FuzzHeader(f *testing.F) {
	for _, text := range []string{
		"{'descr': '<f4', 'fortran_order': False, 'shape': (10, 512), }\n",
		"{'descr': [('x', '<f4')], 'fortran_order': True, 'shape': (1L,)}",
		`{"shape":(),"fortran_order":False,"descr":"|u1"}`,
	} {
		for major := byte(1); major <= 3; major++ {
			f.Add(file(major, text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		alloctest.AtMost(t, 64*len(data)+1<<17, func() { _, _ = ReadHeader(bytes.NewReader(data)) })
		h, err := ReadHeader(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if n, ok := h.Elements(); ok && n < 0 {
			t.Fatalf("%d elements of %v", n, h.Shape)
		}
		if strings.ContainsAny(h.Descr, `'"`) || h.Fortran || len(h.Descr) > 100 {
			return
		}
		again, err := ReadHeader(bytes.NewReader(AppendHeader(nil, h.Descr, h.Shape...)))
		if err != nil || !reflect.DeepEqual(again, h) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}
