package report

import (
	"fmt"
	"strings"

	"facepipe/eval/verification"
)

// Section is what a report says in words about a subject.
type Section struct {
	Title string
	Facts []Fact
}

// Fact is a line of a section: what it is about, what is so, and more about that.
type Fact struct {
	About, Is Text
	More      []Fact
}

// Text is a sequence of spans.
type Text []Span

// Span is a piece of text.
type Span struct {
	Text string
	// Literal marks what is quoted: a path, a digest, a message.
	Literal bool
	// Strong marks what must not be overlooked.
	Strong bool
}

// words is text with arguments, as those of fmt.Sprintf.
func words(format string, args ...any) Span { return Span{Text: fmt.Sprintf(format, args...)} }

func literal(text string) Span { return Span{Text: text, Literal: true} }

// Sections are the protocol and the models.
func (r Report) Sections() []Section {
	sections := []Section{{"Protocol", r.protocol()}}
	if len(r.Tests) > 1 {
		sections = append(sections, Section{"Tests", r.tests()})
	}
	sections = append(sections, Section{"Models", r.models()})
	sections = append(sections, r.furtherSections()...)
	if facts := r.identification(); len(facts) > 0 {
		sections = append(sections, Section{"Identification", facts})
	}
	return sections
}

// tests are what models were measured on, where that is several.
func (r Report) tests() (facts []Fact) {
	for _, t := range r.Tests {
		f := Fact{About: Text{literal(t.Name)}, Is: Text{literal(t.Pairs.Path), words(" (format %s), %d of %d pairs used", t.Pairs.Format, t.Pairs.Used, t.Pairs.Listed)}}
		if t.Folds > 0 {
			f.Is = append(f.Is, words("; %d folds, %s", t.Folds, t.FoldRule.About()))
		}
		if t.Pairs.Digest != "" {
			f.Is = append(f.Is, words("; SHA-256 "), literal(t.Pairs.Digest))
		}
		for _, n := range t.Pairs.Notes {
			f.More = append(f.More, Fact{About: Text{words("%s", n.About)}, Is: Text{literal(n.Text)}})
		}
		facts = append(facts, f)
	}
	return facts
}

func (r Report) protocol() []Fact {
	var facts []Fact
	add := func(about string, is ...Span) { facts = append(facts, Fact{About: Text{words("%s", about)}, Is: is}) }
	add("Pairs", literal(r.Pairs.Path), words(" (format %s), %d of %d used; %d images are missing; %d pairs compare a crop with itself",
		r.Pairs.Format, r.Pairs.Used, r.Pairs.Listed, len(r.Pairs.Missing), r.Pairs.IdenticalPairs))
	for _, n := range r.Pairs.Notes {
		add(n.About, words("%s", n.Text))
	}
	add("Embeddings", words("%s; scaled to length one; compared by d = |e1 - e2|² = 2 - 2·cosine", r.embedding()))
	if rule := r.rule(); r.Folds > 0 {
		add("Accuracy", words("rule %s: mean ± %s over %d folds, %s; the threshold of a fold is %s", rule.Name, rule.Spread, r.Folds, r.FoldRule.About(), rule.Chooses))
		if rule.VAL != "" {
			add("VAL@FAR", words("%s", rule.VAL))
		}
	}
	c := r.Dataset.Contract
	add("TAR@FAR (= 1 − FNMR@FMR)", words("over all pairs, %s", verification.Pick(r.FARPick).About()))
	add("Crops", words("%d pixels, template %s, warp %s, decoder %s, detector %s",
		c.CropSize, c.Template, c.Warp, c.Decoder, strings.Join(r.Detector, " and ")))
	if r.Runtime != "" {
		add("Run", words("ONNX Runtime %s on %s, crops decoded by %s", r.Runtime, r.Provider, r.Decoder))
	}
	add("Dataset", literal(r.Dataset.Path), words(", digest "), literal(r.Dataset.Digest))
	if r.Pairs.Digest != "" {
		add("Pair list", words("SHA-256 "), literal(r.Pairs.Digest))
	}
	return facts
}

// embedding says what stands for a crop.
func (r Report) embedding() string {
	if r.Flip {
		return "mirror images added"
	}
	return "without mirror images"
}

func (r Report) models() []Fact {
	var facts []Fact
	for _, m := range r.Models {
		facts = append(facts, Fact{Text{literal(m.on(m.Model))}, Text{words("%d-d; SHA-256 ", m.Dim), literal(m.Digest)}, m.facts()})
	}
	for _, f := range r.Failed {
		facts = append(facts, Fact{About: Text{literal(f.Model), words(" "), {Text: "failed", Strong: true}}, Is: Text{literal(f.Error)}})
	}
	return facts
}

// facts are what is to know about how a model was run.
func (m Model) facts() []Fact {
	var facts []Fact
	if m.Kind != KindEmbeddings { // nobody knows it of those
		facts = append(facts, Fact{About: Text{words("preprocessing")}, Is: Text{words("%s (%s)", m.Preprocess, m.PreprocessReason)}})
	}
	if m.SelfTest != nil {
		facts = append(facts, Fact{About: Text{words("self-test")}, Is: Text{words("%s", m.SelfTest)}})
	}
	facts = append(facts, m.figures()...)
	for _, note := range m.Notes {
		facts = append(facts, Fact{About: Text{{Text: "note", Strong: true}}, Is: Text{literal(note)}})
	}
	return facts
}

// figures are what stands behind a model's figures.
func (m Model) figures() []Fact {
	if m.Pairs == 0 {
		return nil
	}
	var facts []Fact
	add := func(about, is string) {
		facts = append(facts, Fact{About: Text{words("%s", about)}, Is: Text{words("%s", is)}})
	}
	if m.CrossValidation != nil {
		add("accuracy", fmt.Sprintf("%s in %d pairs; standard error of the mean over folds %.2f %%", count(m.AccuracyErrors, "error"), m.Pairs, 100*m.AccuracyStdError))
	}
	if len(m.OperatingPoints) > 0 {
		var points []string
		for _, p := range m.OperatingPoints {
			points = append(points, counts(p))
		}
		add("TAR@FAR", strings.Join(points, "; "))
	}
	for _, p := range m.VAL {
		add("VAL@FAR "+p.Name(), fmt.Sprintf("over %d folds; FAR %s; %d of %d accepted wrongly, %d of %d rejected wrongly%s",
			p.Folds, percent(p.FAR), p.FalseAccepts, p.Different, p.FalseRejects, p.Same, unreached(p.Unreached)))
	}
	crossing := "at " + percent(m.EERRange.Middle)
	if e := m.EERRange; e.Low < e.High {
		crossing = fmt.Sprintf("between %s and %s, middle %s", percent(e.Low), percent(e.High), percent(e.Middle))
	}
	add("EER", fmt.Sprintf("%s interpolated; FMR and FNMR cross %s", percent(m.EER), crossing))
	return facts
}

// unreached says in how many folds VAL's threshold is 0.
func unreached(folds int) string {
	if folds == 0 {
		return ""
	}
	return fmt.Sprintf("; the threshold is 0 in %s, as no threshold reaches the target on the others", count(folds, "fold"))
}
