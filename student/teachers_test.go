package student

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// shorter is what a second teacher says: the first one's elements but the last four, backwards
// and of another length. It knows nothing of every seventh image.
func shorter(i, flip int) []float32 {
	e := target(i, flip)[:fixtureDim-4]
	slices.Reverse(e)
	for k := range e {
		e[k] *= 0.1
	}
	if i%7 == 3 {
		clear(e)
	}
	return e
}

func twoTeachers(t *testing.T) string {
	t.Helper()
	dir := fixture(t)
	cacheTeacher(t, dir, "u2", shorter)
	return dir
}

// The mean is that of the unit embeddings, turned to the teacher with the longest; where one
// says nothing it is the other's.
func TestMeanOfTeachers(t *testing.T) {
	e := torchtest.Open(t)
	o := options(t, twoTeachers(t))
	o.Teacher = "u2,t"
	o.Loss.Name = "cosine + 2*l2@u2"
	ds, err := store.Open(o.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	all, err := openTeachers(ds, &o)
	if err != nil {
		t.Fatal(err)
	}
	notes, err := all.align(t.Context(), &o)
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "teacher u2 is turned to t") {
		t.Fatalf("%v, %v", notes, err)
	}
	m, err := newModel(e, o, &all, 8, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	s := torchtest.Scope(t, e)
	const n = 8
	b := &data.Batch{Rows: make([]int64, n), Teachers: make([][]float32, 2)}
	for i := range n {
		b.Teachers[0], b.Teachers[1] = append(b.Teachers[0], shorter(i, 0)...), append(b.Teachers[1], target(i, 0)...)
	}
	y := torch.FromData(s, "cpu", make([]float32, n*16), n, 16)
	var in loss.Batch
	m.targets.of(s, "cpu", b, y, &in)
	got := s.Floats(in.Teacher)
	if s.Err() != nil || len(got) != n*fixtureDim {
		t.Fatalf("%d values, %v", len(got), s.Err())
	}
	a := all.alignments[0]
	for i := range n {
		first, _ := vec.Unit(target(i, 0))
		want := make([]float64, fixtureDim)
		for k, x := range first {
			want[k] = float64(x)
		}
		if second, ok := vec.Unit(shorter(i, 0)); ok {
			for row := range want {
				turned := 0.0
				for k, x := range second {
					turned += float64(a.Rotation[row*a.From+k]) * float64(x)
				}
				want[row] = (want[row] + turned) / 2
			}
		}
		for k, w := range want {
			if d := math.Abs(float64(got[i*fixtureDim+k]) - w); d > 1e-6 {
				t.Errorf("row %d, %d: %g, want %g", i, k, got[i*fixtureDim+k], w)
			}
		}
	}
	own := in.Targets["u2"]
	if dtype, shape := s.Info(own.Student); !slices.Equal(shape, []int{n, fixtureDim - 4}) || own.Usable[3] || !in.Usable[3] {
		t.Errorf("its own target: %v of %v, usable %v and %v", shape, dtype, own.Usable, in.Usable)
	}
}

// Runs with several teachers learn, and go on by the bit.
func TestSeveralTeachers(t *testing.T) {
	dataset := twoTeachers(t)
	for _, expression := range []string{"cosine", "cosine@t + 0.5*cosine@u2", "unified@u2 + l2"} {
		resumeExactly(t, dataset, func(o *Options) { o.Teacher, o.Loss.Name = "t,u2", expression })
	}
	o := options(t, dataset)
	o.Teacher, o.Loss.Name, o.Epochs = "t,u2", "cosine + cosine@u2", 8
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if c := curve(t, o); mean(c[len(c)-5:]) > 0.8*mean(c[:5]) {
		t.Errorf("the loss goes from %g to %g", mean(c[:5]), mean(c[len(c)-5:]))
	}
}

func TestTeachersThatDoNotFit(t *testing.T) {
	dataset := twoTeachers(t)
	for name, c := range map[string]struct {
		teachers TeacherNames
		loss     string
		want     error
		says     string
	}{
		"twice":     {"t,t", "cosine", ErrUsage, "named twice"},
		"not there": {"t,x", "cosine", store.ErrNotFound, "x"},
		"not named": {"t", "cosine@u2", ErrUsage, "give --teacher u2, too"},
		"none":      {"", "cosine", ErrUsage, "needs --teacher"},
	} {
		o := options(t, dataset)
		o.Teacher, o.Loss.Name = c.teachers, c.loss
		if _, err := Distill(t.Context(), o); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTeacherNames(t *testing.T) {
	for text, want := range map[string]TeacherNames{"a": "a", "a,b": "a,b", "[a, b]": "a,b", "''": ""} {
		var got TeacherNames
		if err := yaml.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	var flag TeacherNames
	for _, name := range []string{"a", "b,c"} {
		if err := flag.Set(name); err != nil {
			t.Fatal(err)
		}
	}
	if flag != "a,b,c" {
		t.Errorf("the flag is %q", flag)
	}
}
