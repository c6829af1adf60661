package report

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"facepipe/eval/verification"
)

var update = flag.Bool("update", false, "write golden files anew")

// hostile is what a file may call itself.
const hostile = "evil\x1b[31m|<img src=x>`\u202e](http://x)\xff.onnx"

// measured is a model whose same pairs are so much closer than its different ones.
func measured(t *testing.T, rule verification.Rule, path string, signal float64) Model {
	t.Helper()
	const pairs = 1200
	same := make([]bool, pairs)
	for i := range same {
		same[i] = i%2 == 0
	}
	folds, err := rule.Folds(same, nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	scores := verification.NewScores(pairs/2, pairs/2, folds.Count)
	for i, s := range same {
		d := 2 + 0.3*rng.NormFloat64()
		if s {
			d -= signal
		}
		scores.Add(verification.Trial{Distance: min(max(d, 0), 4), Same: s, Fold: int32(folds.Of[i])})
	}
	result, err := rule.Evaluate(scores, []float64{0.1, 0.01, 0.001})
	if err != nil {
		t.Fatal(err)
	}
	return Model{Model: path, Dim: 4, Result: result, ImagesPerSecond: 100}
}

func reportBy(t *testing.T, rule verification.Rule) Report {
	t.Helper()
	r := Report{Flip: rule.Flip, FARPick: string(rule.Pick), Folds: 10, FoldRule: verification.Contiguous}
	r.Pairs.Path, r.Pairs.Used = "pairs\x07.txt", 1200
	r.Models = []Model{measured(t, rule, "a/student.onnx", 1), measured(t, rule, hostile, 1.8)}
	return r
}

// Every rule says in the report what it does.
func TestGoldenRules(t *testing.T) {
	for _, rule := range verification.Rules() {
		r := reportBy(t, rule)
		var terminal bytes.Buffer
		Print(&terminal, r)
		document, err := markdown(r)
		if err != nil {
			t.Fatal(err)
		}
		for path, got := range map[string][]byte{"testdata/" + rule.Name + ".txt": terminal.Bytes(), "testdata/" + rule.Name + ".md": document} {
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
				t.Errorf("%s differs; look at it and run with -update if it should:\n%s", path, got)
			}
			for _, raw := range []string{"\x1b", "\x07", "\u202e", "\xff"} {
				if bytes.Contains(got, []byte(raw)) {
					t.Errorf("%s holds %q", path, raw)
				}
			}
		}
	}
}

// Words are shown as they are: none of them is markup.
func TestDocumentHoldsNoMarkupOfOthers(t *testing.T) {
	document, err := markdown(Report{Models: []Model{measured(t, verification.Plain, "m.onnx", 1)}, Detector: []string{"<script>", "b\n# c"}, Warnings: []string{"![x](y)\n\n# z"}})
	if err != nil || bytes.Contains(document, []byte(" <script")) || bytes.Contains(document, []byte("\n# c")) || bytes.Contains(document, []byte("\n# z")) {
		t.Errorf("%v: %s", err, document)
	}
}

func TestAnswer(t *testing.T) {
	good, bad := measured(t, verification.Plain, "x/good.onnx", 1.8), measured(t, verification.Plain, "bad.onnx", 0.5)
	twin := good
	twin.Model = "twin.onnx"
	withoutFolds := func(m Model) Model { m.CrossValidation = nil; return m }
	bare := withoutFolds(good)
	bare.Thresholds = nil
	for _, c := range []struct {
		models []Model
		want   string
	}{
		{nil, ""},
		{[]Model{good}, "good.onnx: accuracy "},
		{[]Model{bad, good}, "good.onnx is the best of 2 models: accuracy "},
		{[]Model{good, bad}, "good.onnx is the best of 2 models: accuracy "},
		{[]Model{good, bad, twin}, "good.onnx and twin.onnx are the best of 3 models: accuracy "},
		{[]Model{withoutFolds(bad), withoutFolds(good)}, "good.onnx is the best of 2 models: FNMR "},
		{[]Model{bare}, "good.onnx: AUC "},
	} {
		if got := spoken(Report{Models: c.models}.Answer()); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// An interval is told where there is one, in tables and in the picture.
func TestIntervals(t *testing.T) {
	r := Report{Models: []Model{measured(t, verification.Plain, "m.onnx", 1)}}
	before, err := det(r)
	if err != nil || bytes.Contains(before, []byte(`class="band`)) {
		t.Errorf("a band without intervals (%v)", err)
	}
	m := &r.Models[0]
	m.Thresholds[1].FNMR.Interval = &verification.Interval{Low: 0.01, High: 0.25}
	m.Thresholds[1].CosineInterval = &verification.Interval{Low: 0.25, High: 0.5}
	for i := range m.DET {
		m.DET[i].Interval = &verification.Interval{Low: 0.5 * m.DET[i].FNMR, High: m.DET[i].FNMR + 0.01}
	}
	cells := strings.Join(r.ThresholdTable().Rows[1].Cells, " | ")
	if !strings.Contains(cells, "(0.25000 to 0.50000)") || !strings.Contains(cells, " of 600, 1 to 25 %)") {
		t.Error(cells)
	}
	if after, err := det(r); err != nil || !bytes.Contains(after, []byte(`class="band`)) {
		t.Errorf("no band (%v)", err)
	}
}

func TestWarnings(t *testing.T) {
	r := Report{Warnings: []string{"two images are one"}, Models: []Model{measured(t, verification.Plain, "a.onnx", 1), measured(t, verification.Plain, "b.onnx", 1)},
		Failed: []Failed{{Model: "c.onnx", Error: "is a web page"}}}
	var got []string
	for _, w := range r.AllWarnings() {
		got = append(got, spoken(w))
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{"two images are one", "TAR@FAR 1e-3 is not measurable: needs at least 1000 different-person pairs, there are 600",
		"b.onnx: fewer than 30 errors stand behind ", "FMR at target 1e-2 (6)", "c.onnx gave no figures: is a web page"} {
		if strings.Count(all, want) == 0 {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Count(all, "not measurable") != 1 {
		t.Errorf("the same for each model:\n%s", all)
	}
}
