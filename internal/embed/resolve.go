package embed

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"facepipe/internal/onnx"
	"facepipe/internal/regular"
)

// PreprocessKey is the metadata entry in which an ONNX model of pipe carries its
// [Preprocess] as JSON.
const PreprocessKey = "pipe.preprocess"

// TrainingKey is the entry in which it carries what is known of its training, as JSON.
const TrainingKey = "pipe.training"

// Origin says how far a contract can be relied on.
type Origin int

// The origins there are, by rising authority.
const (
	// Assumed is the custom, where nothing tells.
	Assumed Origin = iota
	// Found in the graph is the scaling; that channels are RGB is assumed.
	Found
	// Stated is what the model's metadata says.
	Stated
	// Chosen is what the user says, or the record of a cache or a plan.
	Chosen
)

// String is the origin in a word.
func (o Origin) String() string {
	return [...]string{Assumed: "assumed", Found: "found", Stated: "stated", Chosen: "chosen"}[o]
}

// Resolved is a contract with its origin. Reason says the same in words.
type Resolved struct {
	Preprocess
	Origin Origin
	Reason string

	open freedom
}

// ResolvePreprocess finds the contract of a model. spec is one of
//
//   - auto or "": what the model's metadata says under [PreprocessKey]; else what fits
//     the arithmetic that the graph begins with; else arcface
//   - arcface, raw: see [ArcFace] and [Raw]
//   - the path of a JSON file with a [Preprocess]
//
// The model's input decides the size and the layout where these say nothing of them.
//
// Errors wrap [ErrPreprocess].
func ResolvePreprocess(spec string, m *onnx.Model) (r Resolved, err error) {
	r.Origin, r.open = Chosen, shape
	switch spec {
	case "", "auto":
		r, err = automatic(m)
	case "arcface":
		r.Preprocess, r.Reason = ArcFace(), "chosen: arcface"
	case "raw":
		r.Preprocess, r.Reason = Raw(), "chosen: raw"
	default:
		r.Preprocess, r.open, err = readPreprocess(spec)
		r.Reason = "chosen: file"
	}
	if err == nil {
		err = r.Validate()
	}
	return r, err
}

func automatic(m *onnx.Model) (Resolved, error) {
	if text := m.Property(PreprocessKey); text != "" {
		p, open, err := parsePreprocess([]byte(text))
		if err != nil {
			err = fmt.Errorf("metadata %s: %w", PreprocessKey, err)
		}
		return Resolved{p, Stated, "auto: stated in the model's metadata", open}, err
	}
	b := beginningOf(&m.Graph)
	p, clear := b.input()
	switch {
	case clear && b.changes():
		return Resolved{p, Found, fmt.Sprintf("auto: the graph begins with %v, so it normalises inside and takes %s", &b, p.values()), all}, nil
	case clear:
		return Resolved{p, Found, fmt.Sprintf("auto: the graph quantizes its input from %.3g to %.3g, so it takes %s", b.least, b.greatest, p.values()), all}, nil
	case b.arithmetic && (b.unknown || b.changes()):
		return Resolved{Raw(), Assumed, "auto: the graph begins with arithmetic that fits no usual input; raw is assumed", all}, nil
	}
	return Resolved{ArcFace(), Assumed, "auto: the graph does not normalise its input, so it gets arcface's", all}, nil
}

// values says in which range a contract puts pixels.
func (p Preprocess) values() string {
	return fmt.Sprintf("%.4g to %.4g", (0-p.Mean[0])/p.Std[0], (255-p.Mean[0])/p.Std[0])
}

// imageInput is the name of the graph's first input that is no weight: old exporters list
// weights among the inputs.
func imageInput(g *onnx.Graph) string {
	for _, in := range g.Inputs {
		if !slices.ContainsFunc(g.Initializers, func(t onnx.Tensor) bool { return t.Name == in.Name }) {
			return in.Name
		}
	}
	return ""
}

// MaxPreprocess is the longest preprocessing file, in bytes.
const MaxPreprocess = 1 << 20

func readPreprocess(path string) (Preprocess, freedom, error) {
	text, err := regular.Read(path, MaxPreprocess)
	if err != nil {
		return Preprocess{}, freedom{}, fmt.Errorf("%w %q is none of auto, arcface, raw, nor a file: %w", ErrPreprocess, path, err)
	}
	p, open, err := parsePreprocess(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return p, open, err
}

// parsePreprocess decodes JSON. What the text leaves out is as in [Raw], except std: a
// forgotten scaling must not pass unnoticed. Of that the size and the layout are open.
func parsePreprocess(text []byte) (p Preprocess, open freedom, err error) {
	p = Raw()
	p.Std = [3]float32{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	read := struct {
		*Preprocess
		Mean   *channels `json:"mean"`
		Std    *channels `json:"std"`
		Height *int      `json:"height"`
		Width  *int      `json:"width"`
		Layout *string   `json:"layout"`
	}{Preprocess: &p, Mean: (*channels)(&p.Mean), Std: (*channels)(&p.Std)}
	if err := d.Decode(&read); err != nil {
		return p, open, fmt.Errorf("%w: %w", ErrPreprocess, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return p, open, fmt.Errorf("%w: more than one JSON value", ErrPreprocess)
	}
	p.Height, p.Width, p.Layout = *cmp.Or(read.Height, &p.Height), *cmp.Or(read.Width, &p.Width), *cmp.Or(read.Layout, &p.Layout)
	return p, freedom{height: read.Height == nil, width: read.Width == nil, layout: read.Layout == nil}, nil
}
