package student

import (
	"maps"
	"math"
	"slices"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// batches are micro-batches of the fixture.
func batches(t *testing.T, dataset string, n, size int) []*data.Batch {
	t.Helper()
	return batchesIn(t, dataset, n, size, nil)
}

// batchesIn are micro-batches of the fixture that were prepared in slots. They are looked at there.
func batchesIn(t *testing.T, dataset string, n, size int, slots func(int) (data.Slot, error), look ...func(*data.Batch)) []*data.Batch {
	t.Helper()
	ds, err := store.Open(dataset)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	teacher, err := cache.Open(ds, "t")
	if err != nil {
		t.Fatal(err)
	}
	l, err := data.New(ds, []*cache.Cache{teacher}, data.Options{Batch: size, Parts: n, Seed: 1, Flip: true, Workers: 1, NewSlot: slots})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var list []*data.Batch
	err = l.Run(t.Context(), 0, 1, func(b *data.Batch) error {
		for _, f := range look {
			f(b)
		}
		c := *b
		c.Slot, c.Teachers = nil, [][]float32{slices.Clone(b.Teachers[0])}
		c.Pixels, c.Mirrored, c.Rows, c.Labels = slices.Clone(b.Pixels), slices.Clone(b.Mirrored), slices.Clone(b.Rows), slices.Clone(b.Labels)
		list = append(list, &c)
		return nil
	})
	if err != nil || len(list) != n {
		t.Fatalf("%d batches, %v", len(list), err)
	}
	return list
}

// pass takes one of so many micro-batches forward and backward.
func (m *model) pass(b *data.Batch, of int, t *tally) error {
	s := m.engine.NewScope()
	defer s.Close()
	return m.backward(s, m.forward(s, b, 112), b.Part, of, t)
}

// take takes the step and returns its loss.
func (m *model) take(t *tally, rate float64) (loss float64, err error) {
	s := m.engine.NewScope()
	defer s.Close()
	values, err := m.launch(s, t, math.Inf(1), rate)
	if err != nil {
		return 0, err
	}
	loss = s.Fetched(values)[0]
	m.optimizer.ClearGradients(s)
	m.figures.Close()
	*t = tally{}
	return loss, s.Err()
}

// gradientsOf are those that micro-batches leave in a new model.
func gradientsOf(t *testing.T, e *torch.Engine, o Options, list ...*data.Batch) map[string][]float32 {
	t.Helper()
	m, err := newModel(e, o, &teachers{names: []string{"t"}, dims: []int{fixtureDim}}, 8, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	var sum tally
	for _, b := range list {
		if err := m.pass(b, len(list), &sum); err != nil {
			t.Fatal(err)
		}
	}
	s := torchtest.Scope(t, e)
	if m.scaler != nil {
		m.scaler.unscale(s, m.params())
	}
	all := map[string][]float32{}
	for _, p := range trained(m.params()) {
		all[p.Name] = s.Floats(s.Grad(p.Tensor()))
	}
	return all
}

// What is computed of a batch in a slot is what is computed of a copy of it, to the bit.
func TestBatchesInSlots(t *testing.T) {
	e := torchtest.Open(t)
	dataset := fixture(t)
	o := options(t, dataset)
	o.Loss.Name = "unified"
	var got []map[string][]float32
	copies := batchesIn(t, dataset, 3, 4, func(n int) (data.Slot, error) { return e.NewSlot("cpu", n) }, func(b *data.Batch) {
		if _, ok := b.Slot.(*torch.Slot); !ok {
			t.Fatal("the batch is in no slot of the engine")
		}
		got = append(got, gradientsOf(t, e, o, b))
	})
	for i, b := range copies {
		for name, want := range gradientsOf(t, e, o, b) {
			if len(want) == 0 || !slices.Equal(got[i][name], want) {
				t.Errorf("batch %d: gradient of %s differs", i, name)
			}
		}
	}
}

// The gradient of micro-batches together is the mean of their gradients.
func TestAccumulatedGradient(t *testing.T) {
	e := torchtest.Open(t)
	dataset := fixture(t)
	o := options(t, dataset)
	o.Loss.Name, o.Size.Dim = "cosine", 24 // with a bridge
	list := batches(t, dataset, 3, 8)
	together := gradientsOf(t, e, o, list...)
	mean := map[string][]float64{}
	for _, b := range list {
		for name, g := range gradientsOf(t, e, o, b) {
			if mean[name] == nil {
				mean[name] = make([]float64, len(g))
			}
			for i, v := range g {
				mean[name][i] += float64(v) / 3
			}
		}
	}
	length := 0.0
	for _, g := range mean {
		for _, v := range g {
			length = math.Hypot(length, v)
		}
	}
	for name, want := range mean {
		for i, v := range together[name] {
			if math.Abs(float64(v)-want[i]) > 1e-5*length {
				t.Fatalf("gradient %d of %s is %g, the mean is %g", i, name, v, want[i])
			}
		}
	}
}

// A figure that only some micro-batches have, such as the cosine to the own centre where
// there are labels, is the mean of theirs.
func TestTally(t *testing.T) {
	var sum tally
	s := torchtest.Scope(t, torchtest.Open(t))
	kept := torchtest.Scope(t, s.Engine())
	engine := func(v float64) torch.Tensor { return s.Sum(torch.FromData(s, "cpu", []float64{v}, 1)) }
	add := func(value float64, parts loss.Parts, row int64) {
		sum.add(s, kept, engine(value), parts, []int64{row}, 4)
	}
	add(4, loss.Parts{"unlabelled": {Value: 2}, "target_cosine": {Tensor: engine(0.5)}}, 1)
	add(0, loss.Parts{"unlabelled": {Value: 8}}, 2)
	add(8, loss.Parts{"unlabelled": {Value: 2}, "target_cosine": {Tensor: engine(0.25)}}, 3)
	add(0, loss.Parts{"unlabelled": {Value: 8}}, 4)
	s.Close()
	parts, want := loss.Means(s, sum.parts), map[string]float64{"unlabelled": 5, "target_cosine": 0.375}
	if s.Scalar(sum.loss) != 3 || !maps.Equal(parts, want) || len(sum.rows) != 4 || s.Err() != nil {
		t.Errorf("%+v, %v, want parts %v", sum, parts, want)
	}
}

// A power of two leaves every bit of a gradient as it is.
func TestScaledGradient(t *testing.T) {
	e := torchtest.Open(t)
	dataset := fixture(t)
	o := options(t, dataset)
	list := batches(t, dataset, 1, 8)
	plain := gradientsOf(t, e, o, list...)
	o.scaleLoss = true
	for name, g := range gradientsOf(t, e, o, list...) {
		for i, v := range g {
			if v != plain[name][i] {
				t.Fatalf("gradient %d of %s is %g with a scale, %g without", i, name, v, plain[name][i])
			}
		}
	}
}
