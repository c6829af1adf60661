package cost

import (
	"fmt"
	"math"
	"testing"
)

// subject is a model whose embeddings point into directions.
func subject(name, precision, training string, macs int64, degrees ...float64) Subject {
	s := Subject{Name: name, Cost: &Cost{Digest: name, Training: training, Precision: precision, Bytes: 100, Dim: 2, Multiplications: &Multiplications{MACs: macs},
		Batches: []Batch{{Size: 8, Median: 4}}}}
	for _, d := range degrees {
		sin, cos := math.Sincos(d * math.Pi / 180)
		s.Embeddings = append(s.Embeddings, []float32{float32(3 * cos), float32(3 * sin)})
	}
	return s
}

func TestGroup(t *testing.T) {
	half := subject("half", "fp16", "", 7, 5, 95)
	half.Cost.Bytes, half.Cost.Batches = 50, []Batch{{Size: 1, Median: 1}, {Size: 8, Median: 2}}
	full := subject("full", "fp32", "", 7, 0, 90)
	copied := full
	copied.Name = "copied"
	longer := subject("longer", "fp16", "", 7, 5, 95)
	longer.Cost.Dim = 3
	blank := subject("blank", "fp16", "", 7)
	blank.Embeddings = [][]float32{nil, {0, 0}}
	unmeasured := subject("unmeasured", "fp16", "", 7, 0, 90)
	unmeasured.Cost.Multiplications = nil
	for name, c := range map[string]struct {
		subjects []Subject
		want     string
	}{
		"by figures":       {[]Subject{half, full}, "[full half not stated]"},
		"other work":       {[]Subject{full, subject("x", "fp16", "", 8, 0, 90)}, "[]"},
		"work unknown":     {[]Subject{full, unmeasured}, "[]"},
		"one precision":    {[]Subject{full, subject("x", "fp32", "", 7, 0, 90)}, "[]"},
		"other directions": {[]Subject{full, subject("x", "fp16", "", 7, 60, 90)}, "[]"},
		"other lengths":    {[]Subject{full, longer}, "[]"},
		"no crops":         {[]Subject{full, blank}, "[]"},
		"a copy":           {[]Subject{full, copied}, "[]"},
		"one training":     {[]Subject{subject("a", "int8", "t", 9, 80, 0), subject("b", "fp32", "t", 7, 0, 90)}, "[b a stated]"},
		"two trainings":    {[]Subject{subject("a", "fp16", "t", 7, 0, 90), subject("b", "fp32", "u", 7, 0, 90)}, "[]"},
		"none in fp32":     {[]Subject{subject("a", "int8", "t", 7), subject("b", "fp16", "t", 7)}, "[a b stated]"},
		"two models, three each": {[]Subject{subject("a", "fp32", "t", 7), subject("x", "fp32", "u", 7), subject("b", "fp16", "t", 7), subject("c", "int8", "t", 7), subject("y", "fp16", "u", 7)},
			"[a b c stated] [x y stated]"},
	} {
		got := ""
		for _, v := range Group(c.subjects) {
			line := v.Baseline
			for _, o := range v.Others {
				line += " " + o.Model
			}
			said := map[bool]string{true: "stated", false: "not stated"}[v.Stated]
			got += fmt.Sprintf(" [%s %s]", line, said)
		}
		if want := " " + c.want; got != want && !(got == "" && c.want == "[]") {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestVariant(t *testing.T) {
	full, half := subject("full", "fp32", "t", 7, 0, 90, 20, 0), subject("half", "fp16", "t", 7, 60, 90, 20, 0)
	half.Cost.Bytes, half.Cost.Batches = 50, []Batch{{Size: 1, Median: 1}, {Size: 8, Median: 2}}
	half.Embeddings[3] = nil
	all := Group([]Subject{full, half})
	if len(all) != 1 || len(all[0].Others) != 1 {
		t.Fatalf("%+v", all)
	}
	v := all[0].Others[0]
	if v.Precision != "fp16" || v.Bytes != 0.5 || v.Latency == nil || *v.Latency != 0.5 || v.Batch != 8 {
		t.Errorf("%+v", v)
	}
	if g := v.Cosine; g == nil || math.Abs(g.Min-0.5) > 1e-6 || math.Abs(g.Mean-2.5/3) > 1e-6 || g.Crops != 3 || g.Missing != 1 {
		t.Errorf("%+v", g)
	}
	full.Cost.Batches = nil
	if v := Group([]Subject{full, half})[0].Others[0]; v.Latency != nil || v.Batch != 0 {
		t.Errorf("%+v", v)
	}
}
