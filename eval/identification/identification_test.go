package identification

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/verification"
	"facepipe/internal/dots"
	"facepipe/internal/nearest"
	"facepipe/internal/vec"
)

const dim = 24

// matrix are vectors in memory. One that is nil is not there.
type matrix [][]float32

func (m matrix) Len() int { return len(m) }

// Dim is the length of the first that is there.
func (m matrix) Dim() int {
	for _, v := range m {
		if v != nil {
			return len(v)
		}
	}
	return 0
}

func (m matrix) Row(i int, dst []float32) (ok bool, err error) {
	copy(dst, m[i])
	return m[i] != nil, nil
}

// draw makes vectors of people, some of each, with labels. Some are the same, one is zero, one NaN,
// one infinite and one is not there.
func draw(people, each int, seed uint64) (matrix, []int32) {
	rng := rand.New(rand.NewPCG(seed, 7))
	var rows matrix
	var labels []int32
	for p := range people {
		centre := make([]float64, dim)
		for i := range centre {
			centre[i] = rng.NormFloat64()
		}
		for range each {
			v := make([]float32, dim)
			for i := range v {
				v[i] = float32(20 * (centre[i] + rng.NormFloat64()))
			}
			rows, labels = append(rows, v), append(labels, int32(p))
		}
	}
	rng.Shuffle(len(rows), func(i, j int) {
		rows[i], rows[j] = rows[j], rows[i]
		labels[i], labels[j] = labels[j], labels[i]
	})
	if n := len(rows); n > 20 {
		rows[n/2], rows[n/3] = rows[0], rows[1] // ties
		rows[3] = make([]float32, dim)
		rows[5] = slices.Clone(rows[5])
		rows[5][7] = float32(math.NaN())
		rows[7] = slices.Clone(rows[7])
		rows[7][0] = float32(math.Inf(1))
		rows[9] = nil
	}
	return rows, labels
}

func (r matrix) there(i int32) bool { return r[i] != nil && vec.HasDirection(vec.Norm(r[i])) }

// single is a score as blocks give it.
func single(a, b []float32) float32 {
	a, b = slices.Clone(a), slices.Clone(b)
	scale(a, vec.Norm(a))
	scale(b, vec.Norm(b))
	var rows [dots.Rows][]float32
	for r := range rows {
		rows[r] = a
	}
	p := dots.NewPanel(len(a))
	p.Put(0, b)
	var t dots.Tile
	t.Multiply(&rows, p)
	return t[0][0]
}

func TestVerifyGivesTheDistancesOfVerification(t *testing.T) {
	rows, labels := draw(9, 7, 1)
	c := Comparisons{Identities: labels}
	want := verification.NewScores(0, 0, 0)
	left := 0
	for i := range int32(len(rows)) {
		for j := range i {
			c.First, c.Second, c.Same = append(c.First, i), append(c.Second, j), append(c.Same, labels[i] == labels[j])
			if !rows.there(i) || !rows.there(j) {
				left++
				continue
			}
			d := verification.Distance(rows[i], rows[j], vec.Norm(rows[i]), vec.Norm(rows[j]))
			want.Add(verification.Trial{Distance: d, Same: labels[i] == labels[j], First: labels[i], Second: labels[j]})
		}
	}
	for _, workers := range []int{1, 2, 5} {
		c.Workers = workers
		got, n, err := Verify(t.Context(), rows, c)
		if err != nil || n != left {
			t.Fatal(n, left, err)
		}
		if !slices.Equal(slices.Collect(got.ROC().Points()), slices.Collect(want.ROC().Points())) {
			t.Errorf("%d workers: another ROC", workers)
		}
	}
	c.NoMatch = true
	got, n, err := Verify(t.Context(), rows, c)
	if err != nil || n != left || got.Same()+got.Different() != len(c.Same) {
		t.Fatalf("counted as no match: %d, %v", n, err)
	}
	points := slices.Collect(got.ROC().Points())
	if last := points[len(points)-1]; last.Distance != verification.MaxDistance {
		t.Errorf("the last is at %g", last.Distance)
	}
}

// plainNearest is scikit-learn's roc_curve and the nearest rate of it, as they are described.
func plainNearest(same, different []float64, target float64) (fa, ta int) {
	all := slices.Concat(same, different)
	slices.Sort(all)
	all = slices.Compact(all)
	type point struct{ fa, ta int }
	below := func(d []float64, limit float64) (n int) {
		for _, x := range d {
			if x <= limit {
				n++
			}
		}
		return n
	}
	var points []point
	for _, limit := range all {
		points = append(points, point{below(different, limit), below(same, limit)})
	}
	kept := []point{{0, 0}}
	for i, p := range points {
		if i > 0 && i < len(points)-1 {
			a, b := points[i-1], points[i+1]
			if a.fa+b.fa == 2*p.fa && a.ta+b.ta == 2*p.ta {
				continue
			}
		}
		kept = append(kept, p)
	}
	slices.Reverse(kept)
	best := math.Inf(1)
	for _, p := range kept {
		if off := math.Abs(float64(p.fa)/float64(len(different)) - target); off < best {
			best, fa, ta = off, p.fa, p.ta
		}
	}
	return fa, ta
}

func TestPicks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	targets := []float64{0.004, 0.01, 0.033, 0.1, 0.25, 0.5, 0.999}
	for round := range 200 {
		var same, different []float64
		s := verification.NewScores(0, 0, 0)
		grain := []float64{8, 64, 1 << 40}[round%3] // many ties, some, none
		for range 40 + round {
			d := math.Round(grain*4*rng.Float64()) / grain
			s.Add(verification.Trial{Distance: d})
			different = append(different, d)
		}
		for range 1 + round/2 {
			d := math.Round(grain*2.5*rng.Float64()) / grain
			s.Add(verification.Trial{Distance: d, Same: true})
			same = append(same, d)
		}
		for _, pick := range []string{PickLE, PickNearest} {
			points, notes, err := OperatingPoints(s, targets, pick)
			if err != nil || len(points)+len(notes) != len(targets) {
				t.Fatal(points, notes, err)
			}
			for _, p := range points {
				fa, ta := plainNearest(same, different, p.Target)
				if pick == PickLE {
					q, _ := s.ROC().AtFAR(p.Target)
					fa, ta = int(math.Round(q.FAR*float64(len(different)))), int(math.Round(q.TAR*float64(len(same))))
				}
				if int(p.FalseAccepts) != fa || int(p.TAR.Of-p.TAR.Errors) != ta {
					t.Fatalf("round %d, %s at %g: %d false and %d true accepts, want %d and %d", round, pick, p.Target, p.FalseAccepts, p.TAR.Of-p.TAR.Errors, fa, ta)
				}
				accepted := 0
				for _, d := range different {
					if d < p.Threshold {
						accepted++
					}
				}
				if accepted != fa {
					t.Fatalf("round %d, %s at %g: threshold %g accepts %d, want %d", round, pick, p.Target, p.Threshold, accepted, fa)
				}
			}
		}
	}
	s := verification.NewScores(0, 0, 0)
	s.Add(verification.Trial{})
	if points, notes, err := OperatingPoints(s, targets, PickLE); len(points) != 0 || len(notes) != 1 || err != nil {
		t.Errorf("one kind only: %v, %v, %v", points, notes, err)
	}
	if _, _, err := OperatingPoints(s, targets, "lowest"); err == nil {
		t.Error("a rule that is none was taken")
	}
}

// plainSearch compares all in double precision, ties against the mate.
func plainSearch(rows matrix, g, probes Enrolment, o SearchOptions) (hits []int64, tpir map[float64]int64, falses map[float64]int64) {
	type result struct {
		rank  int
		score float64
	}
	var mates []result
	var others []float64
	unit := func(i int32) []float32 {
		v := slices.Clone(rows[i])
		scale(v, vec.Norm(v))
		return v
	}
	for i, p := range probes.Rows {
		best, top, isMated := math.Inf(-1), math.Inf(-1), false
		var foreign []float64
		for k, row := range g.Rows {
			score := math.Inf(-1)
			if rows.there(p) && rows.there(row) {
				score = vec.Cosine(unit(p), unit(row))
			}
			if g.Subjects[k] == probes.Subjects[i] {
				isMated, best = true, max(best, score)
			} else {
				foreign = append(foreign, score)
			}
			top = max(top, score)
		}
		if slices.Contains(g.Rows, p) {
			continue
		}
		if !isMated {
			others = append(others, top)
			continue
		}
		rank := 1
		for _, score := range foreign {
			if score >= best {
				rank++
			}
		}
		if math.IsInf(best, -1) {
			rank = math.MaxInt
		}
		mates = append(mates, result{rank, best})
	}
	slices.Sort(others)
	slices.Reverse(others)
	tpir, falses = map[float64]int64{}, map[float64]int64{}
	for _, k := range o.Ranks {
		n := int64(0)
		for _, m := range mates {
			if m.rank <= k {
				n++
			}
		}
		hits = append(hits, n)
	}
	for _, f := range o.FPIRs {
		k := int(f * float64(len(others)))
		if k == 0 {
			continue
		}
		limit := others[k]
		if o.Pick == OpenInsightFace {
			limit = others[k-1]
		}
		tpir[f] = 0
		for _, m := range mates {
			if m.rank == 1 && m.score > limit {
				tpir[f]++
			}
		}
		for _, x := range others {
			if x > limit {
				falses[f]++
			}
		}
	}
	return hits, tpir, falses
}

func TestIdentifyAgainstPlainLoops(t *testing.T) {
	rows, labels := draw(40, 6, 2)
	var g1, g2, probes Enrolment
	g1.Name, g2.Name = "G1", "G2"
	for i, label := range labels {
		to := &probes
		if i%4 == 0 && label < 30 {
			if to = &g1; label%2 == 0 {
				to = &g2
			}
		}
		to.Rows, to.Subjects = append(to.Rows, int32(i)), append(to.Subjects, label)
	}
	probes.Rows, probes.Subjects = append(probes.Rows, g1.Rows[0]), append(probes.Subjects, g1.Subjects[0]) // in both
	for _, pick := range []string{OpenLE, OpenInsightFace} {
		o := SearchOptions{Ranks: []int{1, 5, 10}, FPIRs: []float64{0.001, 0.1, 0.3}, Pick: pick, Workers: 1}
		all, mean, err := Identify(t.Context(), rows, []Enrolment{g1, g2}, probes, o)
		if err != nil {
			t.Fatal(err)
		}
		for i, g := range []Enrolment{g1, g2} {
			hits, tpir, falses := plainSearch(rows, g, probes, o)
			s := all[i]
			for k, r := range s.Ranks {
				if r.Hits.Of-r.Hits.Errors != hits[k] || r.Hits.Of != int64(s.Mated) {
					t.Errorf("%s rank %d: %+v, want %d hits", g.Name, r.Rank, r.Hits, hits[k])
				}
			}
			if len(s.OpenSet) != 2 || len(tpir) != 2 {
				t.Fatalf("%s: %+v, want two points", g.Name, s.OpenSet)
			}
			for _, p := range s.OpenSet {
				if p.TPIR.Of-p.TPIR.Errors != tpir[p.Target] || p.FalsePositives != falses[p.Target] {
					t.Errorf("%s at %g: %+v, want %d and %d", g.Name, p.Target, p, tpir[p.Target], falses[p.Target])
				}
			}
			if !strings.Contains(strings.Join(s.Notes, "\n"), "needs 1000") {
				t.Errorf("%s: nothing says what FPIR 0.001 needs: %q", g.Name, s.Notes)
			}
		}
		if !strings.Contains(all[0].Notes[0], "1 probes are in gallery G1") || strings.Contains(strings.Join(all[1].Notes, ""), "themselves") {
			t.Errorf("overlap: %q, %q", all[0].Notes, all[1].Notes)
		}
		a, b := all[0].Ranks[0].Hits, all[1].Ranks[0].Hits
		if m := mean.Ranks[0]; m.Mean != (a.Rate+b.Rate)/2 || m.Pooled.Of != a.Of+b.Of || m.Pooled.Errors != a.Errors+b.Errors {
			t.Errorf("mean %+v of %+v and %+v", m, a, b)
		}
		o.Workers = 3
		again, meanAgain, err := Identify(t.Context(), rows, []Enrolment{g1, g2}, probes, o)
		if err != nil || !reflect.DeepEqual(all, again) || !reflect.DeepEqual(mean, meanAgain) {
			t.Errorf("%s: three workers find something else: %v", pick, err)
		}
	}
}

func TestDegenerateSearches(t *testing.T) {
	rows := matrix{{1, 0}, {0, 1}, {1, 1}, nil, nil}
	o := SearchOptions{Ranks: []int{1}, FPIRs: []float64{0.5}, Pick: OpenLE}
	all, mean, err := Identify(t.Context(), rows, []Enrolment{{"one", []int32{0}, []int32{1}}}, Enrolment{"", []int32{1}, []int32{2}}, o)
	if err != nil || mean != nil || all[0].NonMated != 1 || all[0].Ranks != nil || len(all[0].Notes) != 1 {
		t.Errorf("a gallery without mates: %+v, %v, %v", all, mean, err)
	}
	all, _, err = Identify(t.Context(), rows, []Enrolment{{"one", []int32{0}, []int32{1}}}, Enrolment{"", []int32{2}, []int32{1}}, o)
	if err != nil || all[0].Ranks[0].Hits.Rate != 1 || all[0].OpenSet != nil || !strings.Contains(all[0].Notes[0], "needs 2 searches without a mate, has 0") {
		t.Errorf("no probe without a mate: %+v, %v", all, err)
	}
	all, _, err = Identify(t.Context(), rows, []Enrolment{{"one", []int32{3, 0}, []int32{1, 2}}}, Enrolment{"", []int32{2, 4}, []int32{1, 2}}, o)
	if err != nil || all[0].Ranks[0].Hits.Errors != 2 {
		t.Errorf("a mate and a probe that are not there: %+v, %v", all, err)
	}
	opposite := matrix{{-1, 0.5}, nil, {1, 0}, {-1, -1}}
	o.FPIRs = []float64{0.6}
	all, _, err = Identify(t.Context(), opposite, []Enrolment{{"far", []int32{0, 1}, []int32{1, 2}}}, Enrolment{"", []int32{2, 2, 3}, []int32{7, 8, 1}}, o)
	if err != nil || math.Abs(all[0].OpenSet[0].Cosine+2/math.Sqrt(5)) > 1e-6 || all[0].OpenSet[0].TPIR.Errors != 0 {
		t.Errorf("strangers opposite to all that is there: %+v, %v", all, err)
	}
	if _, _, err := Identify(t.Context(), rows, []Enrolment{{Name: "none"}}, Enrolment{}, o); err == nil {
		t.Error("an empty gallery was searched")
	}
	if _, _, err := Identify(t.Context(), rows, nil, Enrolment{}, SearchOptions{Pick: "middle"}); err == nil {
		t.Error("a rule that is none was taken")
	}
}

// plainPoint is TAR at FAR by steps, from all scores.
func plainPoint(mated, others []float32, target float64) (fa, ta int64) {
	limit := int64(0)
	for float64(limit+1)/float64(len(others)) <= target {
		limit++
	}
	place := func(s float32) int64 { return int64((float64(s) + 1) * (1 << 23)) }
	slices.Sort(others)
	slices.Reverse(others)
	edge := place(others[limit]) // the first too many, with all of its step
	for _, s := range others {
		if place(s) > edge {
			fa++
		}
	}
	for _, s := range mated {
		if place(s) > edge {
			ta++
		}
	}
	return fa, ta
}

func TestAllPairsAgainstPlainLoops(t *testing.T) {
	rows, labels := draw(23, 9, 4)
	labels[0], labels[11] = NoIdentity, NoIdentity
	var mated, others []float32
	for i := range int32(len(rows)) {
		for j := range i {
			if !rows.there(i) || !rows.there(j) || labels[i] == NoIdentity || labels[j] == NoIdentity {
				continue
			}
			if s := single(rows[i], rows[j]); labels[i] == labels[j] {
				mated = append(mated, s)
			} else {
				others = append(others, s)
			}
		}
	}
	o := PairOptions{Targets: []float64{1e-6, 1e-4, 1e-3, 1e-2, 0.1}, Workers: 1}
	r, err := AllPairs(t.Context(), rows, labels, o)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"mated_pairs": int64(len(mated)), "non_mated_pairs": int64(len(others)), "without_identity": 2, "without_embedding": 4} {
		if r.Counts[name] != want {
			t.Errorf("%s: %d, want %d", name, r.Counts[name], want)
		}
	}
	if len(r.Verification) != 4 || !strings.Contains(strings.Join(r.Notes, "\n"), "needs 1000000 non-mated comparisons") {
		t.Fatalf("%+v, notes %q", r.Verification, r.Notes)
	}
	for _, p := range r.Verification {
		fa, ta := plainPoint(mated, others, p.Target)
		if p.FalseAccepts != fa || p.TAR.Of-p.TAR.Errors != ta || p.NonMated != int64(len(others)) {
			t.Errorf("at %g: %+v, want %d false and %d true accepts", p.Target, p, fa, ta)
		}
		accepted := int64(0)
		for _, s := range others {
			if float64(s) >= p.Cosine {
				accepted++
			}
		}
		if accepted != fa || math.Abs(p.Threshold-(2-2*p.Cosine)) > 1e-12 {
			t.Errorf("threshold %g accepts %d, want %d", p.Cosine, accepted, fa)
		}
	}
	if n := len(r.Curve); n < 10 || r.Curve[n-1].FAR != r.Verification[3].FAR {
		t.Errorf("%d points of a curve", n)
	}
	o.Workers, o.block = 3, 50
	again, err := AllPairs(t.Context(), rows, labels, o)
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("three workers: %+v, %v", again, err)
	}
}

// Blocks of several rows and columns, and a floor from a sample, change nothing.
func TestAllPairsInBlocks(t *testing.T) {
	const people, each = 270, 10 // pairs enough for a sample
	rows, labels := draw(people, each, 5)
	o := PairOptions{Targets: []float64{1e-5, 1e-3}, block: 700}
	r, err := AllPairs(t.Context(), rows, labels, o)
	if err != nil {
		t.Fatal(err)
	}
	norms, err := norms(t.Context(), rows, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := newPeople(rows, labels, norms)
	floor, err := floorOf(1e-3, p.other, p.draw)
	if err != nil || math.IsInf(float64(floor), -1) {
		t.Fatalf("no floor: %g, %v", floor, err)
	}
	c := &counts{matedOf: p.mated, otherOf: p.other, floor: float32(math.Inf(-1)), mated: newTally(), other: newTally()}
	if err := p.compare(t.Context(), c, PairOptions{Workers: 2}); err != nil {
		t.Fatal(err)
	}
	if int64(c.mated.sum()) != p.mated || int64(c.other.sum()) != p.other {
		t.Errorf("%d mated and %d other pairs counted, want %d and %d", int64(c.mated.sum()), int64(c.other.sum()), p.mated, p.other)
	}
	if want := c.at(o.Targets); !reflect.DeepEqual(r.Verification, want) {
		t.Errorf("with a floor %+v, without %+v", r.Verification, want)
	}
}

// A floor that a sample put too high is noticed, and all is counted again.
func TestFloorTooHigh(t *testing.T) {
	rows, labels := draw(9, 5, 5)
	norms, err := norms(t.Context(), rows, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := newPeople(rows, labels, norms)
	fills, targets := 0, []float64{1e-2, 0.1}
	c := &counts{matedOf: p.mated, otherOf: p.other, floor: 0.99}
	err = counted(c, 0.1, func() error { fills++; return p.compare(t.Context(), c, PairOptions{}) })
	want, wantErr := AllPairs(t.Context(), rows, labels, PairOptions{Targets: targets})
	if err = errors.Join(err, wantErr); err != nil || fills != 2 || !reflect.DeepEqual(c.at(targets), want.Verification) {
		t.Errorf("%d fills, %+v, want %+v, %v", fills, c.at(targets), want.Verification, err)
	}
}

func TestDegeneratePairs(t *testing.T) {
	one := []float32{1, 2}
	for name, c := range map[string]struct {
		rows   matrix
		labels []int32
		note   string
	}{
		"one crop":      {matrix{one}, []int32{0}, "has 0 mated and 0 non-mated"},
		"nobody's":      {matrix{one, one}, []int32{NoIdentity, NoIdentity}, "has 0 mated and 0 non-mated"},
		"one person":    {matrix{one, one, one}, []int32{4, 4, 4}, "has 3 mated and 0 non-mated"},
		"all strangers": {matrix{one, one}, []int32{0, 1}, "has 0 mated and 1 non-mated"},
		"nothing there": {matrix{nil, {0, 0}}, []int32{0, 0}, "has 0 mated and 0 non-mated"},
	} {
		r, err := AllPairs(t.Context(), c.rows, c.labels, PairOptions{Targets: []float64{0.1}})
		if err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], c.note) || r.Verification != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	for _, targets := range [][]float64{nil, {0}, {1}, {math.NaN()}} {
		if _, err := AllPairs(t.Context(), matrix{one}, []int32{0}, PairOptions{Targets: targets}); err == nil {
			t.Errorf("targets %v were taken", targets)
		}
	}
}

// Where nearly all pairs are mated no sample is drawn, which takes no longer.
func TestFewStrangers(t *testing.T) {
	p := &people{side: side{rows: make([]int32, 1<<20)}, ends: make([]int32, 1<<20)}
	p.ends[0] = 1
	floor, err := floorOf(0.1, 1<<30, p.draw)
	if err != nil || !math.IsInf(float64(floor), -1) {
		t.Errorf("floor %g, %v", floor, err)
	}
	if _, err := AllPairs(t.Context(), matrix{{1}}, nil, PairOptions{Targets: []float64{0.1}}); err == nil {
		t.Error("vectors without labels were compared")
	}
}

// Where all non-mated scores are equal, accepting one accepts all.
func TestAllPairsOfTies(t *testing.T) {
	rows := matrix{{1, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 1, 0}, {0, 0, 1}, {0, 0, 1}}
	r, err := AllPairs(t.Context(), rows, []int32{0, 0, 1, 1, 2, 2}, PairOptions{Targets: []float64{0.5}})
	want := OperatingPoint{Target: 0.5, NonMated: 12, TAR: Rate{1, 0, 3}, Cosine: Resolution, Threshold: 2 - 2*Resolution}
	if err != nil || len(r.Verification) != 1 || r.Verification[0] != want {
		t.Errorf("%+v, %v, want %+v", r.Verification, err, want)
	}
}

func TestDistractorsAgainstPlainLoops(t *testing.T) {
	probes, labels := draw(12, 4, 6)
	labels[2] = NoIdentity
	distractors, _ := draw(90, 3, 7)
	leave := make([]bool, len(distractors))
	leave[20], leave[21] = true, true
	o := DistractorOptions{PairOptions: PairOptions{Targets: []float64{1e-3, 0.05}, Workers: 1}, Sizes: []int{100, 10, 5000}, Seed: 3, LeaveOut: leave}
	r, err := Distractors(t.Context(), probes, labels, distractors, o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := newField(t.Context(), probes, labels, distractors, o)
	if err != nil {
		t.Fatal(err)
	}
	var mated, others []float32
	hits := make([]int64, len(f.sizes))
	for i, a := range probes {
		if !probes.there(int32(i)) || labels[i] == NoIdentity {
			continue
		}
		nearest := make([]float32, len(f.sizes))
		for size, n := range f.sizes {
			nearest[size] = -2
			for _, row := range f.columns.rows[:n] {
				nearest[size] = max(nearest[size], single(a, distractors[row]))
			}
		}
		for _, row := range f.columns.rows {
			others = append(others, single(a, distractors[row]))
		}
		for j, b := range probes {
			if i == j || labels[i] != labels[j] || !probes.there(int32(j)) {
				continue
			}
			s := single(a, b)
			if i < j {
				mated = append(mated, s)
			}
			for size := range hits {
				if s > nearest[size] {
					hits[size]++
				}
			}
		}
	}
	for i, n := range []int64{10, 100, int64(len(distractors) - 6)} {
		if got := r.RankOne[i]; got.Distractors != n || got.Hits.Of-got.Hits.Errors != hits[i] || got.Hits.Of != 2*int64(len(mated)) {
			t.Errorf("rank 1: %+v, want %d of %d among %d", got, hits[i], 2*len(mated), n)
		}
	}
	for _, p := range r.Verification {
		if fa, ta := plainPoint(mated, others, p.Target); p.FalseAccepts != fa || p.TAR.Of-p.TAR.Errors != ta {
			t.Errorf("at %g: %+v, want %d and %d", p.Target, p, fa, ta)
		}
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "among 5000 distractors is not measurable") || r.Counts["distractors_left_out"] != 2 {
		t.Errorf("notes %q, counts %v", notes, r.Counts)
	}
	o.Workers, o.block = 3, 40
	again, err := Distractors(t.Context(), probes, labels, distractors, o)
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("three workers: %+v, %v", again, err)
	}
	if o.Seed = 4; true {
		other, err := newField(t.Context(), probes, labels, distractors, o)
		if err != nil || slices.Equal(other.columns.rows[:10], f.columns.rows[:10]) {
			t.Errorf("another seed takes the same distractors: %v", err)
		}
	}
}

func TestDegenerateDistractors(t *testing.T) {
	o := DistractorOptions{PairOptions: PairOptions{Targets: []float64{0.5}}, Sizes: []int{1}}
	r, err := Distractors(t.Context(), matrix{{1, 0}, {0, 1}}, []int32{0, 1}, matrix{{1, 1}}, o)
	if err != nil || r.RankOne != nil || !strings.Contains(r.Notes[0], "has 0 mated pairs and 1 distractors") {
		t.Errorf("no mates: %+v, %v", r, err)
	}
	r, err = Distractors(t.Context(), matrix{{1, 0}, {0, 1}}, []int32{0, 0}, matrix{nil, {0, 0}}, o)
	if err != nil || r.RankOne != nil || !strings.Contains(strings.Join(r.Notes, " "), "0 distractors") {
		t.Errorf("no distractor: %+v, %v", r, err)
	}
	if _, err := Distractors(t.Context(), matrix{{1, 0}}, []int32{0}, matrix{{1}}, o); err == nil || !strings.Contains(err.Error(), "dimensions") {
		t.Errorf("two dimensions: %v", err)
	}
	if o.Sizes = []int{0}; true {
		if _, err := Distractors(t.Context(), matrix{{1, 0}}, []int32{0}, matrix{{1, 1}}, o); err == nil {
			t.Error("no distractors were taken")
		}
	}
}

type failing struct {
	matrix
	at  int
	err error
}

func (f failing) Row(i int, dst []float32) (bool, error) {
	if i == f.at {
		return false, f.err
	}
	return f.matrix.Row(i, dst)
}

func TestErrorsAndStopping(t *testing.T) {
	rows, labels := draw(9, 5, 8)
	bad := errors.New("bad sector")
	v := failing{rows, 17, bad}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	everyone := Enrolment{Rows: []int32{17}, Subjects: []int32{0}}
	for name, run := range map[string]func(ctx context.Context, v nearest.Vectors) error{
		"verify": func(ctx context.Context, v nearest.Vectors) error {
			_, _, err := Verify(ctx, v, Comparisons{First: []int32{0}, Second: []int32{17}, Same: []bool{true}, Identities: labels})
			return err
		},
		"search": func(ctx context.Context, v nearest.Vectors) error {
			_, _, err := Identify(ctx, v, []Enrolment{everyone}, everyone, SearchOptions{Pick: OpenLE})
			return err
		},
		"all pairs": func(ctx context.Context, v nearest.Vectors) error {
			_, err := AllPairs(ctx, v, labels, PairOptions{Targets: []float64{0.1}})
			return err
		},
		"distractors": func(ctx context.Context, v nearest.Vectors) error {
			_, err := Distractors(ctx, v, labels, rows, DistractorOptions{PairOptions: PairOptions{Targets: []float64{0.1}}})
			return err
		},
	} {
		if err := run(t.Context(), v); !errors.Is(err, bad) {
			t.Errorf("%s: a row that cannot be read: %v", name, err)
		}
		if err := run(stopped, rows); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: stopped: %v", name, err)
		}
	}
}

func TestNamesOfTargets(t *testing.T) {
	for rate, want := range map[float64]string{1e-4: "1e-4", 0.3: "3e-1", 2e-11: "2e-11"} {
		if got := verification.RateName(rate); got != want {
			t.Errorf("%g is %q, want %q", rate, got, want)
		}
	}
}

// A bar of all pairs ends at all of them.
func TestProgressOfAllPairs(t *testing.T) {
	rows := matrix{{1, 0}, {1, 0.1}, {0, 1}, {0.1, 1}, {-1, 0}, {-1, 0.1}}
	var b bytes.Buffer
	if _, err := AllPairs(t.Context(), rows, []int32{0, 0, 1, 1, 2, 2}, PairOptions{Targets: []float64{0.5}, Progress: &b, block: 4}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "compare all pairs: 36/36 (100%)") {
		t.Errorf("progress %q", b.String())
	}
}
