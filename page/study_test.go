package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/storetest"
)

// studyFolder is a study of two losses over three seeds, the last row of which still runs, and of a
// row that failed.
func studyFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "study")
	figure := func(test, name string, mean float64) map[string]any {
		return map[string]any{"test": test, "name": name, "values": []float64{mean - 0.01, mean, mean + 0.01}, "mean": mean, "std": 0.01}
	}
	better := figure("lfw", "accuracy", 0.95)
	better["difference"] = map[string]any{"delta": map[string]any{"values": []float64{0.01, 0.02, 0.03}, "mean": 0.02, "std": 0.01}, "p": 0.25, "least_p": 0.25,
		"floor": "3 seeds: cannot be significant at 5 %", "interval": map[string]any{"low": 0.005, "high": 0.035}}
	better["p_adjusted"] = 0.5
	cost := map[string]any{"parameters": 1200512, "steps": 200, "seconds_per_step": 0.1, "hours": 1.5, "peak_mib": 900}
	table := map[string]any{
		"study": "/x/losses.yaml", "baseline": "cosine", "chosen_by": "the last step", "warnings": []string{"12 faces are trained on"},
		"says":   []string{"FAILED wild, seed 1: diverged", "accuracy on lfw against cosine: " + hostile + " better."},
		"states": map[string]int{"done": 2, "running": 1, "failed": 1}, "failed": []any{map[string]any{"row": "wild, seed 1", "error": "a\nb"}},
		"tests": []string{"val", "lfw"}, "validation": "val",
		"groups": []any{
			map[string]any{"name": "cosine", "loss": "cosine", "seeds": []int{1, 2, 3}, "figures": []any{figure("val", "accuracy", 0.9), figure("lfw", "accuracy", 0.93), figure("lfw", "auc", 0.99)}, "cost": cost},
			map[string]any{"name": hostile, "loss": "unified", "seeds": []int{1, 2, 3}, "settings": map[string]string{"loss.name": "unified", "teacher": ""}, "figures": []any{better}, "cost": cost},
		},
	}
	var rows []any
	for seed := 1; seed <= 3; seed++ {
		for i, group := range []string{"cosine", hostile} {
			folder := fmt.Sprintf("row%d-%d", i, seed)
			rows = append(rows, map[string]any{"row": fmt.Sprintf("%s, seed %d", group, seed), "group": group, "seed": seed, "state": "done", "folder": folder})
			if err := os.MkdirAll(filepath.Join(dir, "rows", folder), 0o755); err != nil {
				t.Fatal(err)
			}
			storetest.WriteText(t, filepath.Join(dir, "rows", folder, "metrics.jsonl"), journalOf(200))
		}
	}
	rows = append(rows, map[string]any{"row": "elsewhere", "group": "cosine", "seed": 9, "state": "done", "folder": "../../x"})
	table["rows"] = rows
	text, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, filepath.Join(dir, "table.json"), string(text))
	storetest.WriteText(t, filepath.Join(dir, "study.json"), `{"file": "losses.yaml"}`)
	return dir
}

func TestStudy(t *testing.T) {
	dir := studyFolder(t)
	p, html := made(t, dir)
	part := p.Parts[0]
	if part.Kind != "study" || part.Title != "losses" || !part.Live || !strings.HasPrefix(part.Answer, "Accuracy on lfw against cosine: ") || !strings.HasSuffix(part.Answer, "2 rows of 7 are done.") {
		t.Errorf("%s, live %v: %s", part.Title, part.Live, part.Answer)
	}
	if len(part.Warnings) != 2 || part.Warnings[1] != "wild, seed 1 failed: a b" {
		t.Error(part.Warnings)
	}
	for _, anchor := range []string{"says", "on1", "on2", "worth", "learning", "cost", "differing", "rows"} {
		holds(t, html, `id="`+anchor+`"`)
	}
	holds(t, html, "This is the validation", "95.00", "± 1.00", "&#43;2.00", "&#43;0.50 to &#43;3.50", "0.500", "3 seeds: cannot be significant at 5 %", "0.99000", "1,200,512", "none")
	if strings.Contains(html, "<script>") {
		t.Error("a name is markup")
	}
	charts := 0
	for _, s := range part.Sections {
		for _, b := range s.Blocks {
			charts += len(b.Charts)
		}
	}
	if charts != 2*2+2+2 {
		t.Errorf("%d charts", charts)
	}
	c := comparison{path: dir, Rows: []studyRow{{Group: "g", Folder: "row0-1"}, {Group: "g", Folder: "row0-2"}, {Group: "g", Folder: "../study/rows/row0-3"}}}
	loss, val, err := c.curvesOf("g")
	if err != nil || len(loss) != 20 || loss[0].Y != 0.1 || loss[0].Low != 0.1 || len(val["accuracy"]) != 2 {
		t.Errorf("%v, %v, %v", loss, val, err)
	}
}

// However large a study is, its page is small.
func TestStudyIsBounded(t *testing.T) {
	dir := t.TempDir()
	var groups, rows []any
	for i := range 1500 {
		name := fmt.Sprint(i, strings.Repeat("-long", 500))
		settings := map[string]string{}
		for k := range 3 {
			settings[fmt.Sprintf("%d.%s", k, name)] = strings.Repeat("v", 5000)
		}
		if i > 20 {
			settings = nil
		}
		groups = append(groups, map[string]any{"name": name, "settings": settings, "figures": []any{map[string]any{"test": "lfw", "name": "accuracy", "mean": 0.9, "values": []float64{0.9}}}})
		rows = append(rows, map[string]any{"row": name, "group": name, "state": "done", "folder": "x"})
	}
	text, err := json.Marshal(map[string]any{"study": "s.yaml", "baseline": "0", "tests": []string{"lfw"}, "groups": groups, "rows": rows, "states": map[string]int{"done": 1500}})
	if err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, filepath.Join(dir, "table.json"), string(text))
	storetest.WriteText(t, filepath.Join(dir, "study.json"), "{}")
	_, html := made(t, dir)
	holds(t, html, "are too many to be in a page", " more</p>")
}

// A study that has found nothing yet, or whose table is cut short, is told so.
func TestStudyWithoutFigures(t *testing.T) {
	dir := t.TempDir()
	storetest.WriteText(t, filepath.Join(dir, "study.json"), "{}")
	storetest.WriteText(t, filepath.Join(dir, "table.json"), `{"study": "s.yaml", "rows": [{"row": "a, seed 1", "state": "new"}], "says": ["0 of 1 rows are done."]}`)
	p, _ := made(t, dir)
	if part := p.Parts[0]; part.Answer != "0 rows of 1 are done." || !part.Live {
		t.Error(part.Answer)
	}
	storetest.WriteText(t, filepath.Join(dir, "table.json"), `{"study": `)
	if _, err := Make(t.Context(), Options{What: []string{dir}}); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "table.json") {
		t.Error(err)
	}
}
