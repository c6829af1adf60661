package cohort

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// MaxGroups is how many groups a column may have. More are no table for people, and hardly ever
// have comparisons enough.
const MaxGroups = 20

// DefaultQuantiles is into how many groups of one size numbers are cut where nothing is said.
const DefaultQuantiles = 4

// Spec says which column makes the groups, and how. Of Edges, Quantiles and Top at most one is
// set.
type Spec struct {
	// Column is the name of an attribute or of a measure. "attributes.NAME" and
	// "measured.NAME" tell them apart where both are there.
	Column string
	// Edges cut numbers: below the first, from each to below the next, from the last on.
	Edges []float64
	// Quantiles cuts numbers into so many groups of about one size.
	Quantiles int
	// Top makes groups of so many of the most frequent values, and one of all others.
	Top int
}

// Parse reads NAME, NAME=EDGE,EDGE..., NAME=quantiles:N or NAME=top:N.
func Parse(text string) (Spec, error) {
	name, how, cut := strings.Cut(text, "=")
	s := Spec{Column: strings.TrimSpace(name)}
	if s.Column == "" {
		return s, fmt.Errorf("cohort %q names no column", text)
	}
	if !cut {
		return s, nil
	}
	var err error
	if n, found := strings.CutPrefix(how, "quantiles:"); found {
		s.Quantiles, err = count(n)
	} else if n, found := strings.CutPrefix(how, "top:"); found {
		s.Top, err = count(n)
	} else {
		s.Edges, err = edges(how)
	}
	if err != nil {
		return s, fmt.Errorf("cohort %q: %w; write %s, %[3]s=18,30,50 for edges, %[3]s=quantiles:4 or %[3]s=top:5", text, err, s.Column)
	}
	return s, nil
}

func count(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 2 || n > MaxGroups {
		return 0, fmt.Errorf("%q is no number from 2 to %d", text, MaxGroups)
	}
	return n, nil
}

func edges(text string) ([]float64, error) {
	var list []float64
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("the edge %q is no number", part)
		}
		if len(list) > 0 && v <= list[len(list)-1] {
			return nil, fmt.Errorf("the edge %q is not above the one before", part)
		}
		list = append(list, v)
	}
	if len(list) >= MaxGroups {
		return nil, fmt.Errorf("%d edges make more than %d groups", len(list), MaxGroups)
	}
	return list, nil
}

// Groups are faces by group.
type Groups struct {
	// Column is what they are made of, as the dataset calls it.
	Column string
	// Names of the groups, in their order. Low and High are the edges of numbers, Low included
	// and High not; NaN at an open end and for groups that are no numbers.
	Names     []string
	Low, High []float64
	// Of is the group of each face, or -1 for one of which the column says nothing.
	Of []int32
	// Cut says how the groups were made.
	Cut string
	// Notes say what a reader should know.
	Notes []string
}

// Unknown is the number of faces without a group.
func (g *Groups) Unknown() (n int) {
	for _, of := range g.Of {
		if of < 0 {
			n++
		}
	}
	return n
}

// errNothing is a column that says nothing of any face.
var errNothing = errors.New("says nothing of the faces that are compared")

// cutNumbers makes groups of numbers, NaN where there is none.
func cutNumbers(column string, values []float64, s Spec) (*Groups, error) {
	known := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(known) == 0 {
		return nil, fmt.Errorf("cohort: the column %s %w", column, errNothing)
	}
	g := &Groups{Column: column, Cut: "given edges"}
	at := s.Edges
	if at == nil {
		n := s.Quantiles
		if n == 0 {
			n = DefaultQuantiles
		}
		at = quantiles(known, n)
		g.Cut = fmt.Sprintf("%d quantiles of the faces", n)
		if len(at) < n-1 {
			g.Notes = append(g.Notes, fmt.Sprintf("column %s: many faces have one value, so that %d quantiles make %d groups", column, n, len(at)+1))
		}
	}
	for i := 0; i <= len(at); i++ {
		low, high := math.NaN(), math.NaN()
		if i > 0 {
			low = at[i-1]
		}
		if i < len(at) {
			high = at[i]
		}
		g.Low, g.High, g.Names = append(g.Low, low), append(g.High, high), append(g.Names, rangeName(low, high))
	}
	for _, v := range values {
		of := int32(-1)
		if !math.IsNaN(v) {
			i, found := slices.BinarySearch(at, v)
			if found {
				i++
			}
			of = int32(i)
		}
		g.Of = append(g.Of, of)
	}
	return g, nil
}

// quantiles are the values that cut into n groups of about one size, each once and above the least.
func quantiles(values []float64, n int) (at []float64) {
	slices.Sort(values)
	for i := 1; i < n; i++ {
		v := values[i*len(values)/n]
		if v > values[0] && (len(at) == 0 || v > at[len(at)-1]) {
			at = append(at, v)
		}
	}
	return at
}

// rangeName is what people call numbers from low to below high.
func rangeName(low, high float64) string {
	switch {
	case math.IsNaN(low) && math.IsNaN(high):
		return "all"
	case math.IsNaN(low):
		return "below " + short(high)
	case math.IsNaN(high):
		return short(low) + " or more"
	}
	return short(low) + " to below " + short(high)
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// cutTexts makes a group of each value, "" where there is none.
func cutTexts(column string, values []string, s Spec) (*Groups, error) {
	counts := map[string]int{}
	for _, v := range values {
		if v != "" {
			counts[v]++
		}
	}
	if len(counts) == 0 {
		return nil, fmt.Errorf("cohort: the column %s %w", column, errNothing)
	}
	g := &Groups{Column: column, Cut: "values"}
	for v := range counts {
		g.Names = append(g.Names, v)
	}
	slices.SortFunc(g.Names, func(a, b string) int { return compareNumbers(a, b) })
	rest := int32(-1)
	if s.Top > 0 && s.Top < len(g.Names) {
		slices.SortStableFunc(g.Names, func(a, b string) int { return counts[b] - counts[a] })
		g.Cut = fmt.Sprintf("the %d most frequent of %d values", s.Top, len(g.Names))
		g.Names = append(g.Names[:s.Top:s.Top], "others")
		for counts[g.Names[s.Top]] > 0 {
			g.Names[s.Top] = "(" + g.Names[s.Top] + ")"
		}
		rest = int32(s.Top)
	}
	if rest < 0 && len(g.Names) > MaxGroups {
		return nil, fmt.Errorf("cohort: the column %s has %d values, of which a table takes %d: %s=top:%d takes the most frequent%s",
			column, len(g.Names), MaxGroups, column, DefaultQuantiles+1, numbersAmong(g.Names))
	}
	number := map[string]int32{}
	for i, name := range g.Names {
		number[name] = int32(i)
		g.Low, g.High = append(g.Low, math.NaN()), append(g.High, math.NaN())
	}
	for _, v := range values {
		of, met := number[v]
		switch {
		case v == "":
			of = -1
		case !met || of == rest:
			of = rest
		}
		g.Of = append(g.Of, of)
	}
	return g, nil
}

// numbersAmong says how many of the values are numbers, where some are.
func numbersAmong(values []string) string {
	other := ""
	n := 0
	for _, v := range values {
		if _, ok := number(v); ok {
			n++
		} else if other == "" {
			other = v
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d of them are numbers, but %q is none: edges (=18,30,50) take a column of numbers alone", n, other)
}

// number reads a value that is a finite number.
func number(text string) (float64, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// compareNumbers orders numbers by size, before words in the order of text.
func compareNumbers(a, b string) int {
	x, isX := number(a)
	y, isY := number(b)
	switch {
	case isX && isY && x != y:
		if x < y {
			return -1
		}
		return 1
	case isX != isY:
		if isX {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}
