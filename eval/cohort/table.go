package cohort

import (
	"fmt"
	"iter"
	"math"

	"facepipe/eval/protocol"
	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
)

// fewestIdentities of a group that is not small.
const fewestIdentities = 30

// Table is what a model does on groups.
type Table struct {
	// Model is left to the caller.
	Model string `json:"model,omitempty"`
	// Column makes the groups, as Cut says.
	Column string `json:"column"`
	Cut    string `json:"cut"`
	// Threshold is the distance that all groups are held against, ThresholdCosine the cosine
	// that it is of, TargetFMR the false match rate of all that it was chosen for, 0 if it was
	// not.
	Threshold       float64 `json:"threshold"`
	ThresholdCosine float64 `json:"threshold_cosine"`
	TargetFMR       float64 `json:"target_fmr,omitempty"`
	// Level is that of the intervals.
	Level float64 `json:"level"`
	// All are the rates of all comparisons, those of faces without a group included.
	All Cell `json:"all"`
	// Groups in their order, and Matrix the comparisons of the faces of one with those of
	// another, the same on both sides of its diagonal.
	Groups []Group  `json:"groups"`
	Matrix [][]Cell `json:"matrix"`
	// Unknown faces are in no group; Left comparisons have one of them.
	Unknown int `json:"unknown_faces"`
	Left    int `json:"left_comparisons"`
	// Summary compares the groups that are not small; nil of fewer than two.
	Summary *Summary `json:"summary,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// Cell are the rates of some comparisons; one without comparisons is not measurable, and absent.
type Cell struct {
	FMR  *uncertainty.Rate `json:"fmr,omitempty"`
	FNMR *uncertainty.Rate `json:"fnmr,omitempty"`
}

// Group is a group of faces and the comparisons of two of them.
type Group struct {
	Name string `json:"name"`
	// Low is the least number in the group, High the least above it, nil at open ends.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	// Faces and the people whose they are.
	Faces      int `json:"faces"`
	Identities int `json:"identities"`
	Cell
	// Small says that the group's rates are not to be read as figures, SmallBecause why.
	Small        bool   `json:"small,omitempty"`
	SmallBecause string `json:"small_because,omitempty"`
}

// Trials are the comparisons of a model.
type Trials struct {
	// Comparisons of templates, Distances of each in their order.
	Comparisons iter.Seq[protocol.Comparison]
	Distances   []float64
	// Identities number the templates' people.
	Identities []int32
}

// At is the threshold of a table.
type At struct {
	// Threshold is a distance; a comparison is accepted if its distance is less.
	Threshold float64
	// TargetFMR is the rate that it was chosen for, 0 if it was not.
	TargetFMR float64
	// Level of the intervals, above 0 and below 1; 0 for [uncertainty.DefaultLevel].
	Level float64
}

// Measure holds groups against a threshold. The faces of the groups are the templates of the
// trials.
func Measure(g *Groups, t Trials, at At) (Table, error) {
	if at.Level == 0 {
		at.Level = uncertainty.DefaultLevel
	}
	table := Table{
		Column: g.Column, Cut: g.Cut, Threshold: at.Threshold, ThresholdCosine: verification.Cosine(at.Threshold),
		TargetFMR: at.TargetFMR, Level: at.Level, Unknown: g.Unknown(), Notes: g.Notes,
	}
	if len(g.Of) != len(t.Identities) {
		return table, fmt.Errorf("cohort %s: %d faces have groups, %d are compared", g.Column, len(g.Of), len(t.Identities))
	}
	all, cells, err := deal(g, t)
	if err != nil {
		return table, err
	}
	rate := func(s *verification.Scores) (c Cell) {
		thresholds := []float64{at.Threshold}
		if r := uncertainty.FMR(s, thresholds, at.Level); r != nil {
			c.FMR = &r[0]
		}
		if r := uncertainty.FNMR(s, thresholds, at.Level); r != nil {
			c.FNMR = &r[0]
		}
		return c
	}
	table.All = rate(all)
	table.Left = all.Same() + all.Different()
	n := len(g.Names)
	table.Matrix = make([][]Cell, n)
	for i := range n {
		table.Matrix[i] = make([]Cell, n)
		for k := range i + 1 {
			s := cells[i*n+k]
			table.Left -= s.Same() + s.Different()
			c := rate(s)
			table.Matrix[i][k], table.Matrix[k][i] = c, c
		}
	}
	table.describe(g, t.Identities)
	table.Summary = summarise(table.Groups)
	return table, nil
}

// deal puts comparisons into those of all, and those of each two groups, the higher first.
func deal(g *Groups, t Trials) (all *verification.Scores, cells []*verification.Scores, err error) {
	n := len(g.Names)
	all, cells = verification.NewScores(0, 0, 0), make([]*verification.Scores, n*n)
	for i := range cells {
		cells[i] = verification.NewScores(0, 0, 0)
	}
	next := 0
	for c := range t.Comparisons {
		if next == len(t.Distances) {
			return nil, nil, fmt.Errorf("cohort %s: there are more comparisons than the %d distances", g.Column, next)
		}
		trial := verification.Trial{Distance: t.Distances[next], Same: c.Same, First: t.Identities[c.First], Second: t.Identities[c.Second]}
		next++
		all.Add(trial)
		if a, b := g.Of[c.First], g.Of[c.Second]; a >= 0 && b >= 0 {
			cells[int(max(a, b))*n+int(min(a, b))].Add(trial)
		}
	}
	if next < len(t.Distances) {
		return nil, nil, fmt.Errorf("cohort %s: there are %d comparisons and %d distances", g.Column, next, len(t.Distances))
	}
	return all, cells, nil
}

// describe fills in the groups.
func (t *Table) describe(g *Groups, identities []int32) {
	people := make([]map[int32]bool, len(g.Names))
	for i, name := range g.Names {
		people[i] = map[int32]bool{}
		t.Groups = append(t.Groups, Group{Name: name, Low: edge(g.Low[i]), High: edge(g.High[i]), Cell: t.Matrix[i][i]})
	}
	several := map[int32]int32{} // the first group of each person
	mixed := map[int32]bool{}
	for face, of := range g.Of {
		if of < 0 {
			continue
		}
		t.Groups[of].Faces++
		people[of][identities[face]] = true
		if first, met := several[identities[face]]; met && first != of {
			mixed[identities[face]] = true
		} else if !met {
			several[identities[face]] = of
		}
	}
	for i := range t.Groups {
		t.Groups[i].Identities = len(people[i])
		t.Groups[i].judge(t.floor())
	}
	if len(mixed) > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("column %s: %d of %d people have faces in several groups", t.Column, len(mixed), len(several)))
	}
	if t.Unknown > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("column %s says nothing of %d of %d faces; %d comparisons are in no group", t.Column, t.Unknown, len(g.Of), t.Left))
	}
}

// floor is how many comparisons of different people a group needs for the false match rate at
// hand.
func (t *Table) floor() float64 {
	switch {
	case t.TargetFMR > 0:
		return 1 / t.TargetFMR
	case t.All.FMR != nil && t.All.FMR.Errors > 0:
		return 1 / t.All.FMR.Value
	case t.All.FMR != nil:
		return float64(t.All.FMR.Of)
	}
	return 0
}

// judge says whether a group is too small for figures.
func (g *Group) judge(floor float64) {
	different := 0
	if g.FMR != nil {
		different = g.FMR.Of
	}
	switch {
	case g.Identities < fewestIdentities:
		g.SmallBecause = fmt.Sprintf("%d people, fewer than %d", g.Identities, fewestIdentities)
	case float64(different) < floor-1e-9*floor:
		g.SmallBecause = fmt.Sprintf("%d comparisons of different people: one false match is more than the rate of all; at least %.0f are needed", different, math.Ceil(floor))
	}
	g.Small = g.SmallBecause != ""
}

func edge(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}
