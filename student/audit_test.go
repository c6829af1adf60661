package student

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/onnx"
	"facepipe/internal/seal"
	"facepipe/student/checkpoint"
)

// audited is what [Audit] finds, one problem a line, and how many notes it has.
func audited(t *testing.T, run string) (problems string, notes int) {
	t.Helper()
	r, err := Audit(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != (len(r.Problems) == 0) || r.Problems == nil {
		t.Errorf("%+v", r)
	}
	for _, p := range r.Problems {
		problems += fmt.Sprintf("%s: %s\n", p.File, p.What)
	}
	return problems, len(r.Notes)
}

// Damage to any file of a run's folder is named, with its file; what is sound is not.
func TestAuditOfARun(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.KeepBest = 2, "accuracy"
	scored(t, &o, []float64{0.5, 0.4})
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if problems, notes := audited(t, o.Out); problems != "" || notes != 0 {
		t.Fatalf("a sound run: %s, %d notes", problems, notes)
	}
	events, err := filepath.Glob(filepath.Join(o.Out, "tensorboard", "*"))
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	newest, best := filepath.Join("checkpoints", checkpoint.Name(10)), filepath.Join("checkpoints", checkpoint.Name(5))
	event, err := filepath.Rel(o.Out, events[0])
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) func(string) string {
		return func(text string) string {
			if !strings.Contains(text, old) {
				t.Errorf("%q is not in it", old)
			}
			return strings.Replace(text, old, new, 1)
		}
	}
	flip := func(text string) string {
		data := []byte(text)
		data[len(data)/2] ^= 2
		return string(data)
	}
	other := read(t, o, best)
	otherStudent := func(text string) string {
		m, err := onnx.Unmarshal([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		m.Metadata = slices.DeleteFunc(m.Metadata, func(p onnx.Property) bool { return p.Key == onnx.SealKey })
		for i, p := range m.Metadata {
			m.Metadata[i].Value = strings.Replace(p.Value, `"steps":10`, `"steps":11`, 1)
		}
		return string(m.MarshalSealed())
	}
	id := checkpoint.RunID([]byte(read(t, o, "run.json")))
	resealed := func(change func(string) string) func(string) string {
		return func(text string) string {
			text = change(text)
			return string(seal.CloseText([]byte(text[:strings.LastIndex(text, "# seal")]), id))
		}
	}
	for _, c := range []struct {
		name, file string
		change     func(string) string // nil removes it
		want       string              // "" is no damage
		notes      int
	}{
		{"", "run.json", nil, "run.json: missing: resume", 0},
		{"", "run.json", replace(`"seed": 1`, `"seed": 3`), "run.json: damaged data: contents do not match the seal", 0},
		{"", "run.json", func(string) string { return "" }, "run.json: ", 0},
		{"another run's", "run.json", func(text string) string {
			return string(seal.Close(unsealed(t, []byte(strings.Replace(text, `"seed": 1`, `"seed": 3`, 1)))))
		}, newest + ": unusable checkpoint: damaged data: it is of another run", 0},
		{"", "distill.yaml", nil, "distill.yaml: missing", 0},
		{"", "distill.yaml", replace("crops to", "craps to"), "distill.yaml: damaged data: contents do not match the seal: delete it", 0},
		{"sealed anew", "distill.yaml", resealed(replace("seed: 1", "seed: 3")), "distill.yaml: has another seed (1, now 3) than run.json", 0},
		{"sealed anew", "distill.yaml", resealed(replace("seed: 1", "sead: 1")), "distill.yaml: ", 0},
		{"without its seal", "distill.yaml", func(text string) string { return text[:strings.LastIndex(text, "# seal")] }, "distill.yaml: has lost its seal", 1},
		{"", newest, nil, newest + ": missing: take it from a copy", 0},
		{"", best, nil, best + ": missing: take it from a copy", 0},
		{"", newest, flip, newest + ": unusable checkpoint: damaged data: ", 0},
		{"copied", newest, func(string) string { return other }, newest + ": unusable checkpoint: damaged data: it is of step 5", 0},
		{"", best, func(text string) string { return text[:len(text)-1] }, best + ": unusable checkpoint: damaged data: ", 0},
		{"", "checkpoints/best.json", replace("0.5", "0.7"), "checkpoints/best.json: is not what the newest", 0},
		{"", "checkpoints/best.json", func(string) string { return "{" }, "checkpoints/best.json: ", 0},
		{"", "checkpoints/best.json", nil, "checkpoints/best.json: missing", 0},
		{"", "metrics.jsonl", nil, "metrics.jsonl: has 0 lines of the 12, the last of step 0: what is missing was lost", 0},
		{"", "metrics.jsonl", replace("{", "?"), "metrics.jsonl: has 11 lines of the 12", 0},
		{"", "metrics.jsonl", replace(`"epoch":0`, `"epoch":1`), "metrics.jsonl: has 11 lines of the 12", 0},
		{"", "metrics.jsonl", func(text string) string { return text + "\x00\x00" }, "metrics.jsonl: does not end as it was written", 0},
		{"", "metrics.jsonl", func(text string) string { return strings.TrimSuffix(text, "\n") }, "metrics.jsonl: does not end as it was written", 0},
		{"", event, flip, event + ": not an event file", 0},
		{"", "summary.json", replace(`"steps": 10`, `"steps": 11`), "summary.json: damaged data: contents do not match the seal; delete it", 0},
		{"of another run", "summary.json", func(text string) string {
			return string(seal.Close(unsealed(t, []byte(strings.Replace(text, id, strings.Repeat("0", 64), 1)))))
		}, "summary.json: damaged data: is of another run than run.json", 0},
		{"", "summary.json", func(string) string { return "" }, "summary.json: damaged data: unexpected end", 0},
		{"unfinished", "summary.json", nil, "", 1},
		{"", "diverged.json", func(string) string { return "?" }, "diverged.json: ", 0},
		{"", "student.onnx", flip, "student.onnx: damaged data: ", 0},
		{"", "student.onnx", nil, "student.onnx: missing: distill --resume", 0},
		{"another's", "student.onnx", otherStudent, "student.onnx: is not the student of the newest checkpoint, step 10: it has another steps (11, now 10)", 0},
	} {
		path := filepath.Join(o.Out, c.file)
		was, err := os.ReadFile(path)
		if err != nil && c.file != "diverged.json" {
			t.Fatal(err)
		}
		if c.change == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, []byte(c.change(string(was))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		problems, notes := audited(t, o.Out)
		if (c.want == "") != (problems == "") || !strings.Contains(problems, c.want) || notes != c.notes {
			t.Errorf("%s %s: %s(%d notes), want %q", c.name, c.file, problems, notes, c.want)
		}
		if was == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, was, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(checkpoint.RunFile(o.Out), checkpoint.RunFile(o.Out)+".bak"); err != nil {
		t.Fatal(err)
	}
	stranger := t.TempDir()
	if err := os.Mkdir(checkpoint.Folder(stranger), 0o700); err != nil {
		t.Fatal(err)
	}
	if !IsRun(o.Out) || IsRun(stranger) {
		t.Errorf("which folder is a run: %v, %v", IsRun(o.Out), IsRun(stranger))
	}
	// A link is not followed, and nothing is waited for.
	if err := os.Remove(filepath.Join(o.Out, "summary.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(o.Out, "summary.json")); err != nil {
		t.Fatal(err)
	}
	if problems, _ := audited(t, o.Out); !strings.Contains(problems, "summary.json: open ") || !strings.Contains(problems, "symbolic link") {
		t.Errorf("a link: %s", problems)
	}
}

// What a run of before there were seals cannot tell is a note, and no problem.
func TestAuditOfAnOlderRun(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs = 1
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	beforeSeals(t, o, []byte(read(t, o, "run.json")))
	path := filepath.Join(o.Out, "student.onnx")
	m, err := onnx.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m.Metadata = slices.DeleteFunc(m.Metadata, func(p onnx.Property) bool { return p.Key == onnx.SealKey })
	if err := os.WriteFile(path, m.Marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Audit(t.Context(), o.Out)
	if want := "run.json, summary.json, distill.yaml, metrics.jsonl, student.onnx: of an older pipe"; err != nil || !r.OK || len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], want) {
		t.Errorf("%+v, %v, want %q", r, err, want)
	}
}
