package identification

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"facepipe/internal/dots"
	"facepipe/internal/nearest"
	"facepipe/internal/progress"
)

// DistractorOptions adjust [Distractors].
type DistractorOptions struct {
	PairOptions
	// Sizes are numbers of distractors; those beyond what there is are not measurable, and all that
	// there are is always among them.
	Sizes []int
	// Seed decides which distractors the smaller numbers are. The larger hold the smaller.
	Seed uint64
	// LeaveOut are the distractors that are none, by number; nil leaves out none.
	LeaveOut []bool
}

// Distractors looks for each probe's mates among distractors. labels are the probes' identities;
// probes with [NoIdentity] are left out. A mated pair counts twice for rank 1, once from either
// side, and once for TAR at FAR, where the non-mated comparisons are those of probes with
// distractors.
func Distractors(ctx context.Context, probes nearest.Vectors, labels []int32, distractors nearest.Vectors, o DistractorOptions) (Result, error) {
	largest, err := o.largest()
	if err != nil {
		return Result{}, err
	}
	if len(labels) != probes.Len() {
		return Result{}, fmt.Errorf("compare with distractors: %d labels of %d probes", len(labels), probes.Len())
	}
	if probes.Dim() != distractors.Dim() {
		return Result{}, fmt.Errorf("probes have %d dimensions and distractors %d: both must be of one model", probes.Dim(), distractors.Dim())
	}
	f, err := newField(ctx, probes, labels, distractors, o)
	if err != nil {
		return Result{}, err
	}
	r := Result{Protocol: "distractors", Counts: f.describe(), Notes: f.notes(), Switches: map[string]string{
		"far_pick": PickLE, "resolution": fmt.Sprint(Resolution), "non_mated": "probes with distractors", "seed": fmt.Sprint(o.Seed),
	}}
	c := &counts{matedOf: f.people.mated, otherOf: int64(len(f.people.rows)) * int64(len(f.columns.rows))}
	if c.matedOf == 0 || c.otherOf == 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("nothing is measurable: needs mated probes and distractors, has %d mated pairs and %d distractors", c.matedOf, len(f.columns.rows)))
		return r, nil
	}
	targets, notes := c.measurable(o.Targets)
	r.Notes = append(r.Notes, notes...)
	draw := func(rng *rand.Rand) (score float32, ok bool, err error) {
		score, err = drawn(f.people.side, rng.IntN(len(f.people.rows)), f.columns, rng.IntN(len(f.columns.rows)))
		return score, true, err
	}
	if c.floor, err = floorOf(largest, c.otherOf, draw); err != nil {
		return Result{}, err
	}
	err = counted(c, largest, func() error { return f.fill(ctx, c, o) })
	r.Verification, r.Curve, r.RankOne = c.at(targets), c.curve(largest), f.rankOne()
	return r, err
}

// field is probes among distractors.
type field struct {
	people  *people
	columns side
	left    int64 // distractors left out
	missing int64 // distractors without an embedding
	sizes   []int // ascending; the last is all
	lacking []int // sizes that are too large
	// nearest is each probe's best score among the distractors of a size that are in no smaller
	// one, and behind them all smaller ones once they are done: by probe and size.
	nearest []float32
	hits    []int64 // by size
}

func newField(ctx context.Context, probes nearest.Vectors, labels []int32, distractors nearest.Vectors, o DistractorOptions) (*field, error) {
	of, err := norms(ctx, probes, o.Workers)
	if err != nil {
		return nil, err
	}
	f := &field{people: newPeople(probes, labels, of)}
	if of, err = norms(ctx, distractors, o.Workers); err != nil {
		return nil, err
	}
	var rows []int32
	for i, norm := range of {
		switch {
		case o.LeaveOut != nil && o.LeaveOut[i]:
			f.left++
		case norm == 0:
			f.missing++
		default:
			rows = append(rows, int32(i))
		}
	}
	for _, n := range slices.Sorted(slices.Values(o.Sizes)) {
		switch {
		case n < 1:
			return nil, errors.New("want at least one distractor")
		case n > len(rows):
			f.lacking = append(f.lacking, n)
		case n < len(rows) && (len(f.sizes) == 0 || n > f.sizes[len(f.sizes)-1]):
			f.sizes = append(f.sizes, n)
		}
	}
	f.sizes = append(f.sizes, len(rows))
	rng := rand.New(rand.NewPCG(o.Seed, 0))
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	from := 0
	for _, n := range f.sizes { // so that they are read from one end to the other
		slices.Sort(rows[from:n])
		from = n
	}
	f.columns = newSide(distractors, rows, of)
	return f, nil
}

func (f *field) describe() map[string]int64 {
	return map[string]int64{
		"probes": int64(len(f.people.rows)), "identities": f.people.identities, "mated_pairs": f.people.mated,
		"probes_without_identity": f.people.unlabelled, "probes_without_embedding": f.people.missing,
		"distractors": int64(len(f.columns.rows)), "distractors_left_out": f.left, "distractors_without_embedding": f.missing,
	}
}

func (f *field) notes() []string {
	notes := f.people.notes()
	for i := range notes {
		notes[i] = "probes: " + notes[i]
	}
	for _, n := range f.lacking {
		notes = append(notes, fmt.Sprintf("rank 1 among %d distractors is not measurable: there are %d", n, len(f.columns.rows)))
	}
	return notes
}

// fill counts all scores: first those with distractors, then those of mates.
func (f *field) fill(ctx context.Context, c *counts, o DistractorOptions) error {
	f.nearest, f.hits = f.none(), make([]int64, len(f.sizes))
	bar := progress.New(o.Progress, "compare with distractors", int64(len(f.people.rows))*int64(len(f.columns.rows)))
	defer bar.Finish()
	var merging sync.Mutex
	var all [][]float32
	err := product{rows: f.people.side, columns: f.columns, workers: o.Workers, size: o.block, bar: bar}.run(ctx, func() visitor {
		nearest := f.none()
		merging.Lock()
		defer merging.Unlock()
		all = append(all, nearest)
		return func(t *dots.Tile, row, n, column, m int) {
			size, _ := slices.BinarySearch(f.sizes, column+1)
			for r := range n {
				f.addRow(c, t[r][:m], nearest[(row+r)*len(f.sizes):][:len(f.sizes)], column, size)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, nearest := range all {
		for i, score := range nearest {
			f.nearest[i] = max(f.nearest[i], score)
		}
	}
	for i := range f.nearest {
		if i%len(f.sizes) > 0 {
			f.nearest[i] = max(f.nearest[i], f.nearest[i-1])
		}
	}
	return f.mates(ctx, c, o)
}

// none are scores below all.
func (f *field) none() []float32 {
	scores := make([]float32, len(f.people.rows)*len(f.sizes))
	for i := range scores {
		scores[i] = float32(math.Inf(-1))
	}
	return scores
}

// addRow counts the scores of a probe with some distractors, of which the first is of the given
// size.
func (f *field) addRow(c *counts, scores, nearest []float32, column, size int) {
	for i, score := range scores {
		for column+i >= f.sizes[size] {
			size++
		}
		if score > nearest[size] {
			nearest[size] = score
		}
		if score >= c.floor {
			c.other.add(score)
		}
	}
}

// mates counts the scores of the probes' mated pairs.
func (f *field) mates(ctx context.Context, c *counts, o DistractorOptions) error {
	var counting sync.Mutex
	return product{rows: f.people.side, columns: f.people.side, upper: true, workers: o.Workers, size: o.block}.run(ctx, func() visitor {
		return func(t *dots.Tile, row, n, column, m int) {
			if int(f.people.ends[row+n-1]) <= column {
				return
			}
			counting.Lock()
			defer counting.Unlock()
			for r := range n {
				for at := max(column, row+r+1); at < min(column+m, int(f.people.ends[row+r])); at++ {
					score := t[r][at-column]
					c.mated.add(score)
					f.hit(row+r, score)
					f.hit(at, score)
				}
			}
		}
	})
}

// hit counts for which numbers of distractors a mate is nearer to a probe than all of them.
func (f *field) hit(probe int, score float32) {
	for i, nearest := range f.nearest[probe*len(f.sizes):][:len(f.sizes)] {
		if score > nearest {
			f.hits[i]++
		}
	}
}

func (f *field) rankOne() []RankOne {
	var all []RankOne
	for i, n := range f.sizes {
		all = append(all, RankOne{int64(n), successes(f.hits[i], 2*f.people.mated)})
	}
	return all
}
