package identification

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"facepipe/eval/verification"
)

// Line is a figure for people: what it is about, and what it is.
type Line struct{ About, Is string }

// Lines are the figures, the switches and the notes, in that order.
func (r Result) Lines() (lines []Line) {
	add := func(about, format string, args ...any) {
		lines = append(lines, Line{about, fmt.Sprintf(format, args...)})
	}
	for _, p := range r.Verification {
		add("TAR@FAR "+verification.RateName(p.Target), "%s; %d of %d false accepts, cosine %.4f", p.TAR.text(), p.FalseAccepts, p.NonMated, p.Cosine)
	}
	if r.Mean != nil {
		for _, m := range r.Mean.Ranks {
			add(fmt.Sprintf("rank %d", m.Rank), "%.4f, mean of the galleries; together %s", m.Mean, m.Pooled.text())
		}
		for _, m := range r.Mean.OpenSet {
			add("TPIR@FPIR "+verification.RateName(m.Target), "%.4f, mean of the galleries", m.TPIR)
		}
	}
	for _, s := range r.Searches {
		add("gallery "+s.Gallery, "%s", s.text())
	}
	for _, one := range r.RankOne {
		add(fmt.Sprintf("rank 1 among %d", one.Distractors), "%s", one.Hits.text())
	}
	add("switches", "%s", pairsText(r.Switches))
	add("counts", "%s", pairsText(r.Counts))
	for _, note := range r.Notes {
		add("note", "%s", note)
	}
	return lines
}

func (r Rate) text() string { return fmt.Sprintf("%.4f (%d of %d missed)", r.Rate, r.Errors, r.Of) }

func (s Search) text() string {
	texts := []string{fmt.Sprintf("%d templates; %d probes with a mate, %d without", s.Templates, s.Mated, s.NonMated)}
	for _, k := range s.Ranks {
		texts = append(texts, fmt.Sprintf("rank %d %s", k.Rank, k.Hits.text()))
	}
	for _, p := range s.OpenSet {
		texts = append(texts, fmt.Sprintf("TPIR@FPIR %s %s, cosine %.4f", verification.RateName(p.Target), p.TPIR.text(), p.Cosine))
	}
	return strings.Join(texts, "; ")
}

// pairsText is "name value" by the names' order.
func pairsText[T any](values map[string]T) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		texts = append(texts, fmt.Sprintf("%s %v", name, values[name]))
	}
	return strings.Join(texts, ", ")
}
