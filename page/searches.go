package page

import (
	"fmt"
	"maps"
	"slices"

	"facepipe/eval/identification"
)

// identification are searches in galleries, and protocols with many comparisons.
func (e *evaluation) identification() Section {
	s := Section{ID: "identification", Title: "Identification"}
	names := e.labels()
	for i, m := range e.Report.Models {
		if m.Identification != nil {
			s.Blocks = append(s.Blocks, foundBlocks(names[i], m.Identification)...)
		}
	}
	return s
}

// headline is the figure of a protocol that models are compared by, and the same in words.
func headline(r *identification.Result) (value float64, words string) {
	if n := len(r.Verification); n > 0 {
		p := r.Verification[n-1]
		return p.TAR.Rate, "TAR " + percent(p.TAR.Rate, 2) + " at FAR " + short(p.Target)
	}
	if r.Mean != nil && len(r.Mean.Ranks) > 0 {
		rank := r.Mean.Ranks[0]
		return rank.Mean, fmt.Sprintf("rank %d %s", rank.Rank, percent(rank.Mean, 2))
	}
	for _, search := range r.Searches {
		for _, rank := range search.Ranks {
			return rank.Hits.Rate, fmt.Sprintf("rank %d %s", rank.Rank, percent(rank.Hits.Rate, 2))
		}
	}
	if n := len(r.RankOne); n > 0 {
		one := r.RankOne[n-1]
		return one.Hits.Rate, fmt.Sprintf("rank one %s among %s", percent(one.Hits.Rate, 2), many(one.Distractors, "distractor"))
	}
	return 0, "no figure"
}

func hitsCell(r identification.Rate) Cell {
	return Cell{Text: percent(r.Rate, 2), Note: count(r.Errors) + " missed of " + count(r.Of)}
}

// foundBlocks are the tables of a protocol's figures.
func foundBlocks(name string, r *identification.Result) (blocks []Block) {
	add := func(title string, t *Table) {
		if len(t.Rows) > 0 {
			blocks = append(blocks, Block{Title: name + ": " + title, Table: t.cut()})
		}
	}
	add("comparisons", comparedTemplates(r))
	add("searches", searches(r))
	t := &Table{Head: "Distractors", Columns: []Column{{Title: "rank one"}}}
	for _, one := range r.RankOne {
		t.Rows = append(t.Rows, Row{Head: count(one.Distractors), Cells: []Cell{hitsCell(one.Hits)}})
	}
	add("distractors", t)
	list := []Fact{{"Protocol", r.Protocol + " on " + r.Set}}
	for _, key := range slices.Sorted(maps.Keys(r.Switches)) {
		list = append(list, Fact{key, r.Switches[key]})
	}
	for _, key := range slices.Sorted(maps.Keys(r.Counts)) {
		list = append(list, Fact{key, count(r.Counts[key])})
	}
	for _, note := range r.Notes {
		list = append(list, Fact{"Note", note})
	}
	return append(blocks, Block{Facts: list})
}

func comparedTemplates(r *identification.Result) *Table {
	t := &Table{Head: "False accept rate", Columns: []Column{{Title: "true accept rate", Define: "tar"}, {Title: "false accepts", Define: "far"}, {Title: "threshold (cosine)", Define: "threshold"}}}
	for _, p := range r.Verification {
		accepts := Cell{Text: count(p.FalseAccepts), Note: "of " + count(p.NonMated), Faint: p.FalseAccepts < 30}
		t.Rows = append(t.Rows, Row{Head: oneIn(p.Target), Note: short(p.Target), Cells: []Cell{hitsCell(p.TAR), accepts, {Text: number(p.Cosine, 4)}}})
	}
	return t
}

// searches has a row a gallery, and one of their mean.
func searches(r *identification.Result) *Table {
	t := &Table{Head: "Gallery"}
	columns := map[string]int{}
	cell := func(row *Row, title string, c Cell) {
		at, met := columns[title]
		if !met {
			at = len(t.Columns)
			columns[title] = at
			t.Columns = append(t.Columns, Column{Title: title})
		}
		for len(row.Cells) <= at {
			row.Cells = append(row.Cells, Cell{})
		}
		row.Cells[at] = c
	}
	const rank, open = "rank %d", "TPIR@FPIR "
	for _, s := range r.Searches {
		row := Row{Head: s.Gallery, Note: fmt.Sprintf("%s templates,\n%s probes with a mate, %s without", count(s.Templates), count(s.Mated), count(s.NonMated))}
		for _, k := range s.Ranks {
			cell(&row, fmt.Sprintf(rank, k.Rank), hitsCell(k.Hits))
		}
		for _, p := range s.OpenSet {
			cell(&row, open+short(p.Target), hitsCell(p.TPIR))
		}
		t.Rows = append(t.Rows, row)
	}
	if r.Mean != nil {
		row := Row{Head: "mean of the galleries"}
		for _, k := range r.Mean.Ranks {
			cell(&row, fmt.Sprintf(rank, k.Rank), Cell{Text: percent(k.Mean, 2), Note: "together " + percent(k.Pooled.Rate, 2)})
		}
		for _, p := range r.Mean.OpenSet {
			cell(&row, open+short(p.Target), Cell{Text: percent(p.TPIR, 2)})
		}
		t.Rows = append(t.Rows, row)
	}
	fill(t, len(t.Columns))
	return t
}
