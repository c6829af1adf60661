package student

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"facepipe/store/derived"
	"facepipe/store/storetest"
	"facepipe/student/checkpoint"
	"facepipe/student/data"
)

// gains are all that the unified loss takes of a teacher beside the bank.
const gains = "{iled: {warmup: 0, quality: norm, schedule: {from: 0.5, end: 0.5}}, " +
	"rpsd: {pool: neighbours, negatives: 6, positives_from: centres, schedule: {to: 0.5, begin: 0.2, end: 1, shape: cosine}}}"

// A run with the teacher's neighbours finds them, says so, learns, needs no bank, and goes on
// by the bit where it was stopped, with one teacher and with one of several.
func TestNeighboursInARun(t *testing.T) {
	dataset := twoTeachers(t)
	o := options(t, dataset)
	tune(&o.Loss, gains)
	o.Epochs = 12
	var text bytes.Buffer
	o.Progress = &text
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"teacher t: its neighbours are missing, and are found now", "no bank;",
		"negatives are the 6 nearest crops of others by teacher t, by comparing all\n", "are the class centres of teacher t: 8 of 8 have one"} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("%q is not said:\n%s", line, text.String())
		}
	}
	if c := curve(t, o); mean(c[len(c)-5:]) > 0.8*mean(c[4:9]) {
		t.Errorf("the loss goes from %g to %g", mean(c[4:9]), mean(c[len(c)-5:]))
	}
	tensors, _, err := checkpoint.Read(newestOf(t, o))
	if err != nil {
		t.Fatal(err)
	}
	for name := range maps.Keys(tensors) {
		if strings.Contains(name, "bank") {
			t.Errorf("the checkpoint has %s", name)
		}
	}
	var m manifest
	if err := json.Unmarshal([]byte(read(t, o, "run.json")), &m); err != nil || !maps.Equal(m.Neighbours, map[string]string{"t": "f"}) {
		t.Errorf("run.json has the neighbours %v, %v", m.Neighbours, err)
	}
	resumeExactly(t, dataset, func(o *Options) { tune(&o.Loss, gains) })
	resumeExactly(t, dataset, func(o *Options) {
		o.Teacher, o.Loss.Name = "t,u2", "unified@u2"
		tune(&o.Loss, gains)
		tune(&o.Loss, "rpsd: {positives_from: bank}")
	})
}

// What a teacher does not have is refused before anything is derived.
func TestGainsThatATeacherDoesNotHave(t *testing.T) {
	dataset := twoTeachers(t)
	cacheTeacher(t, dataset, "n1", func(i, flip int) []float32 {
		return units(target(i, flip), 1, []bool{true}, []float64{0})
	})
	for name, tt := range map[string]struct {
		teachers            TeacherNames
		loss, section, says string
	}{
		"unit vectors":      {"n1", "unified", "iled: {quality: norm}", "of different lengths"},
		"unit vectors by @": {"t,n1", "unified@n1", "iled: {quality: norm}", "not normalised"},
		"norms of a mean":   {"t,u2", "unified", "iled: {quality: norm}", "name one by @"},
		"neighbours of it":  {"t,u2", "unified", "rpsd: {pool: neighbours}", "name one by @"},
		"without a teacher": {"", "unified", "rpsd: {pool: neighbours}", "needs --teacher"},
		"too many":          {"t", "unified", "rpsd: {pool: neighbours, negatives: 2000}", "at most 1024"},
		"no classifier":     {"t", "unified", "rpsd: {positives_from: centres, proxies: classifier}", "no classifier"},
	} {
		o := options(t, dataset)
		o.Teacher, o.Loss.Name = tt.teachers, tt.loss
		tune(&o.Loss, tt.section)
		if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A run does not go on with other neighbours than it was begun with.
func TestOtherNeighboursAreRefused(t *testing.T) {
	r := run{found: &manifest{Neighbours: map[string]string{"t": "f 4/64"}}}
	r.manifest.Neighbours = map[string]string{"t": "f"}
	if err := r.sameSupply(); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "other neighbours") {
		t.Errorf("%v", err)
	}
	r.found.Neighbours["t"] = "f"
	if err := r.sameSupply(); err != nil {
		t.Error(err)
	}
}

// Neighbours are those of the table that are trained on, with their embeddings, the nearest
// first, and no more than were asked for.
func TestNeighboursOfASplit(t *testing.T) {
	dir := splitWaves(t)
	cacheTeacher(t, dir, "t", target)
	for _, split := range []string{"", "train"} {
		r := run{o: options(t, dir), progress: new(bytes.Buffer)}
		r.o.Split = split
		r.ds = storetest.Open(t, dir)
		var err error
		if r.teachers, err = openTeachers(r.ds, &r.o); err != nil {
			t.Fatal(err)
		}
		if r.loader, err = data.New(r.ds, r.teachers.caches, data.Options{Batch: 4, Split: split, Workers: 1}); err != nil {
			t.Fatal(err)
		}
		defer r.loader.Close()
		const k = 9
		of, err := (&supply{ctx: t.Context(), run: &r}).neighbours(0)(k)
		if err != nil {
			t.Fatal(err)
		}
		samples := []int64{2, 3, 12, 2, 37}
		near, err := of(samples)
		if err != nil || len(near.Of) != len(samples) || len(near.Vectors) != len(near.Known)*fixtureDim || slices.Contains(near.Known, false) {
			t.Fatalf("%v: %d lists", err, len(near.Of))
		}
		table, err := derived.OpenNeighbours(t.Context(), r.teachers.caches[0], k, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer table.Close()
		left := 0
		for i, sample := range samples {
			list, err := table.Others(int(sample), nil)
			if err != nil {
				t.Fatal(err)
			}
			var want []int
			for _, one := range list {
				if split == "" || one.Row%8 > 1 {
					want = append(want, one.Row)
				}
			}
			left += len(list) - len(want)
			if len(list) != k || len(near.Of[i]) != len(want) {
				t.Fatalf("split %q: sample %d has %d neighbours, want %d of %d", split, sample, len(near.Of[i]), len(want), len(list))
			}
			for n, place := range near.Of[i] {
				if got := near.Vectors[place*fixtureDim:][:fixtureDim]; !slices.Equal(got, target(want[n], 0)) {
					t.Errorf("split %q: neighbour %d of sample %d is %v, want row %d", split, n, sample, got, want[n])
				}
			}
		}
		if (left > 0) != (split != "") {
			t.Errorf("split %q: %d were left out", split, left)
		}
		for _, c := range r.opened {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
