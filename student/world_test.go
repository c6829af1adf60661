package student

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// worldSteps is how many steps the ranks of a test take.
const worldSteps = 4

// accumulate is of how many batches each consists.
const accumulate = 2

// trainInDouble takes some steps with the network in double precision, so that nothing
// but single roundings tells two runs apart, and returns the losses, and then the sums
// and the lengths of each parameter's momentum: what the gradients were.
func trainInDouble(t *testing.T, e *torch.Engine, dataset string, c loss.Config, w *world) []float64 {
	t.Helper()
	e.SetThreads(1) // the ranks share the machine with each other and other tests
	o := options(t, dataset)
	o.Loss, o.Size.Dim = c, 24
	ds, err := store.Open(o.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	teacher, err := cache.Open(ds, "t")
	if err != nil {
		t.Fatal(err)
	}
	loader, err := data.New(ds, []*cache.Cache{teacher}, data.Options{Batch: 8, Parts: accumulate, Seed: 1, Flip: true, Workers: 2, Slice: w.slice()})
	if err != nil {
		t.Fatal(err)
	}
	defer loader.Close()
	r := run{o: o, ds: ds, loader: loader, progress: io.Discard}
	r.teachers = teachers{names: []string{"t"}, dims: []int{fixtureDim}, caches: []*cache.Cache{teacher}}
	r.teachers.supply = &supply{ctx: t.Context(), run: &r}
	m, err := newModel(e, o, &r.teachers, ds.Identities(), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.dtype, m.world = torch.Float64, w
	if err := w.agree(m, common{Run: manifest{Options: o}}, true); err != nil {
		t.Fatal(err)
	}
	var values []float64
	var sum tally
	err = loader.Run(t.Context(), 0, worldSteps, func(b *data.Batch) error {
		if err := m.pass(b, accumulate, &sum); err != nil || b.Part+1 < accumulate {
			return err
		}
		value, err := m.take(&sum, 1e-3)
		values = append(values, value)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := torchtest.Scope(t, e)
	for _, p := range trained(m.params()) {
		sum, square := 0.0, 0.0
		for _, v := range s.Floats(m.optimizer.State(p)[0].Tensor) {
			sum, square = sum+float64(v), square+float64(v)*float64(v)
		}
		values = append(values, sum, math.Sqrt(square))
	}
	return values
}

// worldLosses are losses of all kinds: sample by sample, against trained centres, and
// with relations within the batch and to a bank, with pairs of identities and draws, against centres that
// follow the teacher, against neighbours and class centres.
func worldLosses() map[string]loss.Config {
	unified := loss.Config{Name: "unified"}
	tune(&unified, "{classifier: arcface, iled: {warmup: 0}, rpsd: {bank: 20, negatives: 8, ramp: 0}}")
	gained := loss.Config{Name: "unified"}
	tune(&gained, gains)
	ekd, triplet := loss.Config{Name: "ekd"}, loss.Config{Name: "triplet"}
	tune(&ekd, "ekd: {start: first, temperature: 0.1}")
	tune(&triplet, "triplet: {alpha: 2}")
	all := map[string]loss.Config{"cosine": {Name: "cosine"}, "arcface": {Name: "arcface"}, "unified": unified, "ekd": ekd, "triplet": triplet,
		"adadistill": {Name: "adadistill"}, "gains": gained}
	for _, name := range []string{"arcface", "softmax", "adaface"} {
		c := loss.Config{Name: name}
		tune(&c, "sample: 0.9") // of the batches' identities, some lack one, some two
		all["sampled "+name] = c
	}
	return all
}

// Two ranks' gradients, in every parameter, and losses are one rank's, and the same bits
// on both.
func TestRanksTakeTheStepsOfOne(t *testing.T) {
	for name, c := range worldLosses() {
		t.Run(name, func(t *testing.T) {
			got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
				w := &world{rank: worker.Rank{Worker: worker.Worker{Index: rank, Count: 2}}, engine: s.Engine(), group: g}
				for _, v := range trainInDouble(t, s.Engine(), fixture(t), c, w) {
					fmt.Println(">", strconv.FormatFloat(v, 'g', -1, 64))
				}
				w.gradients.Close()
				s.Engine().SyncBatchNorm(nil)
			})
			want := trainInDouble(t, torchtest.Open(t), fixture(t), c, &world{})
			if !slices.Equal(got[0], got[1]) {
				t.Error("the two ranks do not agree bit by bit")
			}
			if len(got[0]) != len(want) {
				t.Fatalf("%d values of two ranks, %d of one", len(got[0]), len(want))
			}
			compareValues(t, got[0], want)
		})
	}
}

func compareValues(t *testing.T, printed []string, want []float64) {
	t.Helper()
	longest := 0.0
	for i := worldSteps + 1; i < len(want); i += 2 {
		longest = max(longest, want[i])
	}
	worst := 0.0
	for i, text := range printed {
		got, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			t.Fatal(err)
		}
		size := longest // of gradients that are all but zero only the size of others says anything
		if i < worldSteps {
			size = math.Abs(want[i])
		}
		worst = max(worst, math.Abs(got-want[i])/size)
	}
	t.Logf("largest difference: %.2g", worst)
	if !(worst < 1e-5) {
		t.Errorf("two ranks differ from one by %.2g", worst)
	}
}

// What only rank 0 does between two steps ends for all ranks alike: done, stopped
// whoever was asked, or failed.
func TestRankZeroWorksForAll(t *testing.T) {
	broken := errors.New("broken")
	cases := []struct {
		work  error
		asked int // the rank that is asked to stop, -1 for none
		want  [2]error
	}{
		{nil, -1, [2]error{nil, nil}},
		{context.Canceled, 0, [2]error{context.Canceled, context.Canceled}},
		{nil, 1, [2]error{context.Canceled, context.Canceled}},
		{broken, -1, [2]error{broken, errRankZero}},
	}
	got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		w := &world{rank: worker.Rank{Worker: worker.Worker{Index: rank, Count: 2}}, engine: s.Engine(), group: g}
		for i, c := range cases {
			ctx, cancel := context.WithCancel(t.Context())
			if c.asked == rank {
				cancel()
			}
			worked := false
			err := w.lead(ctx, func() error { worked = true; return c.work })
			cancel()
			fmt.Println(">", i, worked == (rank == 0), errors.Is(err, c.want[rank]))
		}
	})
	for rank, lines := range got {
		for _, line := range lines {
			if !strings.HasSuffix(line, " true true") {
				t.Errorf("rank %d, case, who worked, error: %s", rank, line)
			}
		}
		if len(lines) != len(cases) {
			t.Errorf("rank %d printed %q", rank, lines)
		}
	}
}
