package protocol

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/faces"
	"facepipe/eval/identification"
	"facepipe/eval/ijb"
	"facepipe/eval/internal/facestest"
	"facepipe/store"
)

// writeFiles makes a folder of text files.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openFaces(t *testing.T) faces.Set {
	t.Helper()
	set, err := faces.Open(facestest.Faces(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	return set
}

// janus is metadata like IJB's of facestest's people: pictures 1 and 2 of a person are a template
// of the gallery, with the number of the person, and 3 and 4 one of the probes, 100 higher. Of the
// last two people there is no template in a gallery.
func janus() map[string]string {
	var faces, scores, pairs strings.Builder
	g1, g2, probes := "T,S\n", "T,S\n", "T,S\n"
	for p := range facestest.People {
		for n := range facestest.Pictures {
			template := p
			if n >= 2 {
				template += 100
			}
			key := facestest.Key(p, n+1, ".png")
			fmt.Fprintf(&faces, "%s %d %d\n", key, template, 10*p+n)
			fmt.Fprintf(&scores, "%s 1 2 3 4 5 6 7 8 9 10 0.9\n", key)
		}
		for q := range facestest.People {
			label := 0
			if p == q {
				label = 1
			}
			fmt.Fprintf(&pairs, "%d %d %d\n", p, 100+q, label)
		}
		switch {
		case p < 4:
			g1 += fmt.Sprintf("%d,%d\n", p, p)
		case p < 8:
			g2 += fmt.Sprintf("%d,%d\n", p, p)
		}
		probes += fmt.Sprintf("%d,%d\n", 100+p, p)
	}
	return map[string]string{
		"ijbc_face_tid_mid.txt": faces.String(), "ijbc_name_5pts_score.txt": scores.String(), "ijbc_template_pair_label.txt": pairs.String(),
		"ijbc_1N_gallery_G1.csv": g1, "ijbc_1N_gallery_G2.csv": g2, "ijbc_1N_probe_mixed.csv": probes,
	}
}

// perfect are embeddings that have a direction for every person.
func perfect(t *testing.T, set faces.Set, places []int) Rows {
	t.Helper()
	var rows Rows
	for _, place := range places {
		head, err := set.Head(place)
		if err != nil {
			t.Fatal(err)
		}
		v := make([]float32, facestest.People)
		v[head.Label] = float32(1 + place)
		rows = append(rows, v)
	}
	return rows
}

func evaluated(t *testing.T, p Protocol, e Embeddings) *identification.Result {
	t.Helper()
	r, err := p.Evaluate(t.Context(), e, Settings{FAR: []float64{0.1}, Flip: true})
	if err != nil {
		t.Fatal(err)
	}
	return r.Identification
}

func TestIJB(t *testing.T) {
	set := openFaces(t)
	p, err := IJB.Load(t.Context(), set, writeFiles(t, janus()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Describe(); d.Used != 100 || d.Crops != 40 || len(d.Notes) != 0 || len(p.Faces()) != 40 {
		t.Errorf("%+v", d)
	}
	for _, pair := range p.Persons(5) {
		a, _ := set.Head(p.Faces()[pair[0]])
		b, _ := set.Head(p.Faces()[pair[1]])
		if a.Identity != b.Identity || a.Key == b.Key {
			t.Errorf("%s and %s are to show one person", a.Key, b.Key)
		}
	}
	r, err := p.Evaluate(t.Context(), perfect(t, set, p.Faces()), Settings{FAR: []float64{0.1}, Flip: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verification.AUC != 1 || r.Scores.Same() != 10 || r.Scores.Different() != 90 {
		t.Errorf("verification %+v", r.Verification)
	}
	found := r.Identification
	if len(found.Verification) != 1 || found.Verification[0].Target != 0.1 && found.Verification[0].TAR.Errors != 0 {
		t.Errorf("TAR at FAR %+v", found.Verification)
	}
	for i, mated := range []int{4, 4} {
		if s := found.Searches[i]; s.Mated != mated || s.NonMated != 6 || s.Ranks[0].Hits.Errors != 0 || len(s.OpenSet) != 0 {
			t.Errorf("search %+v", s)
		}
	}
	want := map[string]string{"flip": "true", "norm": "keep", "detector_score": "true", "media": "mean", "template": "sum",
		"far_pick": "nearest", "fpir_pick": "insightface", "unusable_templates": "left out"}
	if fmt.Sprint(found.Switches) != fmt.Sprint(want) {
		t.Errorf("switches %v, want %v", found.Switches, want)
	}
	if notes := strings.Join(found.Notes, "\n"); !strings.Contains(notes, "FAR 1e-2 is not measurable: needs 100 non-mated comparisons, has 90") {
		t.Errorf("notes %q", notes)
	}
}

func TestIJBOfAFewImages(t *testing.T) {
	set := openFaces(t)
	files := janus()
	files["ijbc_face_tid_mid.txt"] += "lost.jpg 200 999\n"
	files["ijbc_name_5pts_score.txt"] += "lost.jpg 1 2 3 4 5 6 7 8 9 10 1\n"
	files["ijbc_template_pair_label.txt"] += "0 200 0\n"
	dir := writeFiles(t, files)
	_, err := IJB.Load(t.Context(), set, dir, Options{})
	if missing := (*MissingError)(nil); !errors.As(err, &missing) || missing.Named != 41 || !strings.Contains(err.Error(), "lacks 1 of 41 images") {
		t.Fatalf("an image that is missing: %v", err)
	}
	for _, noMatch := range []bool{false, true} {
		o := UsualIJB
		o.NoMatch = noMatch
		p, err := IJB.Load(t.Context(), set, dir, Options{AllowMissing: true, IJB: o})
		if err != nil {
			t.Fatal(err)
		}
		if d := p.Describe(); !slices.Equal(d.Missing, []string{"lost.jpg"}) {
			t.Errorf("%+v", d)
		}
		found := evaluated(t, p, perfect(t, set, p.Faces()))
		if !strings.Contains(strings.Join(found.Notes, "\n"), "1 of 21 templates have no usable face") || !strings.Contains(strings.Join(found.Notes, "\n"), ": 200") ||
			found.Counts["pairs_without_template"] != 1 || found.Counts["faces_without_embedding"] != 1 {
			t.Errorf("%+v", found)
		}
		if n := found.Verification[0].NonMated; noMatch != (n == 91) || !noMatch && n != 90 {
			t.Errorf("%d non-mated pairs, no match %v", n, noMatch)
		}
	}
}

func TestIJBNotes(t *testing.T) {
	set := openFaces(t)
	files := janus()
	files["ijbc_1N_gallery_G2.csv"] += "0,0\n77,3\n"
	files["ijbc_1N_probe_mixed.csv"] = strings.Replace(files["ijbc_1N_probe_mixed.csv"], "109,9", "109,8", 1)
	p, err := IJB.Load(t.Context(), set, writeFiles(t, files), Options{})
	if err != nil {
		t.Fatal(err)
	}
	notes := fmt.Sprint(p.Describe().Notes)
	for _, want := range []string{"1 subjects are in several galleries", "1 templates of G2 have no image and were left out, the first 77"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes %s lack %q", notes, want)
		}
	}
	files = janus()
	delete(files, "ijbc_1N_gallery_G1.csv")
	delete(files, "ijbc_1N_gallery_G2.csv")
	files["ijbc_template_pair_label.txt"] += "1 2 1\n"
	p, err = IJB.Load(t.Context(), set, writeFiles(t, files), Options{})
	if err != nil || !strings.Contains(fmt.Sprint(p.Describe().Notes), "1:N is not measured") {
		t.Fatalf("%v, %v", p, err)
	}
	if found := evaluated(t, p, perfect(t, set, p.Faces())); found.Searches != nil || found.Mean != nil {
		t.Errorf("%+v", found)
	}
	if s := p.(*templates).subjects; s[1] != s[2] || s[0] == s[1] || s[0] != s[10] || len(slices.Compact(slices.Sorted(slices.Values(s)))) != 9 {
		t.Errorf("subjects %v", s)
	}
}

// Few pairs are no reason not to search.
func TestIJBOfFewPairs(t *testing.T) {
	set := openFaces(t)
	files := janus()
	files["ijbc_template_pair_label.txt"] = "0 100 1\n0 101 0\n"
	p, err := IJB.Load(t.Context(), set, writeFiles(t, files), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Evaluate(t.Context(), perfect(t, set, p.Faces()), Settings{FAR: []float64{0.1}})
	if err != nil || r.Verification != nil || r.Scores != nil || r.Identification.Searches[0].Ranks[0].Hits.Rate != 1 ||
		!strings.Contains(strings.Join(r.Identification.Notes, "\n"), "AUC and EER are not measurable: too few pairs") {
		t.Errorf("%+v, %v", r.Identification, err)
	}
}

// Pairs and the lists of the 1:N protocol that contradict each other are told.
func TestIJBContradictions(t *testing.T) {
	set := openFaces(t)
	files := janus()
	files["ijbc_template_pair_label.txt"] += "0 101 1\n0 100 0\n"
	p, err := IJB.Load(t.Context(), set, writeFiles(t, files), Options{})
	if err != nil || !strings.Contains(fmt.Sprint(p.Describe().Notes), "the labels of 2 of 102 pairs contradict the subjects") {
		t.Errorf("%v, %v", p.Describe().Notes, err)
	}
	delete(files, "ijbc_name_5pts_score.txt")
	dir := writeFiles(t, files)
	if _, err := IJB.Load(t.Context(), set, dir, Options{}); err == nil || !strings.Contains(err.Error(), "leave the scores out") {
		t.Errorf("without scores: %v", err)
	}
	if _, err := IJB.Load(t.Context(), set, dir, Options{IJB: IJBOptions{Norm: ijb.NormUnit, FARPick: identification.PickLE, FPIRPick: identification.OpenLE}}); err != nil {
		t.Error(err)
	}
}

func TestAllPairs(t *testing.T) {
	set := openFaces(t)
	p, err := AllPairs.Load(t.Context(), set, All, Options{})
	if err != nil || len(p.Faces()) != 40 || p.Describe().Used != 780 || len(p.Persons(3)) != 3 {
		t.Fatalf("%+v, %v", p, err)
	}
	r, err := p.Evaluate(t.Context(), perfect(t, set, p.Faces()), Settings{FAR: []float64{1e-2, 3e-4}})
	if err != nil || r.Verification != nil {
		t.Fatal(r, err)
	}
	found := r.Identification
	if found.Counts["mated_pairs"] != 60 || found.Counts["non_mated_pairs"] != 720 || len(found.Verification) != 0 || len(found.Notes) != 6 {
		t.Errorf("%+v", found)
	}
	list := filepath.Join(writeFiles(t, map[string]string{"out.txt": "# noise\n" + facestest.Key(0, 1, ".png") + "\n\n" + facestest.Key(1, 2, ".png") + "\n"}), "out.txt")
	p, err = AllPairs.Load(t.Context(), set, list, Options{})
	if err != nil || len(p.Faces()) != 38 || !strings.Contains(fmt.Sprint(p.Describe().Notes), "2 images of") || len(p.Describe().Digest) != 64 {
		t.Errorf("%+v, %v", p, err)
	}
	if found := evaluated(t, p, perfect(t, set, p.Faces())); found.Counts["mated_pairs"] != 54 {
		t.Errorf("%+v", found)
	}
	if _, err := AllPairs.Load(t.Context(), set, filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a list that is not there: %v", err)
	}
}

func TestMegaFace(t *testing.T) {
	set := openFaces(t)
	var probes string
	for p := range 3 {
		for n := range facestest.Pictures {
			probes += facestest.Key(p, n+1, ".png") + "\n"
		}
	}
	noise := filepath.Base(facestest.Key(0, 1, ".png"))
	dir := writeFiles(t, map[string]string{probesList: probes, probesNoise: "# by name\n" + noise + "\nnobody.png\n"})
	p, err := MegaFace.Load(t.Context(), set, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	notes := fmt.Sprint(p.Describe().Notes)
	for _, want := range []string{"1 of 12 images of facescrub_lst are left out", "1 of 2 lines of facescrub_noises.txt name no image", "all 29 crops that are no probes are distractors"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes %s lack %q", notes, want)
		}
	}
	found := evaluated(t, p, perfect(t, set, p.Faces()))
	if found.Counts["probes"] != 11 || found.Counts["distractors"] != 29 || found.Counts["mated_pairs"] != 15 || len(found.RankOne) != 2 {
		t.Errorf("%+v", found)
	}
	// The probe that was left out is a distractor without a list: it is as near as a mate.
	if hits := found.RankOne[1].Hits; hits.Of != 30 || hits.Errors != 6 {
		t.Errorf("rank 1 %+v", hits)
	}
	all, lists := "", map[string]string{probesList: probes, distractorsNoise: "1\tP09/P09_0001.png\n"}
	for q := 2; q < facestest.People; q++ {
		for n := range facestest.Pictures {
			all += facestest.Key(q, n+1, ".png") + "\n"
		}
	}
	lists[distractorsList] = all
	p, err = MegaFace.Load(t.Context(), set, writeFiles(t, lists), Options{})
	if err != nil || !strings.Contains(fmt.Sprint(p.Describe().Notes), "4 distractors are probes, too, and were left out") {
		t.Fatalf("%+v, %v", p, err)
	}
	found = evaluated(t, p, perfect(t, set, p.Faces()))
	if last := found.RankOne[len(found.RankOne)-1]; found.Counts["distractors"] != 27 || last.Distractors != 27 || last.Hits.Errors != 0 {
		t.Errorf("%+v", found)
	}
	for _, pair := range p.Persons(9) {
		a, _ := set.Head(p.Faces()[pair[0]])
		b, _ := set.Head(p.Faces()[pair[1]])
		if a.Identity != b.Identity || a.Key == b.Key {
			t.Errorf("%s and %s are to show one person", a.Key, b.Key)
		}
	}
}

func TestMegaFaceFaulty(t *testing.T) {
	set := openFaces(t)
	one := facestest.Key(0, 1, ".png")
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no list":       {nil, "no such file"},
		"no probe":      {map[string]string{probesList: "#\n"}, "names no probe"},
		"no folder":     {map[string]string{probesList: one + "\n" + filepath.Base(one) + "\n"}, "in no folder that names the person"},
		"missing":       {map[string]string{probesList: one + "\nP00/lost.png\n"}, "lacks 1 of 2 images"},
		"no distractor": {map[string]string{probesList: one + "\n", distractorsList: one + "\n"}, "1 of its probes, and 0 distractors"},
		"long line":     {map[string]string{probesList: strings.Repeat("x", 20_000)}, "token too long"},
	} {
		_, err := MegaFace.Load(t.Context(), set, writeFiles(t, c.files), Options{})
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Two names of the same image are one probe, and an error where they are of two people.
func TestMegaFaceOneImageTwice(t *testing.T) {
	var crops []store.Crop
	for i, key := range []string{"A/1.png", "A/2.png", "B/1.png", "C/1.png"} {
		crops = append(crops, facestest.Crop(key, 0, max(1, i)))
	}
	set, err := faces.Open(facestest.WriteDataset(t, crops))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	p, err := MegaFace.Load(t.Context(), set, writeFiles(t, map[string]string{probesList: "A/1.png\nA/2.png\nB/1.png\n"}), Options{})
	if err != nil || !strings.Contains(fmt.Sprint(p.Describe().Notes), "1 probes are the same image as another one") || p.Describe().Used != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	crops[2] = facestest.Crop("B/1.png", 0, 1)
	other, err := faces.Open(facestest.WriteDataset(t, crops))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	_, err = MegaFace.Load(t.Context(), other, writeFiles(t, map[string]string{probesList: "A/1.png\nB/1.png\n"}), Options{})
	if err == nil || !strings.Contains(err.Error(), "the same image as one of another person") {
		t.Errorf("one image of two people: %v", err)
	}
}
