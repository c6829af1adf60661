package student

import (
	"runtime"
	"slices"
	"testing"

	"facepipe/student/data"
)

// beginning is what a run begins with: the network's weights, and the first batches.
type beginning struct {
	weights  map[string][]float32
	rows     [][]int64
	mirrored [][]uint8
}

// beginningOf takes the stages of a run up to its first step.
func beginningOf(t *testing.T, o Options) (b beginning) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as Distill does
		r := &run{o: o, progress: t.Output()}
		var err error
		for _, stage := range r.beforeSteps() {
			if err = stage(t.Context()); err != nil {
				break
			}
		}
		if err == nil {
			b, err = r.beginning(t)
		}
		failed <- r.close(err)
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *run) beginning(t *testing.T) (b beginning, err error) {
	s := r.engine.NewScope()
	defer s.Close()
	b.weights = map[string][]float32{}
	for _, p := range r.model.network.Params() {
		b.weights[p.Name] = slices.Clone(s.Floats(p.Tensor()))
	}
	err = r.loader.Run(t.Context(), 0, 7, func(batch *data.Batch) error {
		b.rows, b.mirrored = append(b.rows, slices.Clone(batch.Rows)), append(b.mirrored, slices.Clone(batch.Mirrored))
		return nil
	})
	return b, err
}

// Of one seed, runs begin with the same weights and see the same crops in the same order,
// mirrored alike, whatever their loss and its parameters; of another seed they do not.
func TestLossesAreComparedFairly(t *testing.T) {
	o := options(t, fixture(t))
	begin := func(loss string, seed uint64) beginning {
		o := o
		o.Out, o.Seed = t.TempDir(), seed
		o.Loss.Name = loss
		if loss == "arcface" {
			o.Teacher, o.Flip = "", "on"
		}
		return beginningOf(t, o)
	}
	first := begin("cosine", 3)
	if len(first.rows) != 7 || len(first.weights) < 10 || len(slices.Concat(first.mirrored...)) != 56 || !slices.Contains(slices.Concat(first.mirrored...), 1) {
		t.Fatalf("%d batches, %d parameters", len(first.rows), len(first.weights))
	}
	for _, loss := range []string{"unified", "rkd", "adadistill", "arcface"} {
		other := begin(loss, 3)
		for name, want := range first.weights {
			if !slices.Equal(want, other.weights[name]) {
				t.Errorf("%s begins with another %s", loss, name)
			}
		}
		for i := range first.rows {
			if !slices.Equal(first.rows[i], other.rows[i]) || !slices.Equal(first.mirrored[i], other.mirrored[i]) {
				t.Errorf("%s sees other crops in batch %d", loss, i)
			}
		}
	}
	other, differ := begin("cosine", 4), false
	for name, values := range first.weights {
		differ = differ || !slices.Equal(values, other.weights[name])
	}
	if !differ || slices.Equal(first.rows[0], other.rows[0]) {
		t.Error("another seed begins alike")
	}
}
