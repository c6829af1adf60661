package student

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/derived"
	"facepipe/store/storetest"
	"facepipe/student/checkpoint"
	"facepipe/student/data"
)

// classSections are settings under which the losses on classes learn within a few steps.
func classSections() map[string]string {
	return map[string]string{
		"proxyless":     "margin: {scale: 8}",
		"margindistill": "margindistill: {scale: 8}",
		"adadistill":    "margin: {scale: 8}",
		"kd":            "margin: {scale: 8}",
		"gkd":           "{margin: {scale: 8}, gkd: {size: 3, primary: 1, ramp: 0.1}}",
		"snn":           "margin: {scale: 8}",
	}
}

// importClassifier gives the fixture's teacher a classifier whose rows are of these identities:
// row i has i+1 in every place but the first, which has mark.
func importClassifier(t *testing.T, dataset string, mark float32, identities ...string) {
	t.Helper()
	teacher := storetest.Cache(t, storetest.Open(t, dataset), "t")
	w, err := derived.CreateClassifier(teacher, derived.ClassifierInfo{Origin: "weight.npy", OriginDigest: fmt.Sprint("d", mark), DType: "float32"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range identities {
		if err := w.Append(name, classRow(i, mark)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

func classRow(i int, mark float32) []float32 {
	weights := slices.Repeat([]float32{float32(i + 1)}, fixtureDim)
	weights[0] = mark
	weights[1+i%(fixtureDim-1)] = -10 // no two point the same way
	return weights
}

// idNames are the fixture's identities from .. to-1.
func idNames(from, to int) (names []string) {
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprintf("id%d", i))
	}
	return names
}

// Every loss on classes trains, from class centres and from a classifier, and a run that was
// stopped on the way ends with the bits of one that was not.
func TestClassLossesResumeToTheSameBits(t *testing.T) {
	dataset := fixture(t)
	sections := classSections()
	for i, name := range slices.Sorted(maps.Keys(sections)) {
		if i == 3 {
			importClassifier(t, dataset, 3, idNames(0, 8)...)
		}
		o := options(t, dataset)
		o.Loss.Name, o.Epochs = name, 2
		tune(&o.Loss, sections[name])
		if _, err := Distill(t.Context(), o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parted := o
		parted.Out, parted.Resume = filepath.Join(t.TempDir(), "run"), true
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		stopAfter(&parted, cancel, &steps, 7)
		if _, err := Distill(ctx, parted); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", name, err)
		}
		parted.afterStep = nil
		if s, err := Distill(t.Context(), parted); err != nil || s.ResumedAt != 7 {
			t.Fatalf("%s: %+v, %v", name, s, err)
		}
		want, _, err := checkpoint.Read(newestOf(t, o))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := checkpoint.Read(newestOf(t, parted))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) || !slices.Equal(curve(t, parted), curve(t, o)) {
			t.Errorf("%s: a run in two parts ends with other bits", name)
		}
		if _, kept := want[checkpoint.ParamPrefix+"adadistill.centres.weight"]; kept != (name == "adadistill") {
			t.Errorf("%s: adadistill's centres are in the checkpoint: %v", name, kept)
		}
	}
}

// vectorsOf are what run.json says of the vectors of identities.
func vectorsOf(t *testing.T, o Options) map[string]string {
	t.Helper()
	var m manifest
	if err := json.Unmarshal([]byte(read(t, o, "run.json")), &m); err != nil {
		t.Fatal(err)
	}
	return m.IdentityVectors
}

// A run says whose vectors it takes, and stays with them.
func TestSourceOfVectors(t *testing.T) {
	dataset := fixture(t)
	var text strings.Builder
	train := func(o Options) error {
		text.Reset()
		o.Progress = &text
		_, err := Distill(t.Context(), o)
		return err
	}
	fresh := func(section string) Options {
		o := options(t, dataset)
		o.Loss.Name, o.Epochs, o.Resume = "proxyless", 1, true
		tune(&o.Loss, section)
		return o
	}
	explicit := fresh("proxies: classifier")
	if err := train(explicit); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "pipe teachers classifier") {
		t.Errorf("without a classifier: %v", err)
	}
	centres := fresh("{}")
	if err := train(centres); err != nil || !strings.Contains(text.String(), "are the class centres of teacher t: 8 of 8 have one") {
		t.Errorf("centres: %v\n%s", err, text.String())
	}
	if got := vectorsOf(t, centres); !maps.Equal(got, map[string]string{"centres": "f"}) {
		t.Errorf("centres: run.json has %v", got)
	}

	importClassifier(t, dataset, 3, idNames(0, 6)...)
	if err := train(centres); err != nil || !strings.Contains(text.String(), "are the class centres") {
		t.Errorf("a run that goes on: %v\n%s", err, text.String())
	}
	auto := fresh("{}")
	if err := train(auto); err != nil || !strings.Contains(text.String(), "warning: vectors of identities are the classifier of teacher t (weight.npy, 6 rows): 6 of 8 have one; the crops of the other 2 (25.0% of the identities) are left out") {
		t.Errorf("classifier: %v\n%s", err, text.String())
	}
	if got := vectorsOf(t, auto); len(got) != 1 || len(got["classifier"]) != 64 {
		t.Errorf("classifier: run.json has %v", got)
	}
	if !strings.Contains(read(t, auto, "metrics.jsonl"), `"proxyless.without_vector":`) {
		t.Errorf("the journal is\n%s", read(t, auto, "metrics.jsonl"))
	}

	importClassifier(t, dataset, 4, idNames(0, 6)...)
	if err := train(auto); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "other vectors of identities") {
		t.Errorf("another classifier: %v", err)
	}
	importClassifier(t, dataset, 4, idNames(5, 25)...)
	if err := train(fresh("{}")); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "vectors of 3 of 8 identities") || !strings.Contains(err.Error(), "proxies: centres") {
		t.Errorf("too few identities: %v", err)
	}
	if err := train(fresh("proxies: centres")); err != nil {
		t.Errorf("following the advice: %v", err)
	}
	none := fresh("{}")
	none.Teacher = ""
	if err := train(none); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "--teacher") {
		t.Errorf("without a teacher: %v", err)
	}
}

// Vectors stand at the labels that batches have: those of a split are numbered anew.
func TestVectorsOfASplit(t *testing.T) {
	dir := splitWaves(t)
	cacheTeacher(t, dir, "t", target)
	importClassifier(t, dir, 3, "id5", "nobody", "id2", "id7", "id3", "id0")
	r := run{o: options(t, dir)}
	r.ds = storetest.Open(t, dir)
	var err error
	if r.teachers, err = openTeachers(r.ds, &r.o); err != nil {
		t.Fatal(err)
	}
	if r.loader, err = data.New(r.ds, r.teachers.caches, data.Options{Batch: 4, Split: "train", Workers: 1}); err != nil {
		t.Fatal(err)
	}
	defer r.loader.Close()
	v := supply{ctx: t.Context(), run: &r}
	p, err := v.vectors(0)("auto")
	if err != nil {
		t.Fatal(err)
	}
	zero := make([]float32, fixtureDim)
	var want []float32 // of id2 .. id7
	for _, row := range [][]float32{classRow(2, 3), classRow(4, 3), zero, classRow(0, 3), zero, classRow(3, 3)} {
		want = append(want, row...)
	}
	if p.Source != "classifier" || p.Missing != 2 || p.Dim != fixtureDim || !slices.Equal(p.Vectors, want) {
		t.Errorf("got %+v, want %v", p, want)
	}
	p, err = v.vectors(0)("centres")
	if err != nil || p.Source != "centres" || p.Missing != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	c, err := derived.OpenCentres(t.Context(), r.teachers.caches[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	row := make([]float32, fixtureDim)
	labels, err := r.ds.Labels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n, crop := range []int{2, 3, 4, 5, 6, 7} { // of id2 .. id7
		if _, _, err := c.Centre(labels[crop], row); err != nil || !slices.Equal(row, p.Vectors[n*fixtureDim:][:fixtureDim]) {
			t.Errorf("identity %d of the split: %v, want %v (%v)", n, p.Vectors[n*fixtureDim:][:fixtureDim], row, err)
		}
	}
}

// Class centres of a cache that has grown are derived again.
func TestCentresOfAGrownCache(t *testing.T) {
	dataset := fixture(t)
	train := func() {
		t.Helper()
		o := options(t, dataset)
		o.Loss.Name, o.Epochs = "proxyless", 1
		if _, err := Distill(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	state := func() string {
		ds, err := store.Open(dataset)
		if err != nil {
			t.Fatal(err)
		}
		defer ds.Close()
		teacher, err := cache.Open(ds, "t")
		if err != nil {
			t.Fatal(err)
		}
		state, _ := derived.CentresState(teacher)
		return state
	}
	train()
	addWaves(t, dataset, fixtureCrops, fixtureCrops+8)
	cacheTeacher(t, dataset, "t", target)
	if got := state(); got != "outdated" {
		t.Fatalf("after the growth the centres are %s", got)
	}
	train()
	if got := state(); got != "current" {
		t.Errorf("a run left centres that are %s", got)
	}
}
