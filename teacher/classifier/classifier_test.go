package classifier_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/npy"
	"facepipe/internal/onnx"
	"facepipe/store"
	"facepipe/store/check"
	"facepipe/store/derived"
	"facepipe/store/info"
	"facepipe/store/storetest"
	"facepipe/teacher/classifier"
	"facepipe/teacher/teachertest"
)

const classDim = 4

// weight is a number of the matrices that tests import.
func weight(row, column int) float32 { return float32(1+row)*0.5 - float32(column) }

// array writes a matrix of some classes as .npy.
func array(t *testing.T, rows int) string {
	t.Helper()
	data := npy.AppendHeader(nil, npy.Float32, rows, classDim)
	for row := range rows {
		for column := range classDim {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(weight(row, column)))
		}
	}
	return writeFile(t, "w.npy", string(data))
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// taught is a dataset of the people p0 .. p4 with a cache called t.
func taught(t *testing.T) string {
	t.Helper()
	dir := teachertest.People(t, 5, 3)
	teachertest.Cache(t, dir, "t", classDim, func(row int) []float32 { return []float32{1, 2, 3, float32(row)} })
	return dir
}

func TestImport(t *testing.T) {
	onnxFile := onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: onnx.Graph{
		Outputs: []onnx.ValueInfo{{Name: "y", Type: onnx.Float32, Dims: onnx.Fixed(1)}}}}
	var values []float32
	for row := range 7 {
		for column := range classDim {
			values = append(values, weight(row, column))
		}
	}
	onnxFile.Graph.Initializers = []onnx.Tensor{onnx.FloatTensor("head", values, 7, classDim)}
	names := writeFile(t, "names.txt", "p4\nsomebody\r\np1\np0\nnobody\np3\np2\n\n")
	byName := map[string]int{"p4": 0, "p1": 2, "p0": 3, "p3": 5, "p2": 6}
	byNumber := map[string]int{"p0": 0, "p1": 1, "p2": 2, "p3": 3, "p4": 4}
	for name, c := range map[string]struct {
		o    classifier.Options
		rows map[string]int
		want derived.ClassifierInfo
	}{
		"array, named":    {classifier.Options{From: array(t, 7), Identities: names}, byName, derived.ClassifierInfo{Origin: "w.npy", Names: "names.txt"}},
		"array, numbered": {classifier.Options{From: array(t, 7), Prefix: "p"}, byNumber, derived.ClassifierInfo{Origin: "w.npy", Prefix: "p"}},
		"initializer":     {classifier.Options{From: writeFile(t, "m.onnx", string(onnxFile.Marshal())), Prefix: "p"}, byNumber, derived.ClassifierInfo{Origin: "m.onnx", Tensor: "head", Prefix: "p"}},
	} {
		dir := taught(t)
		c.o.Dataset, c.o.Teacher = dir, "t"
		s, err := classifier.Import(t.Context(), c.o)
		if err != nil {
			t.Fatal(err)
		}
		if s.Rows != 7 || s.Dim != classDim || s.Identities != 5 || s.Matched != 5 || s.Reused || len(s.OriginDigest) != 64 {
			t.Errorf("%s: %+v", name, s)
		}
		c.want.OriginDigest, c.want.NamesDigest, c.want.DType, c.want.Rows = s.OriginDigest, s.NamesDigest, "float32", 7
		if s.ClassifierInfo != c.want || (s.NamesDigest != "") != (c.want.Names != "") {
			t.Errorf("%s: %+v, want %+v", name, s.ClassifierInfo, c.want)
		}
		ds, cache := teachertest.OpenCache(t, dir, "t")
		m, err := derived.OpenClassifier(cache)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		labels, err := m.RowsOfLabels(t.Context(), ds)
		if err != nil || m.Info() != c.want {
			t.Fatalf("%s: %v, %+v", name, err, m.Info())
		}
		for l, row := range labels { // labels are p0 .. p4 in this order
			if want := c.rows[fmt.Sprintf("p%d", l)]; int(row) != want {
				t.Errorf("%s: label %d is row %d, want %d", name, l, row, want)
			}
			got := make([]float32, classDim)
			identity, err := m.Row(int(row), got)
			if want := []float32{weight(int(row), 0), weight(int(row), 1), weight(int(row), 2), weight(int(row), 3)}; err != nil || identity != fmt.Sprintf("p%d", l) || !slices.Equal(got, want) {
				t.Errorf("%s: row %d is %q %v, %v, want %v", name, row, identity, got, err, want)
			}
		}
		before := teachertest.Files(t, dir, "t")
		if again, err := classifier.Import(t.Context(), c.o); err != nil || !again.Reused || again.Matched != 5 || again.ClassifierInfo != c.want {
			t.Errorf("%s, again: %+v, %v", name, again, err)
		}
		if !maps.Equal(before, teachertest.Files(t, dir, "t")) {
			t.Errorf("%s: importing again changed files", name)
		}
		if r, err := check.Run(t.Context(), dir, check.Options{ReadData: true}); err != nil || !r.OK || len(r.Notes) > 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// One matrix takes another's place only if it may, and as a whole.
func TestReplace(t *testing.T) {
	dir := taught(t)
	o := classifier.Options{Dataset: dir, Teacher: "t", From: array(t, 5), Prefix: "p"}
	if _, err := classifier.Import(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	_, cache := teachertest.OpenCache(t, dir, "t")
	old, err := derived.OpenClassifier(cache)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	before := teachertest.Files(t, dir, "t")
	o.From = array(t, 9)
	if _, err := classifier.Import(t.Context(), o); !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("another matrix: %v", err)
	}
	o.Replace = true
	bad := o
	bad.Identities = writeFile(t, "names.txt", "p0\np1\n")
	if _, err := classifier.Import(t.Context(), bad); err == nil {
		t.Error("too few names")
	}
	if !maps.Equal(before, teachertest.Files(t, dir, "t")) {
		t.Error("a refused import changed files")
	}
	if s, err := classifier.Import(t.Context(), o); err != nil || s.Rows != 9 || s.Reused {
		t.Errorf("%+v, %v", s, err)
	}
	if tables, _ := filepath.Glob(filepath.Join(dir, "teachers", "t", "classifier", "*.arrow")); len(tables) != 1 {
		t.Errorf("tables are %v", tables)
	}
	if _, err := old.Row(4, make([]float32, classDim)); err != nil {
		t.Errorf("the old matrix, which is open: %v", err)
	}
	list, err := info.Caches(dir)
	if err != nil || list[0].Classifier == nil || list[0].Classifier.Rows != 9 {
		t.Errorf("state %+v, %v", list, err)
	}
	// Damage is found and the same matrix put in its place.
	tables, _ := filepath.Glob(filepath.Join(dir, "teachers", "t", "classifier", "*.arrow"))
	storetest.Rewrite(t, tables[0], func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
	if r, err := check.Run(t.Context(), dir, check.Options{ReadData: true}); err != nil || r.OK {
		t.Errorf("damage: %+v, %v", r, err)
	}
	if s, err := classifier.Import(t.Context(), o); err != nil || s.Reused {
		t.Errorf("over damage: %+v, %v", s, err)
	}
	if r, err := check.Run(t.Context(), dir, check.Options{ReadData: true}); err != nil || !r.OK {
		t.Errorf("repaired: %+v, %v", r, err)
	}
}

func TestImportRefuses(t *testing.T) {
	dir := taught(t)
	good := array(t, 5)
	spoiled := func(value float32) string {
		path := array(t, 5)
		storetest.Rewrite(t, path, func(data []byte) []byte {
			for i := len(data) - 4*classDim; i < len(data); i += 4 {
				binary.LittleEndian.PutUint32(data[i:], math.Float32bits(value))
			}
			return data
		})
		return path
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		o    classifier.Options
		want error
		say  string
	}{
		"no teacher":    {t.Context(), classifier.Options{Teacher: "none", From: good}, store.ErrNotFound, "none"},
		"no matrix":     {t.Context(), classifier.Options{Teacher: "t", From: "/no/such.npy"}, os.ErrNotExist, "/no/such.npy"},
		"nobody known":  {t.Context(), classifier.Options{Teacher: "t", From: good}, classifier.ErrMatrix, `such as "p0"`},
		"few names":     {t.Context(), classifier.Options{Teacher: "t", From: good, Identities: writeFile(t, "n", "p0\np1")}, nil, "2 lines for 5 rows"},
		"many names":    {t.Context(), classifier.Options{Teacher: "t", From: good, Identities: writeFile(t, "n", "p0\np1\np2\np3\np4\np5\n")}, nil, "more lines"},
		"a name twice":  {t.Context(), classifier.Options{Teacher: "t", From: good, Identities: writeFile(t, "n", "p0\np1\np2\np1\np4\n")}, nil, "classes 1 and 3"},
		"an empty name": {t.Context(), classifier.Options{Teacher: "t", From: good, Identities: writeFile(t, "n", "p0\n\np2\np1\np4\n")}, nil, "class 1 has no name"},
		"a long name":   {t.Context(), classifier.Options{Teacher: "t", From: good, Identities: writeFile(t, "n", strings.Repeat("x", 9000))}, nil, "line 1"},
		"no such names": {t.Context(), classifier.Options{Teacher: "t", From: good, Identities: "/no/names"}, os.ErrNotExist, "/no/names"},
		"NaN":           {t.Context(), classifier.Options{Teacher: "t", From: spoiled(float32(math.NaN())), Prefix: "p"}, nil, "class 4 (p4): weight 0 is NaN"},
		"zeros":         {t.Context(), classifier.Options{Teacher: "t", From: spoiled(0), Prefix: "p"}, nil, "all weights are zero"},
		"cancelled":     {cancelled, classifier.Options{Teacher: "t", From: good, Prefix: "p"}, context.Canceled, ""},
	} {
		c.o.Dataset = dir
		if _, err := classifier.Import(c.ctx, c.o); err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, cache := teachertest.OpenCache(t, dir, "t")
	if _, err := derived.OpenClassifier(cache); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after refusals: %v", err)
	}
	if r, err := check.Run(t.Context(), dir, check.Options{ReadData: true}); err != nil || !r.OK || len(r.Notes) > 0 {
		t.Errorf("after refusals: %+v, %v", r, err)
	}
}
