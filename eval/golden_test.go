package eval

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/embed"
)

var update = flag.Bool("update", false, "write golden files anew")

// goldenReport is a report of synthetic embeddings. What depends on the machine or on
// other packages (times, paths, versions, the dataset's digest) is made up.
func goldenReport(t *testing.T) Report {
	t.Helper()
	ds := openDataset(t, faces(t))
	path := writeFile(t, "pairs.txt", lfwList())
	s, err := LoadPairs(ds, path, false)
	if err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	o.Dataset = "lfw.ds"
	r := newReport(o, ds)
	r.addPairs(s)
	r.Pairs.Path = "lists/pairs.txt"
	r.Dataset.Digest = strings.Repeat("0", 64)
	r.Runtime, r.Decoder = "1.24.3", "libjpeg-turbo 2.1.5"
	for i, m := range []struct {
		path   string
		signal float64
	}{{"models/teacher.onnx", 1.3}, {"run|1/student.onnx", 0.9}, {"run2/student.onnx", 0.1}} {
		result, err := s.Verify(syntheticEmbeddings(s, uint64(i), m.signal))
		if err != nil {
			t.Fatal(err)
		}
		r.Models = append(r.Models, ModelReport{
			Model: m.path, Digest: strings.Repeat("f", 64), Dim: 32, Preprocess: embed.ArcFace(), PreprocessReason: "auto: a reason",
			Result: result, Seconds: 0.5, ImagesPerSecond: 80,
		})
	}
	r.Failed = append(r.Failed, FailedModel{Model: "broken.onnx", Error: "not an ONNX model", UnusablePairs: 2, UnusableCrops: []string{"a", "b"}})
	return r
}

func TestGoldenReport(t *testing.T) {
	r := goldenReport(t)
	text, err := r.json()
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{jsonFile: text, markdownFile: r.markdown(), rocFile: r.chart().SVG()} {
		path := filepath.Join("testdata", "golden", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs; look at it and run with -update if it should", path)
		}
	}
}

func TestCode(t *testing.T) {
	for text, want := range map[string]string{
		"a.onnx": "`a.onnx`", "a\n b": "`a b`", "a`b": "`` a`b ``", "``": "``` `` ```",
	} {
		if got := code(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLabels(t *testing.T) {
	for _, c := range []struct{ paths, want []string }{
		{nil, []string{}},
		{[]string{"/models/a.onnx"}, []string{"a.onnx"}},
		{[]string{"/models/a.onnx", "b.onnx"}, []string{"a.onnx", "b.onnx"}},
		{[]string{"run1/s.onnx", "/x/run2/s.onnx"}, []string{"run1/s.onnx", "run2/s.onnx"}},
		{[]string{"x/run/s.onnx", "y/run/s.onnx", "t.onnx"}, []string{"x/run/s.onnx", "y/run/s.onnx", "t.onnx"}},
		{[]string{"s.onnx", "run/s.onnx"}, []string{"s.onnx", "run/s.onnx"}},
		{[]string{"./s.onnx", "s.onnx"}, []string{"./s.onnx", "s.onnx"}},
	} {
		got := labels(c.paths)
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%v: %v, want %v", c.paths, got, c.want)
		}
	}
}
