package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/storetest"
)

// hostile is a name that would be markup, a command to a terminal, and text from the right.
const hostile = "\"><script>alert(1)</script>\x1b[31m\u202egnp\x00'{{.}}"

// rate is a share of errors as reports have it.
func fixtureRate(errors, of int) map[string]any {
	v := float64(errors) / float64(of)
	return map[string]any{"errors": errors, "of": of, "value": v, "rate": v, "interval": map[string]any{"low": v / 2, "high": min(2*v, 1)}}
}

func between01(v float64) map[string]any {
	return map[string]any{"value": v, "interval": map[string]any{"low": v - 0.01, "high": v + 0.01}}
}

// evalFolder is an eval's folder: the golden report, with all that a report may have besides.
// change may alter it.
func evalFolder(t *testing.T, change func(report map[string]any)) string {
	t.Helper()
	text, err := os.ReadFile("../eval/testdata/golden/report.json")
	if err != nil {
		t.Fatal(err)
	}
	var r map[string]any
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	models := r["models"].([]any)
	first := models[0].(map[string]any)
	second := map[string]any{}
	for k, v := range first {
		second[k] = v
	}
	second["model"] = "run/student.onnx"
	r["models"] = []any{first, second}
	dir := t.TempDir()
	for i, m := range r["models"].([]any) {
		enrich(m.(map[string]any), i)
	}
	r["command"] = []string{"pipe", "eval", "--model", "it's.onnx"}
	r["warnings"] = []string{"a warning of the report"}
	r["comparisons"] = []any{map[string]any{
		"a": first["model"], "b": "run/student.onnx", "auc": between01(0), "eer": between01(0), "fnmr": []any{map[string]any{"target_fmr": 0.1, "delta": 0.02}},
		"accuracy": map[string]any{"delta": -0.0125, "interval": map[string]any{"low": -0.02, "high": -0.001}, "p": 0.01, "p_adjusted": 0.01,
			"decisions": map[string]any{"only_a_right": 31, "only_b_right": 7, "mcnemar_p": 0.0001}},
	}}
	cell := func(n int) map[string]any {
		return map[string]any{"fmr": fixtureRate(n, 600), "fnmr": fixtureRate(2*n, 500)}
	}
	group := func(name string, n int, small bool) map[string]any {
		g := cell(n)
		g["name"], g["faces"], g["identities"], g["small"] = name, 100*n, 10*n, small
		return g
	}
	r["cohorts"] = []any{map[string]any{
		"model": first["model"], "column": "age", "cut": "quartiles", "threshold_cosine": 0.3, "target_fmr": 0.001, "all": cell(3),
		"groups": []any{group("young", 4, false), group("old", 2, true)}, "matrix": []any{[]any{cell(4), cell(1)}, []any{cell(1), cell(2)}},
		"summary": map[string]any{"groups": 2, "fmr_max_by_min": 2.5, "fdr": 0.99, "garbe": 0.1}, "notes": []string{"a note on age"},
	}}
	r["overlap"] = map[string]any{
		"train": "train.ds", "teacher": "r50", "dirty_crops": 7, "dirty_identities": 2, "test_side": map[string]any{"crops": 24},
		"centres": map[string]any{"threshold": 0.61, "expected_false_hits": 0.5, "hits": 2},
		"hits":    []any{map[string]any{"by": "centre", "test_key": "test/a.jpg", "train_key": "train/b.jpg", "cosine": 0.81}},
	}
	r["overlap_faces"] = []any{map[string]any{"test": "faces/a.jpg", "train": "faces/a.jpg"}}
	r["variants"] = []any{map[string]any{"baseline": first["model"], "others": []any{map[string]any{"model": "run/student.onnx", "precision": "int8", "bytes_ratio": 0.27,
		"latency_ratio": 0.55, "latency_batch": 1, "cosine": map[string]any{"mean": 0.99812, "min": 0.97}}}}}
	r["agreement"] = []any{map[string]any{"a": first["model"], "b": "run/student.onnx", "faces": 24, "pairs": 100, "spearman": 0.91, "notes": []string{"a note on faces"},
		"cosine": map[string]any{"mean": 0.8, "percentile_1": 0.6, "min": 0.55}, "differ": []any{map[string]any{"first": "p/1.jpg", "second": "q/2.jpg", "same": true, "cosine_a": 0.7, "cosine_b": 0.1, "difference": -0.5}}}}
	r["from_a_newer_pipe"] = []any{map[string]any{"spearman": 0.83125}}
	if change != nil {
		change(r)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	if err := e.Encode(r); err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, filepath.Join(dir, "report.json"), b.String())
	picture := imgcodec.NewImage(64, 64)
	for i := range picture.Pix {
		picture.Pix[i] = byte(i)
	}
	if err := os.MkdirAll(filepath.Join(dir, "faces"), 0o755); err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, filepath.Join(dir, "faces", "a.jpg"), string(imgcodec.EncodeJPEG(picture, 90)))
	storetest.WriteText(t, filepath.Join(dir, "roc.svg"), `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><script>alert(2)</script></svg>`)
	return dir
}

// enrich gives a model what eval's other packages find.
func enrich(m map[string]any, i int) {
	m["uncertainty"] = map[string]any{
		"level": 0.95, "identities": 12, "replicates": 1000, "seed": 7, "notes": []string{"a note on intervals"}, "accuracy": between01(0.9), "auc": between01(0.95), "eer": between01(0.1),
		"operating_points": []any{map[string]any{"target_fmr": 0.1, "fnmr": between01(0.2), "threshold_cosine": between01(0.3),
			"at_threshold": map[string]any{"fmr": fixtureRate(9, 100), "fnmr": fixtureRate(40, 100)}}},
	}
	m["clean"] = map[string]any{"pairs": 77, "accuracy": 0.875, "accuracy_std": 0.01, "auc": 0.91234, "uncertainty": map[string]any{"accuracy": between01(0.875)}}
	m["cost"] = map[string]any{
		"bytes": 1 << 20, "parameters": 1_200_000 * (i + 1), "precision": "fp32", "provider": "cpu", "threads": 2,
		"multiplications": map[string]any{"macs": 55_000_000}, "batches": []any{map[string]any{"size": 1, "median_ms": 1.9, "p95_ms": 2.4, "crops_per_second": 526}},
		"memory": map[string]any{"peaks": []any{map[string]any{"size": 8, "bytes": 80 << 20}}},
	}
	m["identification"] = map[string]any{
		"protocol": "ijb", "set": "IJB-C", "switches": map[string]any{"pool": "mean"},
		"searches": []any{map[string]any{"gallery": "G1", "ranks": []any{map[string]any{"rank": 1, "hits": map[string]any{"rate": 0.9, "errors": 10, "of": 100}}},
			"open_set": []any{map[string]any{"target_fpir": 0.01, "tpir": map[string]any{"rate": 0.8, "errors": 20, "of": 100}}}}},
	}
	pair := map[string]any{"first": "one/a.jpg", "second": "two/b.jpg", "first_face": "faces/a.jpg", "second_face": "../../outside.jpg", "cosines": []any{0.91, 0.2}}
	m["worst"] = map[string]any{"threshold_cosine": 0.5, "chosen": "FMR 1e-3", "false_accepts": []any{pair}, "false_rejects": []any{pair}}
}

// runFolder is a run's folder with a journal of so many steps, logged every tenth, and a last
// line that a kill tore.
func runFolder(t *testing.T, steps int, finished bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.MkdirAll(filepath.Join(dir, "checkpoints"), 0o755); err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, filepath.Join(dir, "run.json"), `{"version":3,"options":{"teacher":"r50","student":"mobilefacenet","epochs":4,"batch":32,"lr":0.1,
		"loss":{"name":"cosine"}},"dataset_digest":"3485ad","teacher_fingerprint":"edfb75","flip":true,"crops":800}`)
	storetest.WriteText(t, filepath.Join(dir, "metrics.jsonl"), journalOf(steps)+`{"step":99999,"lo`)
	storetest.WriteText(t, filepath.Join(dir, "checkpoints", "step-000000100.safetensors"), "weights")
	if finished {
		storetest.WriteText(t, filepath.Join(dir, "summary.json"), fmt.Sprintf(`{"steps":%d,"epochs":4,"final_loss":0.25,"parameters":1200512,"device":"cpu","precision":"fp32","torch":"1.13.0","validation":{"accuracy":0.97}}`, steps))
	}
	return dir
}

func journalOf(steps int) string {
	var b strings.Builder
	for step := 10; step <= steps; step += 10 {
		fmt.Fprintf(&b, `{"step":%d,"epoch":%g,"loss":%g,"lr":0.1,"cosine":%g,"pairs":%d,"dropped":0,"seconds":%g,"wait_seconds":%g}`+"\n",
			step, float64(step)/100, 1/float64(step), 0.5/float64(step), step%70, float64(step)/8, float64(step)/80)
		if step%100 == 0 {
			fmt.Fprintf(&b, `{"step":%d,"epoch":%d,"val_accuracy":%g}`+"\n", step, step/100, 1-10/float64(step))
		}
	}
	return b.String()
}

// withTeachers is a dataset with two caches.
func withTeachers(t *testing.T) string {
	t.Helper()
	dir := storetest.Build(t, 40, 8)
	d := storetest.Open(t, dir)
	storetest.Embed(t, d, storetest.Info(cache.FP16, true), -1, storetest.SpoilSome)
	other := storetest.Info(cache.FP32, false)
	other.Name = "other"
	storetest.Embed(t, d, other, -1, nil)
	return dir
}

// hostileDataset has a name, a source and keys that would be markup.
func hostileDataset(t *testing.T) string {
	t.Helper()
	long := strings.Repeat("<b>long</b>", 300)
	var crops []store.Crop
	for i := range 3 {
		c := storetest.Crop(0, i)
		c.Key, c.Identity = fmt.Sprintf("%d/\"><script>alert(1)</script>\x1b\u202e%s", i, long), "<img src=x onerror=alert(3)>"
		crops = append(crops, c)
	}
	dir := filepath.Join(t.TempDir(), `<script>alert(4)<`)
	storetest.Write(t, dir, storetest.Contract, 8, store.SourceInfo{Kind: "folder", Path: "/x/<i>\x1b" + long, Detector: "<u>"}, crops)
	return dir
}

// made is the page of some paths.
func made(t *testing.T, what ...string) (Page, string) {
	t.Helper()
	p, err := Make(t.Context(), Options{What: what, Command: []string{"pipe", "report", hostile}})
	if err != nil {
		t.Fatal(err)
	}
	html, err := p.HTML()
	if err != nil {
		t.Fatal(err)
	}
	return p, string(html)
}

// holds wants texts to be in a page.
func holds(t *testing.T, html string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(html, text) {
			t.Errorf("%q is not in the page", text)
		}
	}
}
