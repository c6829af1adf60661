package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"facepipe/internal/journal"
	"facepipe/internal/seal"
	"facepipe/store"
	"facepipe/store/storetest"
)

func TestKindsAreFoundByWhatLiesThere(t *testing.T) {
	faces := withTeachers(t)
	folder := evalFolder(t, nil)
	for path, want := range map[string]string{
		studyFolder(t): "study", folder: "eval", filepath.Join(folder, "report.json"): "eval", runFolder(t, 20, false): "run",
		faces: "dataset", faces + ":r50": "cache", filepath.Join(faces, "teachers", "other"): "cache",
	} {
		kinds, err := kindsOf(path)
		if err != nil || len(kinds) != 1 || kinds[0].Name != want {
			t.Errorf("%s is %v, want %q; %v", path, kinds, want, err)
		}
	}
	both := runFolder(t, 20, true)
	text, err := os.ReadFile(filepath.Join(folder, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, filepath.Join(both, "report.json"), string(text))
	if p, _ := made(t, both); len(p.Parts) != 2 || p.Parts[0].Kind != "eval" || p.Parts[1].Kind != "run" {
		t.Errorf("an eval in a run's folder: %+v", p.Parts)
	}
	photos := t.TempDir()
	storetest.WriteText(t, filepath.Join(photos, "a.jpg"), "x")
	for _, path := range []string{photos, filepath.Join(photos, "nothing"), filepath.Join(photos, "a.jpg"), faces + ":", photos + ":r50"} {
		_, err := Make(t.Context(), Options{What: []string{path}})
		if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "run.json") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Make(t.Context(), Options{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := Make(t.Context(), Options{What: []string{faces + ":nobody"}}); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "r50") {
		t.Errorf("a cache that is not there: %v", err)
	}
}

func TestEval(t *testing.T) {
	p, html := made(t, evalFolder(t, nil))
	part := p.Parts[0]
	if part.Kind != "eval" || !strings.Contains(part.Answer, "Of 2 models, ") || !strings.Contains(part.Answer, "differ by more than chance") {
		t.Errorf("%s: %s", part.Kind, part.Answer)
	}
	for _, anchor := range []string{"models", "thresholds", "differences", "curves", "scores", "cohorts", "false-accepts", "false-rejects",
		"identification", "cost", "variants", "clean", "overlap", "further", "protocol", "digests", "command", "warnings", "report", "definitions"} {
		holds(t, html, `id="`+anchor+`"`)
	}
	holds(t, html, "−1.25", "p = 0.010", "−2.00 to −0.10", // the difference
		"0.290 to 0.310", "55.00 M", "1.20 M", "2.40 M", "80.0 MiB", "p95 2.4", "TPIR@FPIR 1e-2", "80.00 %",
		"young", "shade5", "Fairness discrepancy rate", "0.9900", "a note on age", "train/b.jpg", "where chance gives 0.5",
		"0.910", "one in a hundred below 0.6000", "p/1.jpg", "−0.500", "a note on faces", "at a cosine of 0.5000 (FMR 1e-3)", "✗ same",
		"87.50 ± 1.00", "0.91234", "77", "27 %", "55 %", "0.99812", "86.50 to 88.50", "95 % intervals over 12 people, 1000 replicates of the bootstrap (seed 7)", "a note on intervals",
		"a warning of the report", "pipe eval --model &#39;it&#39;\\&#39;&#39;s.onnx&#39;", "0.83125")
	if strings.Count(html, `src="data:image/jpeg`) != 6 || strings.Count(html, "no picture") != 4 { // none from outside
		t.Errorf("%d pictures, %d missing", strings.Count(html, `src="data:image/jpeg`), strings.Count(html, "no picture"))
	}
	if strings.Contains(html, "alert(2)") {
		t.Error("a picture's script is in the page as it is")
	}
	data := regexp.MustCompile(`(?s)<script type="application/json" id="report">(.*?)</script>`).FindStringSubmatch(html)
	var inside map[string]any
	if data == nil || json.Unmarshal([]byte(data[1]), &inside) != nil || inside["models"] == nil {
		t.Errorf("the JSON inside is %v", data)
	}
}

// A section whose data is absent is left out, and an old report makes a page.
func TestEvalOfAnOlderPipe(t *testing.T) {
	_, html := made(t, evalFolder(t, func(r map[string]any) {
		for _, key := range []string{"command", "comparisons", "cohorts", "overlap", "overlap_faces", "variants", "agreement", "warnings", "failed", "from_a_newer_pipe"} {
			delete(r, key)
		}
		for _, m := range r["models"].([]any) {
			for _, key := range []string{"uncertainty", "clean", "cost", "identification", "worst", "det", "histogram", "thresholds", "not_measurable", "few_errors"} {
				delete(m.(map[string]any), key)
			}
		}
	}))
	for _, anchor := range []string{"models", "thresholds", "curves", "digests"} {
		holds(t, html, `id="`+anchor+`"`)
	}
	for _, anchor := range []string{"differences", "scores", "cohorts", "false-accepts", "cost", "overlap", "further", "command", "failed", "identification"} {
		if strings.Contains(html, `id="`+anchor+`"`) {
			t.Errorf("there is a section %s", anchor)
		}
	}
}

// A protocol that compares no pairs has no accuracy, AUC and EER of zero.
func TestEvalOfIdentificationAlone(t *testing.T) {
	p, html := made(t, evalFolder(t, func(r map[string]any) {
		for i, m := range r["models"].([]any) {
			found := m.(map[string]any)["identification"].(map[string]any)
			found["mean"] = map[string]any{"ranks": []any{map[string]any{"rank": 1, "mean": 0.8 + float64(i)/10, "pooled": map[string]any{"rate": 0.85, "errors": 15, "of": 100}}}}
			found["counts"] = map[string]any{"templates": 23124}
			r["models"].([]any)[i] = map[string]any{"model": fmt.Sprintf("%d.onnx", i), "dim": 512, "identification": found}
		}
		delete(r, "comparisons")
	}))
	if answer := p.Parts[0].Answer; !strings.HasPrefix(answer, "Of 2 models, 1.onnx is best on ") || !strings.HasSuffix(answer, ": rank 1 90.00 %.") {
		t.Error(answer)
	}
	holds(t, html, "mean of the galleries", "together 85.00 %", "23,124", "G1")
	for _, absent := range []string{">AUC<", ">EER %<", "accuracy %", `id="thresholds"`} {
		if strings.Contains(html, absent) {
			t.Errorf("%s is in the page", absent)
		}
	}
}

func TestEvalWithoutFigures(t *testing.T) {
	p, html := made(t, evalFolder(t, func(r map[string]any) {
		r["models"] = []any{}
		r["failed"] = []any{map[string]any{"model": hostile, "error": "no <embedding>", "unusable_pairs": 3, "unusable_crops": []string{"a"}}}
	}))
	if p.Parts[0].Answer != "None of 1 model could be measured." {
		t.Error(p.Parts[0].Answer)
	}
	holds(t, html, `id="failed"`, "no &lt;embedding&gt;", "3 unusable pairs")
}

func TestSeveralEvals(t *testing.T) {
	p, html := made(t, evalFolder(t, nil), evalFolder(t, func(r map[string]any) { r["pairs"].(map[string]any)["path"] = "other/cfp.txt" }))
	if len(p.Parts) != 3 {
		t.Fatalf("%d parts", len(p.Parts))
	}
	holds(t, html, `id="comparison"`, "cfp.txt", `id="thresholds-2"`, `id="thresholds-3"`, `href="#false-accepts-3"`, `id="report-3"`)
}

// A report of several tests is as several reports, and what is of all of them comes first.
func TestEvalOfSeveralTests(t *testing.T) {
	p, html := made(t, evalFolder(t, func(r map[string]any) {
		test := func(name string) map[string]any {
			return map[string]any{"name": name, "dataset": r["dataset"], "pairs": r["pairs"], "folds": 10}
		}
		r["tests"] = []any{test("lfw"), test("cfp_fp")}
		var models []any
		for i, m := range r["models"].([]any) {
			for k, name := range []string{"lfw", "cfp_fp"} {
				one := map[string]any{}
				for key, v := range m.(map[string]any) {
					one[key] = v
				}
				one["test"], one["accuracy"], one["digest"] = name, 0.9-float64(i+2*k)/100, fmt.Sprint(i)
				models = append(models, one)
			}
		}
		r["models"] = models
	}))
	if len(p.Parts) != 3 || p.Parts[1].Title != "Face verification on lfw" || p.Parts[2].Title != "Face verification on cfp_fp" {
		t.Fatalf("%d parts", len(p.Parts))
	}
	table := p.Parts[0].Sections[0].Blocks[0].Table
	if len(table.Rows) != 2 || len(table.Columns) != 2 || !strings.HasPrefix(table.Rows[0].Cells[0].Text, "90.00") || !strings.HasPrefix(table.Rows[1].Cells[1].Text, "87.00") {
		t.Errorf("%+v", table)
	}
	if !strings.Contains(p.Parts[1].Answer, "Of 2 models, ") || len(p.Parts[1].Warnings) > 0 && strings.Contains(p.Parts[1].Warnings[0], "of the report") {
		t.Errorf("%s; %q", p.Parts[1].Answer, p.Parts[1].Warnings)
	}
	holds(t, html, `id="overlap"`, `id="report"`, "a warning of the report", `id="thresholds-2"`, `id="false-accepts-3"`)
}

func TestDamagedReports(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	for text, want := range map[string]error{
		`{"models":[{"model":`:                   store.ErrDamaged,
		`{"models":7}`:                           store.ErrDamaged,
		``:                                       store.ErrDamaged,
		`<!doctype html>`:                        store.ErrDamaged,
		`{"models":[],"pairs":{}}`:               ErrUnknown,
		`[]`:                                     store.ErrDamaged,
		`{"models":[{"model":"a","folds":"x"}]}`: store.ErrDamaged,
	} {
		storetest.WriteText(t, path, text)
		_, err := Make(t.Context(), Options{What: []string{dir}})
		if !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	// A file that claims to be huge costs its limit.
	if err := os.Truncate(path, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(t.Context(), Options{What: []string{dir}}); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a huge report: %v", err)
	}
}

// However much there is, a page is small.
func TestSizeIsBounded(t *testing.T) {
	folder := evalFolder(t, func(r map[string]any) {
		models := r["models"].([]any)
		for len(models) < 600 {
			m := map[string]any{}
			for k, v := range models[0].(map[string]any) {
				m[k] = v
			}
			m["model"] = fmt.Sprintf("%d/%s", len(models), strings.Repeat("long-name-", 1000))
			models = append(models, m)
		}
		r["models"] = models
		var missing []string
		for i := range 20_000 {
			missing = append(missing, fmt.Sprintf("person_%d/missing.jpg", i))
		}
		r["pairs"].(map[string]any)["missing"] = missing
	})
	_, html := made(t, folder)
	holds(t, html, "are too many to be in a page", " more</p>")
}

func TestRun(t *testing.T) {
	p, html := made(t, runFolder(t, 20_000, true))
	part := p.Parts[0]
	if part.Live || part.Answer != "mobilefacenet trained against r50 is finished: 20,000 steps in 4 epochs, final loss 0.25, validation accuracy 99.95 %." {
		t.Errorf("live %v: %s", part.Live, part.Answer)
	}
	for _, anchor := range []string{"outcome", "loss", "validation", "mining", "pace", "checkpoints", "settings", "digests"} {
		holds(t, html, `id="`+anchor+`"`)
	}
	holds(t, html, "1,200,512", "loss.name", "step-000000100.safetensors", "dropped", "0 throughout", "learning rate", "Validation accuracy")
	if len(part.Warnings) > 0 { // the torn line is none
		t.Error(part.Warnings)
	}
	r := run{path: part.Path}
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	c := r.journal.train["loss"]
	if n := len(c.points); n > maxPoints || n < maxPoints/2-1 {
		t.Errorf("%d points", n)
	}
	for i, point := range c.points {
		if !(point.Low <= point.Y && point.Y <= point.High) || i > 0 && point.X <= c.points[i-1].X {
			t.Fatalf("point %d is %+v", i, point)
		}
	}
	if c.points[0].High != 0.1 || c.last != 1/20_000. || r.journal.step != 20_000 {
		t.Errorf("from %+v to %g at step %d", c.points[0], c.last, r.journal.step)
	}
	if rate, _ := r.journal.rate.constant(); rate != 256 { // 8 steps a second of 32
		t.Errorf("%g images a second", rate)
	}
}

func TestRunInProgress(t *testing.T) {
	p, html := made(t, runFolder(t, 200, false))
	if part := p.Parts[0]; !part.Live || !strings.Contains(part.Answer, "at step 200 of 400 (50 %), about 25 s to go; the loss is 0.005") || !strings.Contains(part.Answer, "last written 20") {
		t.Errorf("live %v: %s", part.Live, part.Answer)
	}
	holds(t, html, "not finished")
	if strings.Contains(html, "http-equiv=\"refresh\"") {
		t.Error("a file asks again for itself")
	}
	p, _ = made(t, runFolder(t, 0, false))
	if part := p.Parts[0]; !part.Live || !strings.Contains(part.Answer, "no step yet") {
		t.Errorf("live %v: %s", part.Live, part.Answer)
	}
}

func TestRunWithTroubles(t *testing.T) {
	dir := runFolder(t, 100, false)
	storetest.WriteText(t, filepath.Join(dir, "metrics.jsonl"), journalOf(50)+
		"no json\n{\"loss\":1}\n"+strings.Repeat("x", maxLine+5)+"\n"+
		`{"step":60,"epoch":0.6,"loss":"NaN","cosine.dropped":3,"skipped":2,"seconds":7.5,"wait_seconds":1}`+"\n")
	storetest.WriteText(t, filepath.Join(dir, "diverged.json"), `{"reason":"the loss is not finite","step":61,"loss":"NaN","parameters_not_finite":["<b>conv1</b>"]}`)
	p, html := made(t, dir)
	part := p.Parts[0]
	if part.Live || !strings.Contains(part.Answer, "was given up at step 61: the loss is not finite.") {
		t.Errorf("live %v: %s", part.Live, part.Answer)
	}
	holds(t, html, "Up to 3 rows of a step were dropped (cosine.dropped)", "2 steps were skipped", "3 lines of metrics.jsonl cannot be read", "&lt;b&gt;conv1&lt;/b&gt;")

	storetest.WriteText(t, filepath.Join(dir, "run.json"), `{"options":`)
	if _, err := Make(t.Context(), Options{What: []string{dir}}); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "run.json") {
		t.Errorf("a damaged run.json: %v", err)
	}
	storetest.WriteText(t, filepath.Join(dir, "run.json"), `{"options":{}`+seal.Lead+strings.Repeat("0", 64)+seal.Tail)
	if _, err := Make(t.Context(), Options{What: []string{dir}}); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "seal") {
		t.Errorf("a run.json whose seal does not fit: %v", err)
	}
}

// What stands in the place of a file that tells a kind of folder is named.
func TestPipesInTheirPlace(t *testing.T) {
	for name, blamed := range map[string]string{"study.json": "table.json", "table.json": "table.json", "run.json": "run.json"} {
		dir := t.TempDir()
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Make(t.Context(), Options{What: []string{dir}}); err == nil || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), filepath.Join(dir, blamed)) {
			t.Errorf("a pipe as %s: %v", name, err)
		}
	}
}

// Lines of a run's journal that are not what was written are left out, and counted.
func TestSealedJournal(t *testing.T) {
	run, chain, text := t.TempDir(), journal.Of("run"), ""
	for line := range strings.Lines(journalOf(20)) {
		text += string(chain.Seal([]byte(strings.TrimSpace(line))))
	}
	for damage, bad := range map[string]int{"": 0, `"step":20`: 1} {
		storetest.WriteText(t, journal.Path(run), strings.Replace(text, damage, strings.Replace(damage, "20", "21", 1), 1))
		if j, err := readJournal(run, 1); err != nil || j.bad != bad || j.lines == 0 {
			t.Errorf("%q: %d bad of %d lines, %v", damage, j.bad, j.lines, err)
		}
	}
}

// A journal with ever new figures costs no more than its bounds.
func TestJournalIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, `{"step":%d,"loss":1,"figure_%d":2}`+"\n", i+1, i)
	}
	run := t.TempDir()
	storetest.WriteText(t, filepath.Join(run, "metrics.jsonl"), b.String())
	j, err := readJournal(run, 1)
	if err != nil || len(j.train) != maxCurves || !j.lost {
		t.Errorf("%d curves, %v", len(j.train), err)
	}
}

func TestDataset(t *testing.T) {
	dir := withTeachers(t)
	half := 0.5
	p, err := Make(t.Context(), Options{What: []string{dir}, Agreement: func(_ context.Context, dataset, a, b string) (Agreement, error) {
		if dataset != dir || a != "other" || b != "r50" {
			t.Errorf("%s: %s and %s", dataset, a, b)
		}
		return Agreement{Pairs: 100, All: &half}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.HTML()
	if err != nil {
		t.Fatal(err)
	}
	html := string(text)
	if want := "40 crops of 8 identities, 8 × 8 pixels, from 1 source; 2 teachers cached."; p.Parts[0].Answer != want {
		t.Error(p.Parts[0].Answer)
	}
	for _, anchor := range []string{"faces", "identities", "measures", "splits", "sources", "rejects", "teachers", "agreement", "digests"} {
		holds(t, html, `id="`+anchor+`"`)
	}
	holds(t, html, "truncated &lt;file&gt; &amp; more", "broken/0005.jpg", "sharpness", "person_01/0005.png", "0.500", "other and r50")
	if n := strings.Count(html, `src="data:image/jpeg`); n != 40 {
		t.Errorf("%d thumbnails", n)
	}
}

// Of rejected inputs the photograph is shown where it is a file below its source.
func TestRejectsHaveTheirPhotographs(t *testing.T) {
	photos := t.TempDir()
	c := storetest.Crop(0, 0)
	if err := os.MkdirAll(filepath.Join(photos, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, filepath.Join(photos, "in", "face.png"), string(c.Image))
	storetest.WriteText(t, filepath.Join(photos, "outside.png"), string(c.Image))
	dir := filepath.Join(t.TempDir(), "faces.ds")
	w := storetest.Writer(t, dir, 8)
	src := w.AddSource(store.SourceInfo{Kind: "folder", Path: filepath.Join(photos, "in"), Detector: "none"})
	for _, key := range []string{"face.png", "../outside.png", "gone.png"} {
		if err := w.Reject(store.Reject{Source: src, Key: key, Stage: "detect", Reason: "no face found"}); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Close(t, w)
	_, html := made(t, dir)
	if shown, without := strings.Count(html, `src="data:image/jpeg`), strings.Count(html, "no picture"); shown != 1 || without != 2 {
		t.Errorf("%d photographs, %d without", shown, without)
	}
	holds(t, html, "3 inputs gave no crop", "no face found", "were rejected (100.0 %)")
}

func TestCache(t *testing.T) {
	p, html := made(t, withTeachers(t)+":r50")
	if want := "r50.onnx embedded 40 of 40 crops in 24 dimensions (fp16), mirror images too; 8 embeddings cannot be used."; p.Parts[0].Answer != want {
		t.Error(p.Parts[0].Answer)
	}
	for _, anchor := range []string{"norms", "tables", "digests"} {
		holds(t, html, `id="`+anchor+`"`)
	}
	if n := strings.Count(html, "norm "); n < 24 {
		t.Errorf("%d norms", n)
	}
}

func TestDamagedDataset(t *testing.T) {
	dir := withTeachers(t)
	storetest.FlipBit(t, filepath.Join(dir, "crops/000001.arrow"), 1500)
	if _, err := Make(t.Context(), Options{What: []string{dir}}); !errors.Is(err, store.ErrDamaged) {
		t.Error(err)
	}
	dir = withTeachers(t)
	storetest.FlipBit(t, filepath.Join(dir, "teachers/r50/000002.arrow"), 1500)
	if _, err := Make(t.Context(), Options{What: []string{dir + ":r50"}}); !errors.Is(err, store.ErrDamaged) {
		t.Error(err)
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		total, n int
		want     string
	}{{0, 5, "[]"}, {3, 5, "[0 1 2]"}, {10, 5, "[1 3 5 7 9]"}, {100, 3, "[16 50 83]"}} {
		if got := fmt.Sprint(spread(c.total, c.n)); got != c.want {
			t.Errorf("%d of %d: %s, want %s", c.n, c.total, got, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		count(0): "0", count(999): "999", count(1000): "1,000", count(-1234567): "−1,234,567",
		many(1, "crop"): "1 crop", many(2, "identity"): "2 identities", oneIn(1e-3): "1 in 1,000", oneIn(0.15): "15.000 %",
		size(1): "1 byte", size(1536): "1.5 KiB", duration(0.04): "0.0 s", duration(75): "1 min 15 s", duration(7320): "2 h 2 min",
		number(-0.5, 1): "−0.5", brief(1e-7): "1e-7", brief(-2.5): "−2.5", allBounds[0].clip(strings.Repeat("x", maxText+1)): strings.Repeat("x", maxText/2) + " … " + strings.Repeat("x", maxText/2),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What comes out of files is text, whatever it is.
func TestHostileText(t *testing.T) {
	folder := evalFolder(t, func(r map[string]any) {
		r["pairs"].(map[string]any)["path"] = hostile
		for _, m := range r["models"].([]any) {
			m.(map[string]any)["model"] = hostile + strings.Repeat("y", 10_000)
		}
		r["warnings"] = []string{hostile}
		r[hostile] = hostile
	})
	_, html := made(t, folder, hostileDataset(t))
	for _, bad := range []string{"<script>alert", "\x1b", "\u202e", "\x00", "<img src=x", "<b>long", strings.Repeat("y", maxText+1)} {
		if strings.Contains(strings.ReplaceAll(html, strings.Repeat("y", 10_000), ""), bad) {
			t.Errorf("%q is in the page", bad)
		}
	}
	holds(t, html, `\u001b`, `\u202e`, "&lt;script&gt;alert(1)", `content="default-src 'none'; script-src 'none'; img-src data:; `)
	if n := strings.Count(html, "<script"); n != strings.Count(html, `<script type="application/json"`) {
		t.Errorf("%d scripts", n)
	}
}
