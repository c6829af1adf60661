package study

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"facepipe/eval/uncertainty"
)

// figure is an accuracy on lfw, by seed, beside that of a baseline.
func figure(t *testing.T, baseline, values []float64, low, high float64) Figure {
	t.Helper()
	f := Figure{Test: "lfw", Name: "accuracy", Spread: uncertainty.NewSpread(values)}
	if baseline == nil {
		return f
	}
	d, err := uncertainty.CompareValues(baseline, values)
	if err != nil {
		t.Fatal(err)
	}
	d.Interval = &uncertainty.Interval{Low: low, High: high}
	f.Difference = &d
	return f
}

func plus(values []float64, by float64) []float64 {
	var sums []float64
	for i, v := range values {
		sums = append(sums, v+by+0.0001*float64(i))
	}
	return sums
}

// made is a result of three groups over so many seeds.
func made(t *testing.T, seeds int) *Result {
	t.Helper()
	base := []float64{0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97}[:seeds]
	res := &Result{Study: "a/b.yaml", Baseline: "cosine", Tests: []string{"val", "lfw"}, Validation: "val", States: map[State]int{Done: 3 * seeds}, ChosenBy: "the last step",
		Rows: make([]RowState, 3*seeds), Groups: []Group{
			{Name: "cosine", Figures: []Figure{figure(t, nil, base, 0, 0)}},
			{Name: "up|<b>", Figures: []Figure{figure(t, base, plus(base, 0.01), 0.002, 0.018)}},
			{Name: "same", Figures: []Figure{figure(t, base, plus(base, 0), -0.01, 0.01)}},
		}}
	for i := range res.Groups {
		for s := range seeds {
			res.Groups[i].Seeds = append(res.Groups[i].Seeds, uint64(s+1))
		}
	}
	res.adjust()
	res.Says = res.sentences(false)
	return res
}

// A verdict rests on both measures, and says where so few seeds cannot reach one.
func TestVerdict(t *testing.T) {
	for seeds, want := range map[int]string{
		8: "accuracy on lfw against cosine: up|<b> better; differences of ",
		3: "accuracy on lfw against cosine: up|<b> better by the interval alone; 3 seeds and 2 differences: p by Holm is at least 0.5, so that none can be significant at 5 %; differences of ",
		1: "accuracy on lfw against cosine: no difference can be told; 1 seed and 2 differences: p by Holm is at least 1, so that none can be significant at 5 %.",
	} {
		res := made(t, seeds)
		if len(res.Says) != 1 || !strings.HasPrefix(res.Says[0], want) {
			t.Errorf("%d seeds: %q, want %q", seeds, res.Says, want)
		}
	}
	res := made(t, 8)
	res.Groups[1].Figures[0] = figure(t, res.Groups[0].Figures[0].Values, plus(res.Groups[0].Figures[0].Values, -0.02), -0.03, -0.01)
	res.adjust()
	if got := res.verdict("lfw", "accuracy"); !strings.Contains(got, "up|<b> worse;") {
		t.Error(got)
	}
	if got := res.verdict("val", "accuracy"); !strings.HasSuffix(got, "nothing to compare yet.") {
		t.Error(got)
	}
	// A group with fewer seeds than another does not speak for that one.
	res = made(t, 8)
	res.Groups[2].Figures[0] = figure(t, []float64{0.9}, []float64{0.91}, -0.01, 0.03)
	res.adjust()
	if got := res.verdict("lfw", "accuracy"); !strings.Contains(got, "up|<b> better;") || strings.Contains(got, "none can") {
		t.Error(got)
	}
	// 2.8·√2·0.01/√3 of the seeds 0.90, 0.91, 0.92
	if got := strings.Join(made(t, 3).sentences(true), "\n"); !strings.Contains(got, "accuracy on lfw of cosine: 91.00 ± 1.00 (3); 3 seeds would find a difference of 2.29 points") {
		t.Error(got)
	}
}

// Failures come first, by their last lines.
func TestSentences(t *testing.T) {
	res := made(t, 3)
	res.Failed = []FailedRow{{"wild, seed 1", "train: it said\nmuch\ndiverged at step 3\n"}}
	res.States = map[State]int{Done: 5, Running: 2, Failed: 1}
	res.Warnings, res.Changed = []string{"overlap"}, []Change{{Row: "l2, seed 1", Differs: []string{"crops_digest", "crops"}}}
	want := []string{"FAILED wild, seed 1: diverged at step 3", "warning: overlap", "5 of 9 rows are done, 2 are with another process.", "l2, seed 1 is stale: crops_digest, crops changed since it was trained."}
	for i, line := range res.sentences(false)[:4] {
		if line != want[i] {
			t.Errorf("%q, want %q", line, want[i])
		}
	}
	if err := res.err(); err == nil || !strings.HasSuffix(err.Error(), "wild, seed 1: diverged at step 3") {
		t.Error(err)
	}
}

// Tables have a cell for every figure that any row has, and names are no markup.
func TestTables(t *testing.T) {
	res := made(t, 3)
	auc := figure(t, nil, []float64{0.98765, 0.9, 0.9}, 0, 0)
	auc.Name = "auc"
	res.Groups[2].Figures = append(res.Groups[2].Figures, auc)
	text, err := res.markdown()
	if err != nil {
		t.Fatal(err)
	}
	bars := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "|") && strings.Contains(string(text[:strings.Index(string(text), line)]), "## lfw") && !strings.Contains(string(text[:strings.Index(string(text), line)]), "## Cost") {
			if n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); bars != 0 && n != bars {
				t.Errorf("%d columns, want %d: %s", n, bars, line)
			} else {
				bars = n
			}
		}
	}
	for _, want := range []string{`up\|\<b>`, "92.01 ± 1.01 (3)", "+1.01 [+0.20, +1.80] p 0.250 (Holm 0.500)", "0.92922 ± 0.0506", "| – |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	data, err := res.csv()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil || len(lines) != 1+3*3+3 || lines[4][0] != "up|<b>" || lines[4][1] != "1" {
		t.Errorf("%v, %v", lines, err)
	}
	var printed bytes.Buffer
	res.Print(&printed)
	if got := printed.String(); strings.Count(got, "\n") != 5 || !strings.Contains(got, "LFW ACCURACY") {
		t.Error(got)
	}
}
