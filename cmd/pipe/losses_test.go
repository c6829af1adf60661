package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"facepipe/student/loss"
)

// TestLossExpression: a sum of losses is recorded, and compared on resume, in its one form.
func TestLossExpression(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	precompute(t, dataset)
	out := filepath.Join(t.TempDir(), "run")
	expect(t, exitDone, distillArgs(dataset, out, "--loss", "cosine+.50 * l2", "--epochs", "1")...)
	recorded, err := os.ReadFile(filepath.Join(out, "distill.yaml"))
	if err != nil || !strings.Contains(string(recorded), "name: cosine + 0.5*l2\n") {
		t.Errorf("recorded is, %v,\n%s", err, recorded)
	}
	metrics, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := bytes.Cut(metrics, []byte("\n"))
	var step map[string]any
	if err := json.Unmarshal(first, &step); err != nil {
		t.Fatal(err)
	}
	for _, term := range []string{"cosine", "l2"} {
		number(t, step, term)
	}
	again := expect(t, exitDone, distillArgs(dataset, out, "--loss", "1*cosine + 0.5*l2", "--epochs", "1", "--json")...).object(t)
	if number(t, again, "resumed_at") != 2 {
		t.Errorf("the same expression, written otherwise, goes on as %v", again)
	}
	for _, other := range []string{"cosine + 0.6*l2", "0.5*l2 + cosine", "cosine"} {
		o := expect(t, exitUsage, distillArgs(dataset, out, "--loss", other, "--epochs", "1")...)
		if !strings.Contains(o.stderr, "was started with another options.loss.") {
			t.Errorf("going on with %s: %s", other, o.stderr)
		}
	}
}

// TestLossExpressionsThatAreNone: each is an error of usage that says where, and what was
// probably meant, before anything is written.
func TestLossExpressionsThatAreNone(t *testing.T) {
	dataset := ingestAligned(t, 1, 2)
	precompute(t, dataset)
	out := filepath.Join(t.TempDir(), "run")
	for expression, says := range map[string]string{
		"cosine + 0.5*cosin":        `column 14: "cosin" is no loss: did you mean cosine?`,
		"magic":                     `column 1: "magic" is no loss; there are unified, cosine`,
		"cosine + x*l2":             `column 10: "x" is no weight`,
		"cosine + 2*cosine":         "column 10: cosine comes twice",
		"cosine + ":                 "a loss is missing",
		"cosine + 0.5*cosine@other": "give --teacher other, too",
	} {
		o := expect(t, exitUsage, distillArgs(dataset, out, "--loss", expression)...)
		if !strings.Contains(o.stderr, says) {
			t.Errorf("%q: %s", expression, o.stderr)
		}
	}
	// A teacher that was never asked has no cache.
	o := pipe(t, distillArgs(dataset, out, "--teacher", "other", "--loss", "cosine + 0.5*cosine@other")...)
	if o.code == exitDone || !strings.Contains(o.stderr, "other") || !strings.Contains(o.stderr, "tiny") {
		t.Errorf("a teacher without a cache ends with %d: %s", o.code, o.stderr)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("there is a run now")
	}
}

// TestSeveralTeachers: any loss learns from the mean of two, or a term from one of them.
func TestSeveralTeachers(t *testing.T) {
	dataset := ingestAligned(t, 3, 4)
	model := precompute(t, dataset)
	expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model, "--name", "second", "--preprocess", "raw", "--no-self-test", "--flip")
	for name, tt := range map[string]struct{ expression, says string }{
		"mean":       {"cosine", "is turned to tiny: mean cosine"},
		"one a term": {"cosine@tiny + 0.5*cosine@second", "tiny"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			args := distillArgs(dataset, out, "--teacher", "second", "--loss", tt.expression, "--epochs", "1")
			if o := expect(t, exitDone, args...); !strings.Contains(o.stderr, tt.says) {
				t.Errorf("a run says\n%s", o.stderr)
			}
			recorded, err := os.ReadFile(filepath.Join(out, "distill.yaml"))
			if err != nil || !strings.Contains(string(recorded), "teacher: tiny,second\n") || !strings.Contains(string(recorded), "name: "+tt.expression+"\n") {
				t.Errorf("recorded is, %v,\n%s", err, recorded)
			}
			o := expect(t, exitUsage, distillArgs(dataset, out, "--loss", tt.expression, "--epochs", "1")...)
			if !strings.Contains(o.stderr, "teacher") {
				t.Errorf("going on without the second: %s", o.stderr)
			}
		})
	}
}

// TestLossesList holds what pipe losses says of all, without times, and of one against the
// register.
func TestLossesList(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(expect(t, exitDone, "losses", "--no-measure").stdout, "\n"), "\n")
	want := [][]string{{"NAME", "MS A STEP OF 128", "NEEDS", "ABOUT"}}
	for _, l := range loss.All() {
		want = append(want, []string{l.Name, "-", l.Needs.String(), l.About})
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d", len(lines), len(want))
	}
	for i, line := range lines {
		if got := regexp.MustCompile("  +").Split(line, -1); !slices.Equal(got, want[i]) {
			t.Errorf("a line has %q, want %q", got, want[i])
		}
	}
	listed := expect(t, exitDone, "losses", "--no-measure", "--json").object(t)
	whole := expect(t, exitDone, append([]string{"losses", "--no-measure", "--json"}, loss.Names()...)...).object(t)
	rows, wholes := listed["losses"].([]any), whole["losses"].([]any)
	for i, l := range loss.All() {
		row, all := rows[i].(map[string]any), wholes[i].(map[string]any)
		if row["name"] != l.Name || row["about"] != l.About || row["needs"] != l.Needs.String() || row["source"] != l.Source ||
			row["formula"] != nil || row["milliseconds"] != nil {
			t.Errorf("%s is %v", l.Name, row)
		}
		if settings, _ := all["settings"].([]any); all["formula"] != l.Formula || len(settings) != len(l.Settings()) {
			t.Errorf("%s by its name is %v", l.Name, all)
		}
	}
}

// TestLossByName: formula, source and settings are told, and names that are none.
func TestLossByName(t *testing.T) {
	all := loss.All()
	ekd := all[slices.IndexFunc(all, func(l loss.Loss) bool { return l.Name == "ekd" })]
	text := expect(t, exitDone, "losses", "ekd", "--no-measure").stdout
	for _, line := range append(strings.Split(ekd.Formula, "\n"), "source  "+ekd.Source, "needs   "+ekd.Needs.String()) {
		if !strings.Contains(text, "\n  "+line+"\n") {
			t.Errorf("%q is missing in\n%s", line, text)
		}
	}
	for _, s := range ekd.Settings() {
		if !regexp.MustCompile(`(?m)^  ` + s.Key + ` +` + s.Default + ` +` + regexp.QuoteMeta(s.About) + `$`).MatchString(text) {
			t.Errorf("%s is missing in\n%s", s.Key, text)
		}
	}
	for name, says := range map[string]string{"ekdd": "column 1: \"ekdd\" is no loss: did you mean ekd?", "cosine + l2": "name its losses one by one"} {
		if o := expect(t, exitUsage, "losses", name); !strings.Contains(o.stderr, says) {
			t.Errorf("%s: %s", name, o.stderr)
		}
	}
}

// TestDocsNameEveryLoss holds docs/losses.md against the register.
func TestDocsNameEveryLoss(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "losses.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## All losses\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]*)`").FindAllStringSubmatch(table, -1) {
		rows[row[1]] = true
	}
	for _, name := range loss.Names() {
		if !rows[name] {
			t.Errorf("the table of docs/losses.md has no row of %s", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("docs/losses.md has a row of %s, which is no loss", name)
	}
}
