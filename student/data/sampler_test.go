package data

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"facepipe/store"
	"facepipe/store/storetest"
)

// unequal is a dataset of identities with 1, 2, ... 7 crops, and 5 crops without one in
// between. It returns the crops of each identity.
func unequal(t *testing.T) (*store.Dataset, map[int32][]int64) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d.ds")
	contract := store.Contract{CropSize: 112, Template: "arcface-112", Warp: "none", Decoder: "none"}
	var all []store.Crop
	add := func(identity string) {
		pixels := make([]byte, 112*112*3)
		pixels[0] = byte(len(all))
		all = append(all, storetest.Raw(contract, pixels, fmt.Sprint(len(all)), identity))
	}
	for round := range 7 {
		for id := round; id < 7; id++ {
			add(fmt.Sprint("p", id))
		}
		if round < 5 {
			add("")
		}
	}
	storetest.Write(t, dir, contract, 10, store.SourceInfo{Kind: "folder", Path: "x", Detector: "none"}, all)
	ds := storetest.Open(t, dir)
	labels, err := ds.Labels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := map[int32][]int64{}
	for row, label := range labels {
		rows[label] = append(rows[label], int64(row))
	}
	if len(rows) != 8 || len(rows[store.NoLabel]) != 5 || len(labels) != 33 {
		t.Fatalf("the dataset is %v", rows)
	}
	return ds, rows
}

// A class-balanced batch has different identities with as many crops of each, which are
// different ones as far as there are.
func TestClassBalancedBatches(t *testing.T) {
	ds, rows := unequal(t)
	o := Options{Batch: 8, Sampler: ClassBalanced, PerIdentity: 4, Seed: 3, Flip: true, Workers: 2}
	drawn, seen := map[int32]int{}, map[int64]int{}
	batches := collect(t, ds, nil, o, 0, 300)
	for _, b := range batches {
		for from := 0; from < 8; from += 4 {
			label, crops := b.Labels[from], map[int64]bool{}
			drawn[label]++
			for i := from; i < from+4; i++ {
				if b.Labels[i] != label || label == store.NoLabel || !slices.Contains(rows[label], b.Rows[i]) {
					t.Fatalf("step %d: labels %v, rows %v", b.Step, b.Labels, b.Rows)
				}
				crops[b.Rows[i]] = true
				seen[b.Rows[i]]++
			}
			if want := min(4, len(rows[label])); len(crops) != want {
				t.Fatalf("step %d: %d different crops of an identity with %d", b.Step, len(crops), len(rows[label]))
			}
		}
		if b.Labels[0] == b.Labels[4] {
			t.Fatalf("step %d draws identity %d twice", b.Step, b.Labels[0])
		}
	}
	for label, n := range drawn {
		// 600 draws of 7 identities, of which a pass of 3 batches leaves out one.
		if n < 70 || n > 101 {
			t.Errorf("identity %d was drawn %d times of 600", label, n)
		}
	}
	if len(seen) != 28 {
		t.Errorf("%d of 28 crops were ever drawn", len(seen))
	}
}

// The halves of a mixed batch are those of the two samplers, and an epoch's uniform
// halves go through all crops once.
func TestMixedBatches(t *testing.T) {
	ds, _ := unequal(t)
	o := Options{Batch: 6, Seed: 3, Flip: true, Workers: 3, Sampler: Mixed, PerIdentity: 3}
	l, err := New(ds, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if n := l.StepsPerEpoch(); n != 11 {
		t.Fatalf("%d steps of an epoch of 33 crops, 3 of them uniformly drawn a batch", n)
	}
	if identities, crops := l.Identities(); identities != 7 || crops != 28 {
		t.Errorf("%d identities with %d crops", identities, crops)
	}
	mixed := collect(t, ds, nil, o, 0, 22)
	o.Sampler, o.Batch = Uniform, 3
	uniform := collect(t, ds, nil, o, 0, 22)
	for k, b := range mixed {
		if !slices.Equal(b.Rows[:3], uniform[k].Rows) || !slices.Equal(b.Pixels[:3*112*112*3], uniform[k].Pixels) {
			t.Errorf("step %d: the uniform half is %v, of the uniform sampler %v", k, b.Rows[:3], uniform[k].Rows)
		}
		if l := b.Labels[3]; l == store.NoLabel || b.Labels[4] != l || b.Labels[5] != l {
			t.Errorf("step %d: the class-balanced half has labels %v", k, b.Labels[3:])
		}
	}
}

// Whatever the sampler, batches follow from the seed and the step alone: neither from
// where a run begins nor from the number of workers.
func TestSamplersResume(t *testing.T) {
	ds, _ := unequal(t)
	for _, sampler := range Samplers() {
		for _, parts := range []int{1, 3} {
			o := Options{Batch: 4, Parts: parts, Sampler: sampler, PerIdentity: 2, Seed: 11, Flip: true, Workers: 1}
			whole := collect(t, ds, nil, o, 0, 30)
			if len(whole) != 30*parts {
				t.Fatalf("%s: %d batches of 30 steps of %d", sampler, len(whole), parts)
			}
			for _, from := range []int{1, 7, 29} {
				o.Workers = 1 + from%5
				for k, b := range collect(t, ds, nil, o, from, 30) {
					want := whole[from*parts+k]
					if b.Step != want.Step || !slices.Equal(b.Rows, want.Rows) || !slices.Equal(b.Pixels, want.Pixels) {
						t.Fatalf("%s from step %d: batch %d is of step %d with rows %v, want %d with %v",
							sampler, from, k, b.Step, b.Rows, want.Step, want.Rows)
					}
				}
			}
			o.Seed = 12
			if other := collect(t, ds, nil, o, 0, 1); slices.Equal(other[0].Rows, whole[0].Rows) {
				t.Errorf("%s: two seeds give one batch", sampler)
			}
		}
	}
}

// The batches of a step, taken together, are the larger batch.
func TestPartsOfAStep(t *testing.T) {
	ds, _ := unequal(t)
	whole := collect(t, ds, nil, Options{Batch: 12, Seed: 1, Workers: 2}, 0, 5)
	parts := collect(t, ds, nil, Options{Batch: 4, Parts: 3, Seed: 1, Workers: 2}, 0, 5)
	for k, b := range whole {
		var rows []int64
		for _, p := range parts[3*k : 3*k+3] {
			rows = append(rows, p.Rows...)
		}
		if !slices.Equal(rows, b.Rows) {
			t.Errorf("step %d: rows %v in parts, %v at once", k, rows, b.Rows)
		}
	}
}

func TestSamplersKeepToTheSplit(t *testing.T) {
	ds, _ := fixture(t, false)
	for _, b := range collect(t, ds, nil, Options{Batch: 4, Split: "train", Sampler: ClassBalanced, PerIdentity: 2, Workers: 1}, 0, 20) {
		for _, row := range b.Rows {
			if row%4 == 3 {
				t.Fatalf("row %d is not in the split", row)
			}
		}
	}
}

func TestSamplersRefuse(t *testing.T) {
	ds, _ := unequal(t)
	for name, o := range map[string]Options{
		"unknown":             {Batch: 4, Sampler: "magic", PerIdentity: 2},
		"odd batch":           {Batch: 5, Sampler: ClassBalanced, PerIdentity: 2},
		"odd half":            {Batch: 6, Sampler: Mixed, PerIdentity: 2},
		"one of each":         {Batch: 4, Sampler: ClassBalanced, PerIdentity: 1},
		"too many identities": {Batch: 16, Sampler: ClassBalanced, PerIdentity: 2},
	} {
		o.Workers = 1
		if _, err := New(ds, nil, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every set of k is as likely as any other.
func TestChoose(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	counts := map[string]int{}
	for range 10000 {
		set := choose(rng, 5, 2)
		slices.Sort(set)
		counts[fmt.Sprint(set)]++
	}
	for set, n := range counts {
		if len(counts) != 10 || n < 850 || n > 1150 { // 1000 expected, standard deviation 30
			t.Errorf("%s was drawn %d times of 10000, of %d sets", set, n, len(counts))
		}
	}
	if got := choose(rng, 2, 5); len(got) != 5 || got[0] == got[1] || got[0] != got[2] || got[1] != got[3] {
		t.Errorf("5 of 2 are %v", got)
	}
}
