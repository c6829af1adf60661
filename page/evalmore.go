package page

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"facepipe/eval/cost"
	"facepipe/eval/overlap"
	"facepipe/eval/report"
	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
)

// maxWorst are the pairs of each kind that are shown for a model.
const maxWorst = 12

func (e *evaluation) falseAccepts(m *maker) Section {
	return e.worst(m, Section{ID: "false-accepts", Title: "Worst false accepts", Lead: "Different people by the list, most alike to the model. In public lists many are mistakes of the list."},
		func(w *report.Worst) []report.WorstPair { return w.FalseAccepts }, false)
}

func (e *evaluation) falseRejects(m *maker) Section {
	return e.worst(m, Section{ID: "false-rejects", Title: "Worst false rejects", Lead: "One person by the list, least alike to the model."},
		func(w *report.Worst) []report.WorstPair { return w.FalseRejects }, true)
}

// worst shows pairs of faces with all models' opinions; same is whether they show one person.
func (e *evaluation) worst(m *maker, s Section, of func(*report.Worst) []report.WorstPair, same bool) Section {
	names := e.labels()
	for i, model := range e.Report.Models {
		if model.Worst == nil {
			continue
		}
		list := of(model.Worst)
		var pairs []Pair
		for _, w := range list[:min(len(list), maxWorst)] {
			p := Pair{First: Face{Key: w.First, Source: e.pictureOf(m, w.FirstFace)}, Second: Face{Key: w.Second, Source: e.pictureOf(m, w.SecondFace)}}
			for k, cosine := range w.Cosines[:min(len(w.Cosines), len(names))] {
				p.Opinions = append(p.Opinions, e.opinion(k, names[k], cosine, same))
			}
			pairs = append(pairs, p)
		}
		if len(pairs) > 0 {
			title := names[i]
			if model.Worst.Chosen != "" {
				title += fmt.Sprintf(", at a cosine of %s (%s)", number(model.Worst.ThresholdCosine, 4), model.Worst.Chosen)
			}
			s.Blocks = append(s.Blocks, Block{Title: title, Pairs: pairs})
		}
	}
	return s
}

// opinion is what model k says of a pair, at its own threshold.
func (e *evaluation) opinion(k int, name string, cosine float64, same bool) Opinion {
	o := Opinion{Model: name, Cosine: number(cosine, 3)}
	threshold := 0.0
	switch m := e.Report.Models[k]; {
	case m.Worst != nil:
		threshold = m.Worst.ThresholdCosine
	case m.CrossValidation != nil:
		threshold = m.ThresholdCosine
	default:
		return o
	}
	accepts := cosine > threshold
	o.Says, o.Wrong = "different", accepts != same
	if accepts {
		o.Says = "same"
	}
	return o
}

// agreement is how far models agree on faces and on which pairs are alike.
func (e *evaluation) agreement() Section {
	s := Section{ID: "agreement", Title: "Agreement", Lead: "Rank correlation of two models' cosines over the same pairs: 1 if they order pairs alike."}
	t := &Table{Head: "Models", Columns: []Column{
		{Title: "all pairs"}, {Title: "of one person"}, {Title: "of two"}, {Title: "pairs"}, {Title: "cosine of a face's embeddings", Define: "cosine"},
	}}
	names := e.labels()
	var notes []Fact
	var pairs []Block
	const most = 12
	for _, a := range e.Report.Agreement[:min(len(e.Report.Agreement), most)] {
		who := e.labelOf(a.A, names) + " and " + e.labelOf(a.B, names)
		row := cells(known(a.Spearman), known(a.SpearmanSame), known(a.SpearmanDifferent), count(a.Pairs), "–")
		if c := a.Cosine; c != nil {
			row[4] = Cell{Text: number(c.Mean, 4), Note: "one in a hundred below " + number(c.Percentile1, 4) + "\nleast " + number(c.Min, 4)}
		}
		t.Rows = append(t.Rows, Row{Head: who, Cells: row})
		for _, note := range a.Notes {
			notes = append(notes, Fact{who, note})
		}
		differ := &Table{Head: "Pair", Columns: []Column{{Title: "shows", Words: true}, {Title: e.labelOf(a.A, names)}, {Title: e.labelOf(a.B, names)}, {Title: "more than expected"}}}
		for _, d := range a.Differ {
			shows := "two people"
			if d.Same {
				shows = "one person"
			}
			differ.Rows = append(differ.Rows, Row{Head: d.First, Note: d.Second, Cells: cells(shows, number(d.CosineA, 3), number(d.CosineB, 3), signed(d.Difference, 3))})
		}
		if len(differ.Rows) > 0 {
			pairs = append(pairs, Block{Title: "Where " + who + " differ most", Table: differ.cut()})
		}
	}
	if len(t.Rows) == 0 {
		return s
	}
	s.Blocks = append([]Block{{Table: t}}, pairs...)
	if len(notes) > 0 {
		s.Blocks = append(s.Blocks, Block{Facts: notes})
	}
	return s
}

// costs are what the models cost, side by side.
func (e *evaluation) costs() Section {
	s := Section{ID: "cost", Title: "Cost", Lead: "Measured on the machine that ran the eval: the network alone, without decoding."}
	t := &Table{Head: "Model"}
	var all []*cost.Cost
	var notes []Fact
	for i, name := range e.labels() {
		c := e.Report.Models[i].Cost
		all = append(all, c)
		row := Row{Head: name}
		if c != nil {
			row.Note = fmt.Sprintf("%s, %s threads", c.Provider, count(c.Threads))
			for _, note := range c.Notes {
				notes = append(notes, Fact{name, note})
			}
		}
		t.Rows = append(t.Rows, row)
	}
	for _, c := range costColumns(all) {
		c.addTo(t)
	}
	if len(t.Columns) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
		if len(notes) > 0 {
			s.Blocks = append(s.Blocks, Block{Facts: notes})
		}
	}
	return s
}

func costColumns(all []*cost.Cost) []modelColumn {
	column := func(title, define string, better int, of func(c *cost.Cost) (float64, string)) modelColumn {
		return modelColumn{Column{Title: title, Define: define}, better, func(i int) (float64, Cell, bool) {
			if all[i] == nil {
				return 0, Cell{}, false
			}
			v, text := of(all[i])
			return v, Cell{Text: text}, text != ""
		}}
	}
	list := []modelColumn{
		column("parameters", "", -1, func(c *cost.Cost) (float64, string) { return float64(c.Parameters), inMillions(c.Parameters) }),
		column("MACs", "macs", -1, func(c *cost.Cost) (float64, string) {
			if c.Multiplications == nil {
				return 0, ""
			}
			n := c.Multiplications.MACs + c.Multiplications.Attention
			return float64(n), inMillions(n)
		}),
		column("file", "", -1, func(c *cost.Cost) (float64, string) { return float64(c.Bytes), size(c.Bytes) }),
		column("precision", "", 0, func(c *cost.Cost) (float64, string) { return 0, c.Precision }),
	}
	sizes := map[int]bool{}
	for _, c := range all {
		if c == nil {
			continue
		}
		for _, b := range c.Batches {
			sizes[b.Size] = true
		}
	}
	const most = 8
	ordered := slices.Sorted(maps.Keys(sizes))
	for _, n := range ordered[:min(len(ordered), most)] {
		list = append(list, modelColumn{Column{Title: fmt.Sprintf("ms, batch %d", n)}, -1, func(i int) (float64, Cell, bool) { return batch(all[i], n) }})
	}
	return append(list, modelColumn{Column{Title: "peak memory"}, -1, func(i int) (float64, Cell, bool) { return memory(all[i]) }})
}

// memory is the largest that was measured.
func memory(c *cost.Cost) (float64, Cell, bool) {
	if c == nil || c.Memory == nil || len(c.Memory.Peaks) == 0 {
		return 0, Cell{}, false
	}
	most := c.Memory.Peaks[0]
	for _, p := range c.Memory.Peaks {
		if p.Bytes > most.Bytes {
			most = p
		}
	}
	return float64(most.Bytes), Cell{Text: size(most.Bytes), Note: fmt.Sprintf("batch %d", most.Size)}, true
}

// batch is the time of a run of n crops.
func batch(c *cost.Cost, n int) (float64, Cell, bool) {
	if c == nil {
		return 0, Cell{}, false
	}
	for _, b := range c.Batches {
		if b.Size == n {
			cell := Cell{Text: brief(b.Median), Note: number(b.Throughput, 0) + " crops/s"}
			if b.P95 > 0 {
				cell.Note = "p95 " + brief(b.P95) + "; " + cell.Note
			}
			return b.Median, cell, true
		}
	}
	return 0, Cell{}, false
}

// inMillions is a large number as people tell it.
func inMillions(n int64) string {
	switch {
	case n >= 1e9:
		return number(float64(n)/1e9, 2) + " G"
	case n >= 1e6:
		return number(float64(n)/1e6, 2) + " M"
	}
	return count(n)
}

// maxHits of an overlap are listed.
const maxHits = 50

// overlaps are people and photographs of the test that a training set holds.
func (e *evaluation) overlaps(m *maker) Section {
	s := Section{ID: "overlap", Title: "Overlap with the training set"}
	o := e.Report.Overlap
	if o == nil {
		return s
	}
	s.Lead = fmt.Sprintf("Of the test's %s, %s in %s or show a person who is there (%s).",
		many(o.TestSide.Crops, "crop"), are(o.DirtyCrops, "crop"), o.Train, many(o.DirtyIdentities, "identity"))
	list := []Fact{{"Compared by", o.Teacher}}
	for _, way := range []struct {
		name string
		of   *overlap.Search
	}{{"Class centres", o.Centres}, {"Images", o.Images}} {
		if way.of == nil {
			continue
		}
		text := fmt.Sprintf("%s from a cosine of %s", many(way.of.Hits, "hit"), number(way.of.Threshold, 3))
		if way.of.ExpectedFalseHits != nil {
			text += fmt.Sprintf(", where chance gives %s", brief(*way.of.ExpectedFalseHits))
		}
		list = append(list, Fact{way.name, text})
	}
	for _, note := range o.Notes {
		list = append(list, Fact{"Note", note})
	}
	t := &Table{Head: "In the test", Columns: []Column{{Title: "cosine", Define: "cosine"}, {Title: "in the training set", Words: true}, {Title: "found by", Words: true}}, More: o.Unlisted}
	for _, h := range o.Hits {
		t.Rows = append(t.Rows, Row{Head: h.TestKey, Note: h.TestIdentity, Cells: []Cell{{Text: number(h.Cosine, 3)}, {Text: h.TrainKey, Note: h.TrainIdentity}, {Text: h.By}}})
	}
	if n := len(t.Rows); n > maxHits {
		t.More += n - maxHits
		t.Rows = t.Rows[:maxHits]
	}
	s.Blocks = []Block{{Facts: list}}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, Block{Table: t})
	}
	if pairs := e.hitFaces(m, o.Hits); len(pairs) > 0 {
		s.Blocks = append(s.Blocks, Block{Title: "The most alike: of the test, of the training set", Pairs: pairs})
	}
	return s
}

// hitFaces are the faces of the first hits.
func (e *evaluation) hitFaces(m *maker, hits []overlap.Hit) (pairs []Pair) {
	for i, f := range e.OverlapFaces[:min(len(e.OverlapFaces), len(hits), maxWorst)] {
		h := hits[i]
		pairs = append(pairs, Pair{
			First: Face{Key: h.TestKey, Note: h.TestIdentity, Source: e.pictureOf(m, f.Test)}, Second: Face{Key: h.TrainKey, Note: h.TrainIdentity, Source: e.pictureOf(m, f.Train)},
			Opinions: []Opinion{{Model: "cosine", Cosine: number(h.Cosine, 3)}},
		})
	}
	return pairs
}

// clean are the figures without what the training set holds, beside those of all pairs.
func (e *evaluation) clean() Section {
	s := Section{ID: "clean", Title: "Clean pairs", Lead: "The same figures without the pairs that the training set holds something of."}
	t := &Table{Head: "Model", Columns: []Column{
		{Title: "accuracy %, all", Define: "accuracy"}, {Title: "accuracy %, clean", Define: "accuracy"}, {Title: "AUC, all", Define: "auc"}, {Title: "AUC, clean", Define: "auc"}, {Title: "clean pairs"},
	}}
	names := e.labels()
	for i, m := range e.Report.Models {
		if m.Clean == nil {
			continue
		}
		row := []Cell{accuracyOf(m.Result, m.Uncertainty), accuracyOf(m.Clean.Result, m.Clean.Uncertainty)}
		row = append(row, cells(number(m.AUC, 5), number(m.Clean.AUC, 5))...)
		t.Rows = append(t.Rows, Row{Head: names[i], Cells: append(row, Cell{Text: count(m.Clean.Pairs), Note: "of " + count(m.Pairs)})})
	}
	if len(t.Rows) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
	}
	return s
}

// accuracyOf is an accuracy with its interval, a dash without folds.
func accuracyOf(r verification.Result, u *uncertainty.Summary) Cell {
	if r.CrossValidation == nil {
		return Cell{Text: "–", Faint: true}
	}
	c := Cell{Text: number(100*r.Accuracy, 2) + " ± " + number(100*r.PlusMinus(), 2)}
	if u != nil && u.Accuracy.Interval != nil {
		c.Note = between(u.Accuracy.Interval, 100, 2)
	}
	return c
}

// variants are models that are one in several precisions.
func (e *evaluation) variants() Section {
	s := Section{ID: "variants", Title: "Precisions of one model"}
	names := e.labels()
	for _, v := range e.Variants {
		t := &Table{Head: "Model", Columns: []Column{{Title: "precision", Words: true}, {Title: "file, of the first's"}, {Title: "latency, of the first's"}, {Title: "cosine of embeddings", Define: "cosine"}}}
		for _, o := range v.Others {
			row := cells(o.Precision, percent(o.Bytes, 0), "–", "–")
			if o.Latency != nil {
				row[2] = Cell{Text: percent(*o.Latency, 0), Note: fmt.Sprintf("batch %d", o.Batch)}
			}
			if o.Cosine != nil {
				row[3] = Cell{Text: number(o.Cosine.Mean, 5), Note: "least " + number(o.Cosine.Min, 5)}
			}
			t.Rows = append(t.Rows, Row{Head: e.labelOf(o.Model, names), Cells: row})
		}
		if len(t.Rows) > 0 {
			s.Blocks = append(s.Blocks, Block{Title: "Compared with " + e.labelOf(v.Baseline, names), Table: t.cut()})
		}
	}
	return s
}

// wordedKeys are the parts of a report that sections word.
var wordedKeys = []string{
	"flip", "norm", "distance", "fold_rule", "folds", "far_pick", "detector", "decoder", "onnxruntime", "provider",
	"dataset", "pairs", "models", "failed", "warnings", "command", "comparisons", "overlap", "overlap_faces", "cohorts", "agreement", "tests", "variants",
}

// further are the parts of a report that no section words: those of a newer pipe, for instance.
func (e *evaluation) further() Section {
	s := Section{ID: "further", Title: "Further figures", Folded: true}
	var all map[string]any
	if json.Unmarshal(e.raw, &all) != nil {
		return s
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if slices.Contains(wordedKeys, key) {
			continue
		}
		list := flattened("", all[key], nil)
		if len(list) > 0 {
			s.Blocks = append(s.Blocks, Block{Title: key, Facts: list})
		}
	}
	const most = 12
	s.Blocks = s.Blocks[:min(len(s.Blocks), most)]
	return s
}
