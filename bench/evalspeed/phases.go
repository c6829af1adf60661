package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"facepipe/bench/measure"
	"facepipe/eval/identification"
	"facepipe/eval/ijb"
	"facepipe/internal/dots"
)

var fars = []float64{1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1}

var switches = ijb.Switches{Norm: ijb.NormKeep, DetectorScore: true}

// pooled reads everything but comparisons, and makes templates.
func pooled(ctx context.Context, s settings) (*ijb.Meta, *ijb.Templates, error) {
	begun := time.Now()
	m, err := ijb.Open(s.dir)
	if err != nil {
		return nil, nil, err
	}
	told("metadata", begun)
	embeddings, err := readEmbeddings(embeddingsPath(s))
	if err != nil {
		return nil, nil, err
	}
	told("embeddings", begun)
	t, err := m.Pool(ctx, embeddings, switches)
	told("pool", begun)
	return m, t, err
}

// told says how long it took until here.
func told(what string, begun time.Time) {
	fmt.Fprintf(os.Stderr, "%s: %.1f s\n", what, time.Since(begun).Seconds())
}

// verify is the 1:1 protocol, from files to TAR at FAR.
func verify(ctx context.Context, s settings) (r measure.Result, err error) {
	m, t, err := pooled(ctx, s)
	if err != nil {
		return r, err
	}
	begun := time.Now()
	p, err := m.Pairs()
	if err != nil {
		return r, err
	}
	told("pairs", begun)
	identities := make([]int32, t.Len())
	for i, template := range m.Templates {
		identities[i] = int32(subjectOf(int(template)))
	}
	scores, _, err := identification.Verify(ctx, t, identification.Comparisons{First: p.First, Second: p.Second, Same: p.Same, Identities: identities})
	if err != nil {
		return r, err
	}
	told("scores", begun)
	points, _, err := identification.OperatingPoints(scores, fars, identification.PickNearest)
	told("points", begun)
	r = measure.Result{Operations: p.Len(), Also: map[string]float64{}}
	for _, p := range points {
		r.Also[fmt.Sprintf("tar@%g", p.Target)] = p.TAR.Rate
	}
	return r, err
}

// identify is the 1:N protocol, of templates that are there.
func identify(ctx context.Context, s settings) (r measure.Result, err error) {
	m, t, err := pooled(ctx, s)
	if err != nil {
		return r, err
	}
	begun, processor := time.Now(), measure.ProcessorSeconds()
	galleries, probes, err := m.Searches()
	if err != nil {
		return r, err
	}
	var all []identification.Enrolment
	for _, g := range galleries {
		all = append(all, identification.Enrolment{Name: g.Name, Rows: g.Templates, Subjects: g.Subjects})
		r.Operations += len(g.Templates) * len(probes.Templates)
	}
	_, mean, err := identification.Identify(ctx, t, all, identification.Enrolment{Rows: probes.Templates, Subjects: probes.Subjects},
		identification.SearchOptions{Ranks: []int{1, 5, 10}, FPIRs: []float64{0.01, 0.1}, Pick: identification.OpenInsightFace})
	if err != nil {
		return r, err
	}
	r.Seconds, r.Processor = time.Since(begun).Seconds(), measure.ProcessorSeconds()-processor
	r.Also = map[string]float64{"rank1": mean.Ranks[0].Pooled.Rate, "tpir@0.01": mean.OpenSet[0].TPIR, "tpir@0.1": mean.OpenSet[1].TPIR}
	return r, nil
}

// allPairs compares every crop with every other.
func allPairs(ctx context.Context, s settings) (r measure.Result, err error) {
	m, labels, err := crops(s.rows)
	if err != nil {
		return r, err
	}
	begun, processor := time.Now(), measure.ProcessorSeconds()
	result, err := identification.AllPairs(ctx, m, labels, identification.PairOptions{Targets: fars[:4]})
	r = measure.Result{Rows: s.rows, Operations: s.rows * (s.rows - 1) / 2, Seconds: time.Since(begun).Seconds(), Processor: measure.ProcessorSeconds() - processor}
	r.Also = map[string]float64{"tar": result.Verification[0].TAR.Rate}
	return r, err
}

// multiply takes as many products of vectors that lie ready, in blocks of the same kind.
func multiply(_ context.Context, s settings) (measure.Result, error) {
	const rows, panels = 8192, 8
	ready := make([]float32, rows*dim)
	for i := range ready {
		ready[i] = float32(i % 7)
	}
	packed := make([]dots.Panel, panels)
	for i := range packed {
		packed[i] = dots.NewPanel(dim)
	}
	wanted := s.rows * (s.rows - 1) / 2
	blocks := wanted / (rows * panels * dots.Columns)
	begun, processor := time.Now(), measure.ProcessorSeconds()
	var group errgroup.Group
	var left sync.Mutex
	next := 0
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for {
				left.Lock()
				done := next >= blocks
				next++
				left.Unlock()
				if done {
					return nil
				}
				product(ready, packed)
			}
		})
	}
	err := group.Wait()
	return measure.Result{
		Rows: s.rows, Operations: blocks * rows * panels * dots.Columns,
		Seconds: time.Since(begun).Seconds(), Processor: measure.ProcessorSeconds() - processor,
	}, err
}

// product multiplies all rows with all panels.
func product(ready []float32, packed []dots.Panel) {
	var tile dots.Tile
	var rows [dots.Rows][]float32
	n := len(ready) / dim
	for q := 0; q < n; q += dots.Rows {
		for r := range rows {
			at := min(q+r, n-1)
			rows[r] = ready[at*dim : (at+1)*dim]
		}
		for _, panel := range packed {
			tile.Multiply(&rows, panel)
		}
	}
}
