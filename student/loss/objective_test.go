package loss

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// namesOf are the names that a loss gives to its parts, its parameters and its state.
func namesOf(t *testing.T, s *torch.Scope, o *Objective) (parts, params, state []string) {
	t.Helper()
	materialise(t, s, o)
	p := newProblem(3, 12, 8)
	for step := range 2 {
		p.step = step
		_, figures := o.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)))
		parts = slices.Sorted(maps.Keys(figures))
	}
	for _, p := range o.Params() {
		params = append(params, p.Name)
	}
	return parts, params, slices.Sorted(maps.Keys(o.State(s)))
}

// The names of the first losses stand in checkpoints and journals: alone they keep them.
func TestNamesStay(t *testing.T) {
	e := torchtest.Open(t)
	for text, want := range map[string]string{
		"{name: cosine}":  "[cosine dropped] [] []",
		"{name: l2}":      "[dropped] [] []",
		"{name: arcface}": "[target_cosine unlabelled] [centres.weight] []",
		"{name: cosface}": "[target_cosine unlabelled] [centres.weight] []",
		"{name: unified, classifier: arcface, rpsd: {bank: 12, negatives: 4, relation: student}}": "[bank classifier dead distance dropped hard iled pairs rpsd target_cosine unlabelled]" +
			" [centres.weight] [bank.label bank.ring bank.sample bank.step bank.student bank.teacher iled.recent iled.statistics]",
		"{name: unified, rpsd: {bank: 0}}": "[bank dead distance dropped hard iled rpsd] [] [iled.recent iled.statistics]",
	} {
		s := torchtest.Scope(t, e)
		o, err := New(config(t, "", text), testEnv(8))
		if err != nil {
			t.Fatal(err)
		}
		if parts, params, state := namesOf(t, s, o); fmt.Sprint(parts, params, state) != want {
			t.Errorf("%s has %v %v %v, want %s", text, parts, params, state, want)
		}
	}
}

// sum is an objective of several losses.
func sum(t *testing.T, losses ...Loss) *Objective {
	t.Helper()
	o := &Objective{}
	for _, l := range losses {
		one := settledTerm{Term{1, l.Name, ""}, l, l.defaults, noSchedule}
		if err := o.add(one, Env{Device: "cpu", Dim: 8, OwnDim: 4, Classes: 3}, l.Name+"."); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// Terms of a sum, of one kind even, have names apart, and add up.
func TestSum(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	all := []Loss{unifiedLoss, arcfaceLoss, cosfaceLoss}
	one := sum(t, all...)
	parts, params, state := namesOf(t, s, one)
	if fmt.Sprint(params) != "[arcface.centres.weight cosface.centres.weight]" || !slices.Contains(parts, "arcface.target_cosine") ||
		!slices.Contains(parts, "unified.iled") || !slices.Contains(state, "unified.bank.ring") {
		t.Errorf("names are %v %v %v", parts, params, state)
	}
	two := sum(t, all...)
	if err := two.Restore(s, one.State(s)); err != nil {
		t.Fatal(err)
	}
	materialise(t, s, two)
	p := newProblem(5, 6, 8)
	want := 0.0
	for _, m := range one.terms {
		v, _ := m.Step(s, p.view(s))
		want += s.Scalar(v)
	}
	got, _ := two.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)))
	if v := s.Scalar(got); s.Err() != nil || math.Abs(v-want) > 1e-9*want {
		t.Errorf("the sum is %g, %v, its terms make %g", v, s.Err(), want)
	}
	if err := two.Restore(s, State{}); err == nil {
		t.Error("restored from nothing")
	}
}

// watcher is a loss that notes what it sees.
type watcher struct {
	dim     int
	student *torch.Tensor
	seen    **view
}

func (w watcher) settled() (settings, error)        { return w, nil }
func (w watcher) build(env Env) (term, error)       { w.dim = env.Dim; return w, nil }
func (w watcher) Params() []*layer.Param            { return nil }
func (w watcher) State(*torch.Scope) State          { return State{} }
func (w watcher) Restore(*torch.Scope, State) error { return nil }
func (w watcher) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	*w.student, *w.seen = v.Student, v
	p := Parts{}
	p.know("dim", float64(w.dim))
	return s.Sum(v.Student), p
}

// Terms that look at the same embedding share a view of it; others see the student's own,
// which is the bridged one where there is no bridge.
func TestTermsSeeTheirEmbedding(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	var student [3]torch.Tensor
	var seen [3]*view
	var losses []Loss
	for i, own := range []bool{false, true, false} {
		losses = append(losses, Loss{Name: fmt.Sprint("watcher", i), Own: own, defaults: watcher{student: &student[i], seen: &seen[i]}})
	}
	o := sum(t, losses...)
	if !o.LooksAtOwn() || sum(t, losses[0]).LooksAtOwn() {
		t.Error("who looks at the student's own embedding is mistaken")
	}
	bridged, own := torch.FromData(s, "cpu", make([]float64, 16), 2, 8), torch.FromData(s, "cpu", make([]float64, 8), 2, 4)
	_, parts := o.Step(s, Batch{Student: bridged, Own: own})
	if student != [3]torch.Tensor{bridged, own, bridged} || seen[0] != seen[2] || seen[0] == seen[1] {
		t.Errorf("the terms saw %v", student)
	}
	if d := [3]float64{parts["watcher0.dim"].Value, parts["watcher1.dim"].Value, parts["watcher2.dim"].Value}; d != [3]float64{8, 4, 8} {
		t.Errorf("the terms were made for embeddings of length %v", d)
	}
	o.Step(s, Batch{Student: bridged})
	if student != [3]torch.Tensor{bridged, bridged, bridged} || seen[0] != seen[1] {
		t.Errorf("without a bridge the terms saw %v", student)
	}
	// What two terms ask for is made once.
	p := newProblem(1, 4, 8)
	v := p.view(s)
	ask := func() []any { return []any{v.unit(), v.distance(), v.grams(), v.labelled()} }
	if first, again := ask(), ask(); !reflect.DeepEqual(first, again) {
		t.Errorf("made twice: %v, %v", first, again)
	}
}

// Figures outlive the scope that they were computed in, and are means over the batches
// that have them.
func TestMeans(t *testing.T) {
	e := torchtest.Open(t)
	kept := torchtest.Scope(t, e)
	var batches []Parts
	for i := range 3 {
		s := e.NewScope()
		p := Parts{}
		p.know("known", float64(i))
		if i > 0 {
			p.keep(s, "kept", s.Sum(torch.FromData(s, "cpu", []float32{float32(i), 2}, 2)))
		}
		p.Move(s, kept)
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		s.Close()
		batches = append(batches, p)
	}
	if got := Means(kept, batches); !maps.Equal(got, map[string]float64{"known": 1, "kept": 3.5}) || kept.Err() != nil {
		t.Errorf("got %v, %v", got, kept.Err())
	}
	if got := Means(kept, nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
