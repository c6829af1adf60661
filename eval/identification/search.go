package identification

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/dots"
	"facepipe/internal/nearest"
	"facepipe/internal/vec"
)

// How a threshold follows from a false positive identification rate.
const (
	// OpenLE takes the least threshold that keeps the rate within the target.
	OpenLE = "le"
	// OpenInsightFace takes the score of the non-mated search at place max(int(n·target)-1, 0) of
	// all n from the highest on: what is above it counts, one false positive fewer than OpenLE,
	// and none where n·target is below 2.
	OpenInsightFace = "insightface"
)

// Enrolment is a list of vectors, by their numbers, with the subject of each.
type Enrolment struct {
	Name           string
	Rows, Subjects []int32
}

// SearchOptions adjust [Identify].
type SearchOptions struct {
	// Ranks are the k of rank-k, FPIRs the targets, above 0 and below 1.
	Ranks []int
	FPIRs []float64
	// Pick is [OpenLE] or [OpenInsightFace].
	Pick string
	// Workers is the number of goroutines; 0 takes one a processor.
	Workers int
}

// Identify searches probes in each gallery. A probe that is not there finds nobody; a vector of a
// gallery that is not there is found by nobody. A probe that is itself in the gallery is left out.
func Identify(ctx context.Context, v nearest.Vectors, galleries []Enrolment, probes Enrolment, o SearchOptions) ([]Search, *Mean, error) {
	if o.Pick != OpenLE && o.Pick != OpenInsightFace {
		return nil, nil, fmt.Errorf("rule %q for the false positive identification rate: want %s or %s", o.Pick, OpenLE, OpenInsightFace)
	}
	norms, err := norms(ctx, v, o.Workers)
	if err != nil {
		return nil, nil, err
	}
	var all []Search
	for _, g := range galleries {
		s := &searcher{v: v, norms: norms, gallery: g, probes: probes}
		if err := s.run(ctx, o.Workers); err != nil {
			return nil, nil, fmt.Errorf("search in gallery %s: %w", g.Name, err)
		}
		all = append(all, s.sum(o))
	}
	return all, mean(all, o), nil
}

// outcome is what one probe found.
type outcome struct {
	kind  int8
	ahead int32 // others that are as near as the mate or nearer
	score float64
}

const (
	leftOut  = iota
	mated    // score is that of the best mate
	nonMated // score is the best of all
)

// nothing is the score of a search that finds nobody.
var nothing = math.Inf(-1)

// searcher looks for probes in one gallery.
type searcher struct {
	v       nearest.Vectors
	norms   []float64
	gallery Enrolment
	probes  Enrolment

	rows     []float32 // of the gallery, of length one
	panels   []dots.Panel
	mates    map[int32][]int32 // places in the gallery by subject
	enrolled map[int32]bool    // by vector
	absent   []int32           // places in the gallery
	outcomes []outcome
}

func (s *searcher) run(ctx context.Context, workers int) error {
	if len(s.gallery.Rows) == 0 {
		return errors.New("it is empty")
	}
	if err := s.pack(); err != nil {
		return err
	}
	s.outcomes = make([]outcome, len(s.probes.Rows))
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range processors(workers) {
		group.Go(func() error {
			b := newProbeBlock(s)
			for {
				from := int(next.Add(dots.Rows)) - dots.Rows
				if from >= len(s.outcomes) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := b.search(from, min(from+dots.Rows, len(s.outcomes))); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// pack reads the gallery.
func (s *searcher) pack() error {
	dim := s.v.Dim()
	s.mates, s.enrolled = map[int32][]int32{}, map[int32]bool{}
	s.rows = make([]float32, len(s.gallery.Rows)*dim)
	for range (len(s.gallery.Rows) + dots.Columns - 1) / dots.Columns {
		s.panels = append(s.panels, dots.NewPanel(dim))
	}
	for i, row := range s.gallery.Rows {
		subject := s.gallery.Subjects[i]
		s.mates[subject] = append(s.mates[subject], int32(i))
		s.enrolled[row] = true
		if s.norms[row] == 0 {
			s.absent = append(s.absent, int32(i))
		}
		if err := s.unit(row, s.row(int32(i))); err != nil {
			return err
		}
		s.panels[i/dots.Columns].Put(i%dots.Columns, s.row(int32(i)))
	}
	return nil
}

func (s *searcher) row(place int32) []float32 {
	dim := s.v.Dim()
	return s.rows[int(place)*dim : (int(place)+1)*dim]
}

// unit is a vector of length one, or of zeros where there is none.
func (s *searcher) unit(row int32, dst []float32) error {
	if s.norms[row] == 0 {
		clear(dst)
		return nil
	}
	if _, err := s.v.Row(int(row), dst); err != nil {
		return err
	}
	scale(dst, s.norms[row])
	return nil
}

// scale gives a vector of that norm the length one.
func scale(v []float32, norm float64) {
	inverse := 1 / norm
	for i, x := range v {
		v[i] = float32(float64(x) * inverse)
	}
}

// probeBlock is some probes and their products with the gallery.
type probeBlock struct {
	s      *searcher
	units  [dots.Rows][]float32
	scores [dots.Rows][]float32
	slack  float32
}

func newProbeBlock(s *searcher) *probeBlock {
	b := &probeBlock{s: s, slack: slack(s.v.Dim())}
	for r := range b.units {
		b.units[r] = make([]float32, s.v.Dim())
		b.scores[r] = make([]float32, len(s.panels)*dots.Columns)
	}
	return b
}

// slack is by how much a product of unit vectors in single precision may be off: each of n steps
// rounds by at most half a unit in the last place of a sum that is at most 1, and so was each
// element rounded.
func slack(n int) float32 { return float32(n+8) * 0x1p-23 }

func (b *probeBlock) search(from, to int) error {
	for r := range b.units {
		if err := b.s.unit(b.s.probes.Rows[min(from+r, to-1)], b.units[r]); err != nil {
			return err
		}
	}
	var tile dots.Tile
	for i, panel := range b.s.panels {
		tile.Multiply(&b.units, panel)
		for r := range tile {
			copy(b.scores[r][i*dots.Columns:], tile[r][:])
		}
	}
	for _, place := range b.s.absent {
		for r := range b.scores {
			b.scores[r][place] = float32(nothing)
		}
	}
	for i := from; i < to; i++ {
		b.s.outcomes[i] = b.outcome(i-from, i)
	}
	return nil
}

func (b *probeBlock) outcome(r, probe int) outcome {
	s := b.s
	row := s.probes.Rows[probe]
	if s.enrolled[row] {
		return outcome{kind: leftOut}
	}
	mates := s.mates[s.probes.Subjects[probe]]
	scores := b.scores[r][:len(s.gallery.Rows)]
	switch there := s.norms[row] > 0; {
	case len(mates) == 0 && !there:
		return outcome{nonMated, 0, nothing}
	case len(mates) == 0:
		return outcome{nonMated, 0, b.best(r, scores)}
	case !there:
		return outcome{mated, math.MaxInt32, nothing}
	}
	mate := nothing
	for _, place := range mates {
		mate = max(mate, b.cosine(r, place))
	}
	if mate == nothing {
		return outcome{mated, math.MaxInt32, nothing}
	}
	return outcome{mated, b.ahead(r, scores, s.probes.Subjects[probe], mate), mate}
}

// cosine is that of a probe and the vector at a place of the gallery, in double precision.
func (b *probeBlock) cosine(r int, place int32) float64 {
	if b.s.norms[b.s.gallery.Rows[place]] == 0 {
		return nothing
	}
	return cosine(b.units[r], b.s.row(place))
}

// cosine is that of two vectors whose lengths are one but for rounding.
func cosine(a, b []float32) float64 { return vec.Dot(a, b) / (vec.Norm(a) * vec.Norm(b)) }

// best is the highest score.
func (b *probeBlock) best(r int, scores []float32) float64 {
	limit := slices.Max(scores) - 2*b.slack
	best := nothing
	for place, score := range scores {
		if score >= limit {
			best = max(best, b.cosine(r, int32(place)))
		}
	}
	return best
}

// ahead counts the gallery's vectors of others that are as near as the mate, or nearer.
func (b *probeBlock) ahead(r int, scores []float32, subject int32, mate float64) int32 {
	low, high := float32(mate)-2*b.slack, float32(mate)+2*b.slack
	n := int32(0)
	for place, score := range scores {
		if score < low || b.s.gallery.Subjects[place] == subject {
			continue
		}
		if score > high || b.cosine(r, int32(place)) >= mate {
			n++
		}
	}
	return n
}

// sum makes figures of the outcomes.
func (s *searcher) sum(o SearchOptions) Search {
	result := Search{Gallery: s.gallery.Name, Templates: len(s.gallery.Rows), Subjects: len(s.mates)}
	var mates []outcome
	var others []float64
	for _, out := range s.outcomes {
		switch out.kind {
		case mated:
			mates = append(mates, out)
		case nonMated:
			others = append(others, out.score)
		}
	}
	result.Mated, result.NonMated = len(mates), len(others)
	if left := len(s.outcomes) - len(mates) - len(others); left > 0 {
		result.Notes = append(result.Notes, fmt.Sprintf("%d probes are in gallery %s themselves and were left out", left, s.gallery.Name))
	}
	if len(mates) == 0 {
		result.Notes = append(result.Notes, fmt.Sprintf("gallery %s: rank-k and TPIR are not measurable: no probe has a mate", s.gallery.Name))
		return result
	}
	for _, k := range o.Ranks {
		result.Ranks = append(result.Ranks, RankRate{k, successes(count(mates, func(m outcome) bool { return int(m.ahead) < k }), int64(len(mates)))})
	}
	slices.SortFunc(others, func(a, b float64) int { return cmp.Compare(b, a) })
	for _, target := range o.FPIRs {
		if k := allowed(target, int64(len(others))); k == 0 {
			result.Notes = append(result.Notes, "gallery "+s.gallery.Name+": "+notMeasurable("TPIR at FPIR", target, int64(len(others)), "searches without a mate"))
			continue
		}
		result.OpenSet = append(result.OpenSet, openPoint(mates, others, target, o.Pick))
	}
	return result
}

func count(mates []outcome, is func(outcome) bool) (n int64) {
	for _, m := range mates {
		if is(m) {
			n++
		}
	}
	return n
}

// openPoint is TPIR at a target; others are the best scores of non-mated probes, descending.
func openPoint(mates []outcome, others []float64, target float64, pick string) OpenPoint {
	place := int(allowed(target, int64(len(others))))
	if pick == OpenInsightFace {
		place = max(int(float64(len(others))*target)-1, 0)
	}
	limit := others[min(place, len(others)-1)]
	falses := 0
	for falses < len(others) && others[falses] > limit {
		falses++
	}
	return OpenPoint{
		Target: target, FPIR: float64(falses) / float64(len(others)), FalsePositives: int64(falses), NonMated: int64(len(others)),
		TPIR:   successes(count(mates, func(m outcome) bool { return m.ahead == 0 && m.score > limit }), int64(len(mates))),
		Cosine: max(limit, -1),
	}
}

// mean is what galleries come to together, nil without any that has mates.
func mean(all []Search, o SearchOptions) *Mean {
	var m Mean
	for i, k := range o.Ranks {
		hits, of, sum, n := int64(0), int64(0), 0.0, 0
		for _, s := range all {
			if i < len(s.Ranks) {
				rate := s.Ranks[i].Hits
				hits, of, sum, n = hits+rate.Of-rate.Errors, of+rate.Of, sum+rate.Rate, n+1
			}
		}
		if n > 0 {
			m.Ranks = append(m.Ranks, MeanRank{k, sum / float64(n), successes(hits, of)})
		}
	}
	for _, target := range o.FPIRs {
		sum, n := 0.0, 0
		for _, s := range all {
			for _, p := range s.OpenSet {
				if p.Target == target {
					sum, n = sum+p.TPIR.Rate, n+1
				}
			}
		}
		if n > 0 && n == len(all) {
			m.OpenSet = append(m.OpenSet, MeanOpen{target, sum / float64(n)})
		}
	}
	if len(m.Ranks)+len(m.OpenSet) == 0 {
		return nil
	}
	return &m
}
