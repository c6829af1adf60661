package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The protocols of whole sets from their files to the report, by a cache that serves them all.
func TestEvalOfManyComparisons(t *testing.T) {
	const people, shots = 5, 4
	dataset, model := ingestAligned(t, people, shots), tinyTeacher(t)
	var members, scores, pairs, probes strings.Builder
	gallery, searched := "T,S\n", "T,S\n"
	for i := range people {
		for j := range shots {
			fmt.Fprintf(&members, "%s %d %d\n", faceKey(i, j), i+100*(j%2), 10*i+j)
			fmt.Fprintf(&scores, "%s 1 2 3 4 5 6 7 8 9 10 0.5\n", faceKey(i, j))
			if i < 2 {
				fmt.Fprintln(&probes, faceKey(i, j))
			}
			same := 0
			if j == 0 {
				same = 1
			}
			fmt.Fprintf(&pairs, "%d %d %d\n", i, 100+(i+j)%people, same)
		}
		searched += fmt.Sprintf("%d,%d\n", 100+i, i)
	}
	gallery += "0,0\n1,1\n"
	meta := t.TempDir()
	for name, text := range map[string]string{
		"ijbb_face_tid_mid.txt": members.String(), "ijbb_name_5pts_score.txt": scores.String(), "ijbb_template_pair_label.txt": pairs.String(),
		"ijbb_1N_gallery_S1.csv": gallery, "ijbb_1N_probe_mixed.csv": searched, "facescrub_lst": probes.String(),
	} {
		writeFile(t, filepath.Join(meta, name), text)
	}
	out := filepath.Join(t.TempDir(), "report")
	args := []string{"eval", "--model", model, "--dataset", dataset, "--all-pairs", "all", "--no-self-test", "--json"}
	both := append(slices.Clone(args), "--ijb", meta, "--out", out, "--ijb-norm", "unit", "--ijb-no-detector-score", "--ijb-fpir-pick", "le", "--far", "0.1")
	report := expect(t, exitDone, both...).object(t)
	found := map[string]map[string]any{}
	for _, m := range report["models"].([]any) {
		if m := m.(map[string]any); m["pairs"] != 0.0 { // those of templates
			fmr := m["uncertainty"].(map[string]any)["operating_points"].([]any)[0].(map[string]any)["at_threshold"].(map[string]any)["fmr"].(map[string]any)
			if fmr["interval"] == nil {
				t.Errorf("no interval of templates: %v", fmr)
			}
		}
		r := m.(map[string]any)["identification"].(map[string]any)
		found[r["protocol"].(string)] = r
	}
	if n := found["all-pairs"]["counts"].(map[string]any)["mated_pairs"]; n != float64(people*shots*(shots-1)/2) {
		t.Errorf("%v mated pairs", n)
	}
	switches := found["ijb"]["switches"].(map[string]any)
	for name, want := range map[string]string{"norm": "unit", "detector_score": "false", "flip": "true", "fpir_pick": "le", "far_pick": "nearest"} {
		if switches[name] != want {
			t.Errorf("%s is %v, want %s", name, switches[name], want)
		}
	}
	if search := found["ijb"]["searches"].([]any)[0].(map[string]any); search["gallery"] != "S1" || search["mated"] != 2.0 || search["non_mated"] != 3.0 {
		t.Errorf("search %v", search)
	}
	text, err := os.ReadFile(filepath.Join(out, "report.md"))
	if err != nil || !strings.Contains(string(text), "rank 1") || !strings.Contains(string(text), "not measurable") {
		t.Errorf("report.md (%v): %s", err, text)
	}
	o := expect(t, exitDone, "eval", "--model", model, "--dataset", dataset, "--megaface", meta, "--no-self-test")
	if !strings.Contains(o.stdout, "rank 1 among 12:") || strings.Contains(o.stdout, "AUC") {
		t.Errorf("probes among distractors: %s", o.stdout)
	}
	if caches, err := filepath.Glob(filepath.Join(dataset, "teachers", "eval-*", "teacher.json")); err != nil || len(caches) != 1 {
		t.Errorf("caches %v (%v)", caches, err)
	}
	for want, args := range map[string][]string{
		"--ijb-norm needs --ijb":                      append(slices.Clone(args), "--ijb-norm", "unit"),
		`--ijb-norm "true" is none of keep, unit`:     append(slices.Clone(args), "--ijb", meta, "--ijb-norm", "true"),
		`--ijb-unusable "0" is none of left-out`:      append(slices.Clone(args), "--ijb", meta, "--ijb-unusable", "0"),
		`--ijb-far-pick "max" is none of nearest, le`: append(slices.Clone(args), "--ijb", meta, "--ijb-far-pick", "max"),
	} {
		if o := expect(t, exitUsage, args...); !strings.Contains(o.stderr, want) {
			t.Errorf("%v: %s, want %q", args, o.stderr, want)
		}
	}
}
