package store_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"facepipe/store"
	"facepipe/store/storetest"
)

// model is what a dataset should be, in plain maps.
type model struct {
	rows    []store.Crop
	rowOf   map[store.ID]int
	keys    map[string]int            // key -> row
	met     map[int]map[string]bool   // source -> key
	rejects map[int]map[string]string // source -> key -> stage
	dups    int
}

func (m *model) clone() *model {
	c := newModel()
	c.rows, c.dups = append(c.rows, m.rows...), m.dups
	for k, v := range m.rowOf {
		c.rowOf[k] = v
	}
	for k, v := range m.keys {
		c.keys[k] = v
	}
	for s := range m.met {
		for k, v := range m.met[s] {
			c.met[s][k] = v
		}
		for k, v := range m.rejects[s] {
			c.rejects[s][k] = v
		}
	}
	return c
}

func newModel() *model {
	return &model{
		rowOf: map[store.ID]int{}, keys: map[string]int{},
		met:     map[int]map[string]bool{0: {}, 1: {}},
		rejects: map[int]map[string]string{0: {}, 1: {}},
	}
}

func (m *model) append(c store.Crop) store.Outcome {
	if m.met[c.Source][c.Key] {
		return store.Repeated
	}
	m.met[c.Source][c.Key] = true
	row, stored := m.rowOf[c.ID]
	owner, taken := m.keys[c.Key]
	switch {
	case taken && (!stored || owner != row):
		m.rejects[c.Source][c.Key] = "store"
		return store.Conflict
	case stored:
		m.keys[c.Key] = row
		m.dups++
		return store.Duplicate
	}
	m.rowOf[c.ID] = len(m.rows)
	m.keys[c.Key] = len(m.rows)
	m.rows = append(m.rows, c)
	return store.Stored
}

func (m *model) reject(r store.Reject) {
	if !m.met[r.Source][r.Key] {
		m.met[r.Source][r.Key] = true
		m.rejects[r.Source][r.Key] = r.Stage
	}
}

// Random runs, interrupted and resumed, agree with the model after every session.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			againstModel(t, rand.New(rand.NewPCG(seed, 7)))
		})
	}
}

// op is a random input: pixels and keys from small sets, so that they meet often.
type op struct {
	crop   store.Crop
	reject bool
}

func randomOps(rng *rand.Rand, n int) []op {
	ops := make([]op, n)
	for i := range ops {
		c := storetest.Crop(rng.IntN(2), rng.IntN(60))
		c.Key = fmt.Sprint("key", rng.IntN(80))
		ops[i] = op{crop: c, reject: rng.IntN(6) == 0}
	}
	return ops
}

func againstModel(t *testing.T, rng *rand.Rand) {
	dir := filepath.Join(storetest.MemoryDir(t), "d")
	want := newModel()
	for range 3 {
		ops := randomOps(rng, 60)
		// Some attempts are interrupted: the writer is left for dead, its lock gone.
		for range rng.IntN(3) {
			w := storetest.Writer(t, dir, 7)
			play(t, w, want.clone(), ops[:rng.IntN(len(ops))])
			storetest.Abort(t, w)
		}
		w := storetest.Writer(t, dir, 7)
		play(t, w, want, ops)
		storetest.Close(t, w)
		compareModel(t, dir, want)
	}
}

// play gives a session's inputs to the writer and to the model. Resumed writers know
// some of them already: those are Repeated there.
func play(t *testing.T, w *store.Writer, m *model, ops []op) {
	t.Helper()
	for s := range 2 {
		if got := w.AddSource(store.SourceInfo{Kind: "folder", Path: fmt.Sprint(s)}); got != s {
			t.Fatalf("source %d became %d", s, got)
		}
	}
	for _, op := range ops {
		c := op.crop
		seen := w.Seen(c.Source, c.Key)
		if op.reject {
			r := store.Reject{Source: c.Source, Key: c.Key, Stage: "decode"}
			m.reject(r)
			if err := w.Reject(r); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want := m.append(c)
		got, err := w.Append(c)
		if err != nil {
			t.Fatal(err)
		}
		if seen {
			want = store.Repeated
		}
		if got != want {
			t.Fatalf("%s of source %d: %v, want %v", c.Key, c.Source, got, want)
		}
	}
}

func compareModel(t *testing.T, dir string, m *model) {
	t.Helper()
	storetest.CleanCheck(t, dir)
	d := storetest.Open(t, dir)
	rejects := len(m.rejects[0]) + len(m.rejects[1])
	if d.Rows() != len(m.rows) || d.Duplicates() != m.dups || d.Rejects() != rejects {
		t.Fatalf("%d rows, %d duplicates, %d rejects; want %d, %d, %d", d.Rows(), d.Duplicates(), d.Rejects(), len(m.rows), m.dups, rejects)
	}
	for key, row := range m.keys {
		if l, err := d.Lookup(key); err != nil || d.RowOf(l) != row {
			t.Errorf("%s is at %+v, %v, want row %d", key, l, err, row)
		}
	}
	for row, want := range m.rows {
		l := d.Locate(row)
		s, err := d.CropShard(int(l.Shard))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Crop(int(l.Row))
		if err != nil || got.ID != want.ID || got.Key != want.Key || got.Source != want.Source || got.Identity != want.Identity {
			t.Errorf("row %d is %+v, %v, want %+v", row, got, err, want)
		}
		storetest.Close(t, s)
	}
}
