package eval

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/eval/faces"
	"facepipe/eval/internal/facestest"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/internal/embed"
	"facepipe/store/storetest"
)

var update = flag.Bool("update", false, "write golden files anew")

// goldenReport is a report of synthetic embeddings. What depends on the machine or on
// other packages (times, paths, versions, the dataset's digest) is made up.
func goldenReport(t *testing.T) report.Report {
	t.Helper()
	ds := storetest.Open(t, facestest.Faces(t))
	path := facestest.WriteFile(t, "pairs.txt", facestest.LFWList())
	p, err := protocol.Pairs.Load(t.Context(), faces.Of(ds), path, protocol.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	r := newReport(o, faces.Of(ds))
	v := p.(protocol.Verification)
	r.Pairs, r.FoldRule, r.Folds = p.Describe(), v.Folds().Rule, v.Folds().Count
	r.Pairs.Path = "lists/pairs.txt"
	r.Dataset.Path, r.Dataset.Digest = "lfw.ds", strings.Repeat("0", 64)
	r.Runtime, r.Decoder = "1.24.3", "libjpeg-turbo 2.1.5"
	for i, m := range []struct {
		path   string
		signal float64
	}{{"models/teacher.onnx", 1.3}, {"run|1/student.onnx", 0.9}, {"run2/student.onnx", 0.1}} {
		result, err := v.Evaluate(t.Context(), protocol.Rows(facestest.Embeddings(v.Pool(nil).Names, uint64(i), m.signal)), protocol.Settings{FAR: o.FAR})
		if err != nil {
			t.Fatal(err)
		}
		r.Models = append(r.Models, report.Model{
			Model: m.path, Digest: strings.Repeat("f", 64), Dim: 32, Preprocess: embed.ArcFace(), PreprocessReason: "auto: a reason",
			Result: *result.Verification, Seconds: 0.5, ImagesPerSecond: 80,
		})
	}
	r.Failed = append(r.Failed, report.Failed{Model: "broken.onnx", Error: "not an ONNX model", UnusablePairs: 2, UnusableCrops: []string{"a", "b"}})
	return r
}

func TestGoldenReport(t *testing.T) {
	r := goldenReport(t)
	for _, f := range report.Forms() {
		path := filepath.Join("testdata", "golden", f.File)
		got, err := f.Render(r)
		if err != nil {
			t.Fatal(err)
		}
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
