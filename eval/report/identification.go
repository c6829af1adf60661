package report

import (
	"encoding/json"
	"io"

	"facepipe/eval/verification"
	"facepipe/internal/plain"
)

// identification are the figures of protocols with many comparisons, by model; none without such.
func (r Report) identification() (facts []Fact) {
	for _, m := range r.Models {
		if m.Identification == nil {
			continue
		}
		f := Fact{About: Text{literal(m.on(m.Model))}, Is: Text{words("protocol %s on ", m.Identification.Protocol), literal(m.Identification.Set)}}
		for _, line := range m.Identification.Lines() {
			f.More = append(f.More, Fact{About: Text{literal(line.About)}, Is: Text{literal(line.Is)}})
		}
		facts = append(facts, f)
	}
	return facts
}

// OnlyIdentifies says that a protocol of the model has no figures but its own.
func (m Model) OnlyIdentifies() bool { return m.Pairs == 0 && m.Identification != nil }

// MarshalJSON leaves out the figures of pairs where there are none: a rate that was not measured
// is absent, not 0.
func (m Model) MarshalJSON() ([]byte, error) {
	type all Model
	if !m.OnlyIdentifies() {
		return json.Marshal(all(m))
	}
	return json.Marshal(struct {
		all
		*verification.Result     // hides the figures of all, and, being nil, writes nothing
		Pairs                int `json:"pairs"`
		Same                 int `json:"same"`
		Different            int `json:"different"`
	}{all: all(m)})
}

// printIdentification writes the same for a terminal.
func printIdentification(w io.Writer, r Report) {
	for _, m := range r.Models {
		if m.Identification == nil {
			continue
		}
		plain.Fprintf(w, "\n%s, protocol %s:\n", m.on(m.Model), m.Identification.Protocol)
		for _, line := range m.Identification.Lines() {
			plain.Fprintf(w, "  %s: %s\n", line.About, line.Is)
		}
	}
}
