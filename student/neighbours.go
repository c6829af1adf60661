package student

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"facepipe/store"
	"facepipe/store/derived"
	"facepipe/student/loss"
)

// neighbourhood gives losses the teacher's nearest crops of other identities among those that
// are trained on. Beside the tables, which are mapped, it holds the dataset's labels: 4 bytes a
// crop.
type neighbourhood struct {
	run     *run
	teacher int // its place
	dim     int
	near    *derived.Neighbours
	labels  []int32
}

// neighbours is [loss.Env.Neighbours] of the teacher at a place.
func (v *supply) neighbours(i int) func(k int) (func([]int64) (loss.Near, error), error) {
	return func(k int) (func([]int64) (loss.Near, error), error) {
		n, err := v.run.openNeighbours(v.ctx, i, k)
		if err != nil {
			v.failed = err
			return nil, err
		}
		return n.of, nil
	}
}

// openNeighbours opens the k nearest crops of each, and finds them first where they are not
// there.
func (r *run) openNeighbours(ctx context.Context, i, k int) (*neighbourhood, error) {
	t := r.teachers.caches[i]
	name := t.Info().Name
	if k > derived.MaxNeighbours {
		return nil, usage(fmt.Errorf("loss %s takes %d neighbours of each crop: there are at most %d", r.o.Loss.Canonical(), k, derived.MaxNeighbours))
	}
	if state, _ := derived.NeighboursState(t); state != "current" {
		fmt.Fprintf(r.progress, "teacher %s: its neighbours are %s, and are found now (pipe teachers neighbours does so beforehand)\n", name, state)
	}
	near, err := derived.OpenNeighbours(ctx, t, k, r.o.Progress)
	if err != nil {
		return nil, err
	}
	r.opened = append(r.opened, near)
	n := &neighbourhood{run: r, teacher: i, dim: t.Info().Dim, near: near}
	if n.labels, err = r.ds.Labels(ctx); err != nil {
		return nil, err
	}
	m := near.Method()
	found, digest := "by comparing all", t.Info().Fingerprint
	if !m.Exact() {
		found = fmt.Sprintf("of which %.1f %% were found", 100*m.Recall)
		digest = fmt.Sprintf("%s %d/%d", digest, m.Probes, m.Lists)
	}
	note := fmt.Sprintf("negatives are the %d nearest crops of others by teacher %s, %s", k, name, found)
	if r.o.Split != "" {
		note += fmt.Sprintf("; those outside the split %s are left out", r.o.Split)
	}
	r.notes = append(r.notes, note)
	if r.manifest.Neighbours == nil {
		r.manifest.Neighbours = map[string]string{}
	}
	r.manifest.Neighbours[name] = digest
	return n, nil
}

// of are the neighbours of a batch's samples.
func (n *neighbourhood) of(samples []int64) (loss.Near, error) {
	var out loss.Near
	lists, rows, err := n.lists(samples)
	if err != nil {
		return out, err
	}
	out.Known, out.Vectors = make([]bool, len(rows)), make([]float32, len(rows)*n.dim)
	place := make(map[int]int, len(rows))
	for at, row := range rows {
		place[row], out.Known[at] = at, n.labels[row] != store.NoLabel
	}
	for _, list := range lists {
		places := make([]int, len(list))
		for k, one := range list {
			places[k] = place[one.Row]
		}
		out.Of = append(out.Of, places)
	}
	return out, n.read(rows, out.Vectors)
}

// lists are the neighbours of each sample, and the rows of all of them, each once, ascending.
func (n *neighbourhood) lists(samples []int64) (lists [][]derived.Neighbour, rows []int, err error) {
	for _, sample := range samples {
		list, err := n.near.Others(int(sample), nil)
		if err != nil {
			return nil, nil, err
		}
		list = slices.DeleteFunc(list, func(one derived.Neighbour) bool { return !n.run.loader.Holds(one.Row) })
		lists = append(lists, list)
		for _, one := range list {
			rows = append(rows, one.Row)
		}
	}
	slices.Sort(rows)
	return lists, slices.Compact(rows), nil
}

// read fetches the embeddings of rows.
func (n *neighbourhood) read(rows []int, vectors []float32) error {
	workers := max(1, min(runtime.GOMAXPROCS(0), len(rows)))
	failed := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for at := w; at < len(rows) && failed[w] == nil; at += workers {
				failed[w] = n.run.loader.Embedding(n.teacher, rows[at], vectors[at*n.dim:][:n.dim])
			}
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}
