package ijb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

// files are a folder's, by name.
type files map[string]string

// small is a benchmark of four templates: number 7 has a video of two frames and a photograph.
func small() files {
	return files{
		"meta/ijbc_face_tid_mid.txt": "1.jpg 7 100\n2.jpg 7 100\n3.jpg 7 101\n4.jpg 2 5\n5.jpg 30000000 6\n6.jpg 8 8\n",
		"meta/ijbc_name_5pts_score.txt": "1.jpg 46.060 62.026 87.785 60.323 68.851 77.656 52.162 99.875 86.450 98.648 0.5\n" +
			score("2.jpg", "1") + score("3.jpg", "0.25") + score("4.jpg", "1") + score("5.jpg", "1") + score("6.jpg", "1"),
		"meta/ijbc_template_pair_label.txt": "7 2 0\n7 30000000 1\n2 8 0\n",
		"meta/ijbc_1N_gallery_G1.csv":       "TEMPLATE_ID,SUBJECT_ID,FILENAME\n7,1,img/1.jpg\n7,1,img/2.jpg\n2,4,img/4.jpg\n",
		"meta/ijbc_1N_gallery_G2.csv":       "TEMPLATE_ID,SUBJECT_ID,FILENAME\r\n8,9,img/6.jpg\r\n",
		"meta/ijbc_1N_probe_mixed.csv":      "TEMPLATE_ID,SUBJECT_ID,FILENAME\n30000000,1,\"a,b.jpg\"\n99,1,img/7.jpg\n",
	}
}

func score(name, value string) string { return name + " 1 2 3 4 5 6 7 8 9 10 " + value + "\n" }

func (f files) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRead(t *testing.T) {
	dir := small().write(t)
	for _, at := range []string{dir, filepath.Join(dir, "meta")} {
		m, err := Open(at)
		if err != nil {
			t.Fatal(err)
		}
		if m.Set != "ijbc" || !slices.Equal(m.Images, []string{"1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg"}) ||
			!slices.Equal(m.Templates, []int32{2, 7, 8, 30000000}) || !slices.Equal(m.Scores, []float32{0.5, 1, 0.25, 1, 1, 1}) {
			t.Fatalf("%+v", m)
		}
		p, err := m.Pairs()
		if err != nil || !slices.Equal(p.First, []int32{1, 1, 0}) || !slices.Equal(p.Second, []int32{0, 3, 2}) ||
			!slices.Equal(p.Same, []bool{false, true, false}) || p.Mated != 1 || p.Len() != 3 {
			t.Fatalf("%+v, %v", p, err)
		}
		galleries, probes, err := m.Searches()
		if err != nil || len(galleries) != 2 || galleries[0].Name != "G1" || !slices.Equal(galleries[0].Templates, []int32{1, 0}) ||
			!slices.Equal(galleries[0].Subjects, []int32{1, 4}) || !slices.Equal(galleries[1].Templates, []int32{2}) ||
			!slices.Equal(probes.Templates, []int32{3}) || !slices.Equal(probes.NoImages, []int32{99}) {
			t.Fatalf("%+v, %+v, %v", galleries, probes, err)
		}
		if len(m.Files) != 6 || len(m.Files[0].Digest) != 64 {
			t.Errorf("files %+v", m.Files)
		}
	}
}

// The same files as other systems write them.
func TestReadOtherWritings(t *testing.T) {
	f := small()
	for name, text := range f {
		if strings.HasSuffix(name, ".txt") {
			text = strings.ReplaceAll(strings.ReplaceAll(text, " ", "\t"), "\n", "\r\n\r\n")
		}
		f[name] = "\ufeff" + strings.ReplaceAll(text, "30000000", "30000000.0")
	}
	f["meta/ijbc_face_tid_mid.txt"] = strings.ReplaceAll(f["meta/ijbc_face_tid_mid.txt"], "4.jpg", "loose_crop/4.jpg")
	m, err := Open(f.write(t))
	if err != nil || m.Images[3] != "4.jpg" || !slices.Equal(m.Templates, []int32{2, 7, 8, 30000000}) || m.Scores[3] != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	if p, err := m.Pairs(); err != nil || p.Len() != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	if galleries, probes, err := m.Searches(); err != nil || len(galleries) != 2 || len(probes.Templates) != 1 {
		t.Errorf("%+v, %+v, %v", galleries, probes, err)
	}
}

func TestReadWithoutScoresOrGalleries(t *testing.T) {
	f := small()
	for _, name := range []string{"name_5pts_score.txt", "1N_gallery_G1.csv", "1N_gallery_G2.csv"} {
		delete(f, "meta/ijbc_"+name)
	}
	m, err := Open(f.write(t))
	if err != nil || m.Scores != nil || len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "no detector scores") {
		t.Fatalf("%+v, %v", m, err)
	}
	if galleries, _, err := m.Searches(); galleries != nil || err != nil {
		t.Errorf("%v, %v", galleries, err)
	}
	if _, err := m.Pool(t.Context(), ones(6), Usual); err == nil || !strings.Contains(err.Error(), "leave the scores out") {
		t.Errorf("scores that are not there were used: %v", err)
	}
	if _, err := m.Pool(t.Context(), ones(6), Switches{Norm: NormKeep}); err != nil {
		t.Error(err)
	}
}

// What is wrong with a file is said with its name and line.
func TestFaulty(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for name, c := range map[string]struct{ file, text, want string }{
		"web page":            {"face_tid_mid.txt", "<!DOCTYPE html>\n<html>", "line 1 has 2 values, want an image, a template and a media"},
		"no number":           {"face_tid_mid.txt", "1.jpg 7 100\n2.jpg seven 100\n", `line 2 has template "seven"`},
		"negative":            {"face_tid_mid.txt", "1.jpg -7 100\n", `line 1 has template "-7"`},
		"beyond int32":        {"face_tid_mid.txt", "1.jpg 2147483648 1\n", `template "2147483648"`},
		"empty":               {"face_tid_mid.txt", "\n\n", "names no image"},
		"long line":           {"face_tid_mid.txt", "1.jpg 1 1\n" + long, "line 2 has more than 65536 bytes"},
		"short score line":    {"name_5pts_score.txt", "1.jpg 1 2 3\n", "line 1 has 4 values"},
		"score NaN":           {"name_5pts_score.txt", score("1.jpg", "nan"), `detector score "nan"`},
		"score below 0":       {"name_5pts_score.txt", score("1.jpg", "-1"), `detector score "-1"`},
		"two scores":          {"name_5pts_score.txt", score("1.jpg", "1") + score("1.jpg", "0.5"), "line 2 gives 1.jpg the score 0.5, a line before gave it 1"},
		"two templates only":  {"template_pair_label.txt", "7 2\n", "line 1 has 2 values"},
		"template of no face": {"template_pair_label.txt", "7 2 1\n7 3 0\n", "line 2 names template 3, which has no image in ijbc_face_tid_mid.txt"},
		"label":               {"template_pair_label.txt", "7 2 1\n7 2 2\n", `line 2 has the label "2"`},
		"one kind":            {"template_pair_label.txt", "7 2 0\n7 8 0\n", "0 of 2 pairs are labelled 1"},
		"no pair":             {"template_pair_label.txt", "", "0 of 0 pairs"},
		"two subjects":        {"1N_gallery_G1.csv", "T,S\n7,1\n7,2\n", "line 3 says that template 7 is of subject 2, a line before said 1"},
		"one column":          {"1N_gallery_G1.csv", "T\n7\n", `line 2 has template "7" and subject ""`},
		"no row":              {"1N_probe_mixed.csv", "T,S\n", "names no template that has images"},
		"header twice":        {"1N_probe_mixed.csv", "T,S\nT,S\n", `line 2 has template "T"`},
	} {
		t.Run(name, func(t *testing.T) {
			f := small()
			f["meta/ijbc_"+c.file] = c.text
			err := readAll(f.write(t))
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) {
				t.Errorf("%v, want %q and %s", err, c.want, c.file)
			}
		})
	}
}

func readAll(dir string) error {
	m, err := Open(dir)
	if err != nil {
		return err
	}
	_, err = m.Pairs()
	_, _, other := m.Searches()
	_, pooling := m.Pool(context.Background(), ones(len(m.Images)), Switches{Norm: NormKeep, DetectorScore: m.Scores != nil})
	return errors.Join(err, other, pooling)
}

func TestWhichFolder(t *testing.T) {
	release := files{}
	for name, text := range small() {
		release["IJBC/"+name] = text
	}
	dir := release.write(t)
	if m, err := Open(dir); err != nil || m.Set != "ijbc" {
		t.Errorf("the folder above: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "IJBB", "meta"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "IJBB", "meta", "ijbb_face_tid_mid.txt"), []byte("1.jpg 1 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "several benchmarks") {
		t.Errorf("two benchmarks: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	odd := filepath.Join(t.TempDir(), "a[b*")
	if err := os.CopyFS(odd, os.DirFS(filepath.Join(dir, "IJBC"))); err != nil {
		t.Fatal(err)
	}
	if m, err := Open(odd); err != nil {
		t.Error(err)
	} else if galleries, _, err := m.Searches(); len(galleries) != 2 || err != nil {
		t.Errorf("%v, %v", galleries, err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "ijbc_face_tid_mid.txt") {
		t.Errorf("a folder without files: %v", err)
	}
}

// rows are embeddings; nil is none.
type rows [][]float32

func (r rows) Dim() int { return 3 }
func (r rows) Row(i int, dst []float32) (bool, error) {
	copy(dst, r[i])
	return r[i] != nil, nil
}

func ones(n int) rows {
	all := make(rows, n)
	for i := range all {
		all[i] = []float32{1, 1, 1}
	}
	return all
}

// Templates have a closed form: template 7's are the mean of two frames and a photograph.
func TestPool(t *testing.T) {
	m, err := Open(small().write(t))
	if err != nil {
		t.Fatal(err)
	}
	e := rows{{4, 0, 0}, {0, 2, 0}, {0, 0, 8}, {0, -3, 0}, nil, {float32(math.NaN()), 0, 0}}
	for _, c := range []struct {
		s    Switches
		want []float64 // before it has the length one
	}{
		{Switches{Norm: NormKeep}, []float64{2, 1, 8}},
		{Switches{Norm: NormUnit}, []float64{0.5, 0.5, 1}},
		{Switches{Norm: NormKeep, DetectorScore: true}, []float64{1, 1, 2}},
		{Switches{Norm: NormUnit, DetectorScore: true}, []float64{0.25, 0.5, 0.25}},
	} {
		templates, err := m.Pool(t.Context(), e, c.s)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 3)
		if ok, err := templates.Row(1, got); !ok || err != nil {
			t.Fatal(ok, err)
		}
		norm := math.Sqrt(c.want[0]*c.want[0] + c.want[1]*c.want[1] + c.want[2]*c.want[2])
		for i, x := range c.want {
			if math.Abs(float64(got[i])-x/norm) > 1e-7 {
				t.Errorf("%+v: %v, want %v of length one", c.s, got, c.want)
			}
		}
		if templates.Images != 4 || templates.WithoutImage != 2 || !slices.Equal(templates.Unusable, []int32{2, 3}) || templates.Len() != 4 {
			t.Errorf("%+v", templates)
		}
		if ok, _ := templates.Row(3, got); ok {
			t.Error("a template without a face has a vector")
		}
	}
	if _, err := m.Pool(t.Context(), e, Switches{Norm: "true"}); err == nil || !strings.Contains(err.Error(), "keep or unit") {
		t.Errorf("a norm that is none: %v", err)
	}
	m.Scores[0] = float32(math.NaN())
	if _, err := m.Pool(t.Context(), e, Usual); err == nil || !strings.Contains(err.Error(), "lacks the scores of 1 of 6 images, the first 1.jpg") {
		t.Errorf("an image without a score: %v", err)
	}
}

func TestPoolIsTheSameOnEveryNumberOfProcessors(t *testing.T) {
	var text, scores strings.Builder
	e := rows{}
	for i := range 500 {
		fmt.Fprintf(&text, "%d.jpg %d %d\n", i, i*7%23, i%11)
		scores.WriteString(score(fmt.Sprintf("%d.jpg", i), fmt.Sprint(float64(i%10)/10)))
		e = append(e, []float32{float32(i), 1 / float32(i+1), float32(-i % 5)})
	}
	m, err := Open(files{"ijbb_face_tid_mid.txt": text.String(), "ijbb_name_5pts_score.txt": scores.String()}.write(t))
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one, err := m.Pool(t.Context(), e, Usual)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GOMAXPROCS(4)
	four, err := m.Pool(t.Context(), e, Usual)
	if err != nil || !slices.Equal(one.vectors, four.vectors) {
		t.Errorf("another result: %v", err)
	}
}

type failing struct{ rows }

var errBad = errors.New("bad sector")

func (failing) Row(int, []float32) (bool, error) { return false, errBad }

func TestPoolOfWhatCannotBeRead(t *testing.T) {
	m, err := Open(small().write(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Pool(t.Context(), failing{}, Usual); !errors.Is(err, errBad) || !strings.Contains(err.Error(), ".jpg") {
		t.Error(err)
	}
}

// Whatever a file holds, it is read or refused, and memory stays in proportion to its size.
func FuzzMeta(f *testing.F) {
	for _, name := range []string{"face_tid_mid.txt", "name_5pts_score.txt", "template_pair_label.txt", "1N_gallery_G1.csv"} {
		f.Add(name, []byte(small()["meta/ijbc_"+name]))
	}
	f.Add("face_tid_mid.txt", []byte("1.jpg 2147483647 2147483647\n2.jpg 0 0\n"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		set := small()
		if _, known := set["meta/ijbc_"+name]; !known {
			t.Skip()
		}
		set["meta/ijbc_"+name] = string(text)
		dir := set.write(t)
		var err error
		alloctest.AtMost(t, 8<<20+400*len(text), func() { err = readAll(dir) })
		if err != nil && !errors.Is(err, ErrFormat) && !strings.Contains(err.Error(), "scores") {
			t.Errorf("an error of another kind: %v", err)
		}
	})
}
