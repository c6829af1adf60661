package teacher_test

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/storetest"
	"facepipe/teacher"
	"facepipe/teacher/teachertest"
)

// What is copied and what is computed lies in one cache, which is that of computing
// everything, to the byte.
func TestReuse(t *testing.T) {
	model := tiny(t, nil)
	for name, c := range map[string]struct {
		donors                   [][]int
		computed, copied, second int
	}{
		"all":           {[][]int{upTo(20)}, 0, 20, 0},
		"none of them":  {[][]int{{100, 101}}, 20, 0, 0},
		"in other rows": {[][]int{{19, 3, 77, 4, 11, 0, 12}}, 14, 6, 0},
		"two":           {[][]int{{2, 3, 4}, {4, 5, 6, 7, 8, 9, 10, 11}}, 10, 10, 7},
	} {
		for _, dtype := range []string{cache.FP16, cache.FP32} {
			o := teacher.Options{Model: model, Flip: true, DType: dtype, Batch: 4}
			var reuse []string
			for _, numbers := range c.donors {
				// Names do not matter, fingerprints do.
				o.Dataset, o.Name = dataset(t, numbers...), "donor"
				precompute(t, o)
				reuse = append(reuse, o.Dataset)
			}
			o.Name = "tiny"
			o.Dataset = dataset(t, upTo(20)...)
			want := precompute(t, o)
			wanted := teachertest.Files(t, o.Dataset, "tiny")
			o.Dataset, o.Reuse = dataset(t, upTo(20)...), reuse
			got := precompute(t, o)
			if got.Computed != c.computed || got.Copied != c.copied || got.Reused != 0 || got.Digest != want.Digest || len(got.Notes) > 0 {
				t.Errorf("%s: %+v", name, got)
			}
			if !maps.Equal(teachertest.Files(t, o.Dataset, "tiny"), wanted) {
				t.Errorf("%s, %s: other files than computing everything makes", name, dtype)
			}
			if len(got.CopiedFrom) != len(reuse) || got.CopiedFrom[len(reuse)-1].Teacher != "donor" || c.second > 0 && got.CopiedFrom[1].Copied != c.second {
				t.Errorf("%s: copied from %+v", name, got.CopiedFrom)
			}
			if again := precompute(t, o); again.Computed != 0 || again.Copied != 0 || again.Reused != 20 || again.Digest != want.Digest {
				t.Errorf("%s: again %+v", name, again)
			}
		}
	}
}

// Embeddings without use are copied with their reasons.
func TestReuseOfInvalid(t *testing.T) {
	numbers := append(upTo(8), teachertest.Dark, teachertest.Dark+1)
	o := teacher.Options{Dataset: dataset(t, numbers...), Model: tiny(t, plusRatio), Preprocess: "raw", Flip: true, MaxRejectRate: 1}
	want := precompute(t, o)
	wanted := teachertest.Files(t, o.Dataset, "tiny")
	donor := o
	donor.Dataset = dataset(t, teachertest.Dark, 3, 2, 1, 0)
	precompute(t, donor)
	o.Dataset, o.Reuse = dataset(t, numbers...), []string{donor.Dataset}
	got := precompute(t, o)
	if got.Copied != 5 || got.Computed != 5 || got.Invalid != 4 || got.Digest != want.Digest || !maps.Equal(teachertest.Files(t, o.Dataset, "tiny"), wanted) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A crop that has no use does not condemn a model because it is the only one left to
// compute.
func TestReuseLeavesABadCrop(t *testing.T) {
	numbers := append(upTo(5), teachertest.Dark)
	o := teacher.Options{Dataset: dataset(t, upTo(5)...), Model: tiny(t, plusRatio), Preprocess: "raw", MaxRejectRate: 1}
	precompute(t, o)
	o.Reuse, o.Dataset = []string{o.Dataset}, dataset(t, numbers...)
	if got := precompute(t, o); got.Computed != 1 || got.Copied != 5 || got.Invalid != 1 {
		t.Errorf("%+v", got)
	}
}

func TestReuseNotes(t *testing.T) {
	model := tiny(t, nil)
	o := teacher.Options{Dataset: dataset(t, upTo(14)...), Model: model}
	bare, half, other := dataset(t, upTo(3)...), dataset(t, upTo(14)...), dataset(t, upTo(3)...)
	interruptAt(t, teacher.Options{Dataset: half, Model: model}, 1)
	precompute(t, teacher.Options{Dataset: other, Model: tiny(t, times(2)), Name: "twice"})
	o.Reuse = []string{bare, half, half, other, o.Dataset}
	s := precompute(t, o)
	if s.Copied != 6 || s.Computed != 8 || len(s.CopiedFrom) != 1 {
		t.Errorf("%+v", s)
	}
	if len(s.Notes) != 4 {
		t.Fatalf("notes are %q", s.Notes)
	}
	for i, say := range []string{bare + " has no teacher cache", half + " lacks 2 of 3 shards", "only twice", o.Dataset + " has no teacher cache"} {
		if !strings.Contains(s.Notes[i], say) {
			t.Errorf("note %q, want one with %q", s.Notes[i], say)
		}
	}
}

func TestReuseRefuses(t *testing.T) {
	model := tiny(t, nil)
	foreign, damaged, lied := dataset(t, upTo(3)...), dataset(t, upTo(3)...), dataset(t, upTo(3)...)
	precompute(t, teacher.Options{Dataset: foreign, Model: tiny(t, times(2))})
	precompute(t, teacher.Options{Dataset: damaged, Model: model})
	storetest.Rewrite(t, filepath.Join(damaged, "teachers", "tiny", "000000.arrow"), func(data []byte) []byte { data[len(data)/2] ^= 4; return data })
	precompute(t, teacher.Options{Dataset: lied, Model: model})
	storetest.Rewrite(t, filepath.Join(lied, "teachers", "tiny", "teacher.json"), func(data []byte) []byte { return data[:len(data)/2] })
	for name, c := range map[string]struct {
		dir  string
		want error
		say  string
	}{
		"foreign":      {foreign, store.ErrFingerprint, filepath.Join(foreign, "teachers", "tiny")},
		"damaged":      {damaged, store.ErrDamaged, "000000.arrow"},
		"half a file":  {lied, store.ErrDamaged, "teacher.json"},
		"not there":    {filepath.Join(foreign, "no"), store.ErrNotFound, "no"},
		"not complete": {t.TempDir(), store.ErrNotFound, "dataset.json"},
	} {
		o := teacher.Options{Dataset: dataset(t, upTo(8)...), Model: model, Reuse: []string{c.dir}}
		_, err := teacher.Precompute(t.Context(), o)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
		// Without the donor the same run succeeds.
		o.Reuse = nil
		if s := precompute(t, o); s.Computed != 8 {
			t.Errorf("%s: afterwards %+v", name, s)
		}
	}
}

// An interrupted run goes on, also without the donor.
func TestReuseGoesOn(t *testing.T) {
	model := tiny(t, nil)
	whole := teacher.Options{Dataset: dataset(t, upTo(20)...), Model: model}
	precompute(t, whole)
	wanted := teachertest.Files(t, whole.Dataset, "tiny")
	o := teacher.Options{Dataset: dataset(t, upTo(20)...), Model: model, Reuse: []string{dataset(t, slices.Concat(upTo(9), []int{17})...)}}
	donor := o
	donor.Dataset, donor.Reuse = o.Reuse[0], nil
	precompute(t, donor)
	if s := interruptAt(t, o, 2); s.Computed+s.Copied != 12 || s.Copied != 9 {
		t.Fatalf("before the interruption: %+v", s)
	}
	without := o
	without.Reuse = nil
	if s := precompute(t, without); s.Reused != 12 || s.Computed != 8 || !maps.Equal(teachertest.Files(t, o.Dataset, "tiny"), wanted) {
		t.Errorf("%+v", s)
	}
}
