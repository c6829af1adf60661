package embed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"facepipe/internal/onnx"
)

// PreprocessKey is the metadata entry in which an ONNX model of pipe carries its
// [Preprocess] as JSON.
const PreprocessKey = "pipe.preprocess"

// ResolvePreprocess finds the contract of a model. spec is one of
//
//   - auto or "": what the model's metadata says under [PreprocessKey]; else a model
//     that normalises its input by itself gets raw, any other arcface
//   - arcface, raw: see [ArcFace] and [Raw]
//   - the path of a JSON file with a [Preprocess]
//
// reason says in words which rule applied. Errors wrap [ErrPreprocess].
func ResolvePreprocess(spec string, m *onnx.Model) (p Preprocess, reason string, err error) {
	switch spec {
	case "", "auto":
		p, reason, err = automatic(m)
	case "arcface":
		p, reason = ArcFace(), "chosen: arcface"
	case "raw":
		p, reason = Raw(), "chosen: raw"
	default:
		p, err = readPreprocess(spec)
		reason = "chosen: file"
	}
	if err == nil {
		err = p.Validate()
	}
	return p, reason, err
}

func automatic(m *onnx.Model) (Preprocess, string, error) {
	if text := m.Property(PreprocessKey); text != "" {
		p, err := parsePreprocess([]byte(text))
		if err != nil {
			err = fmt.Errorf("metadata %s: %w", PreprocessKey, err)
		}
		return p, "auto: stated in the model's metadata", err
	}
	if beginsByName(&m.Graph) || beginsByValue(&m.Graph) {
		return Raw(), "auto: the graph begins with a shift and a scaling, so it normalises inside", nil
	}
	return ArcFace(), "auto: the graph does not normalise its input, so it gets arcface's", nil
}

// beginsByName is the rule of insightface's model loader. It knows exports of its MXNet models
// by the names of the first eight nodes: a subtraction and a multiplication (or division) are
// among them.
func beginsByName(g *onnx.Graph) bool {
	shift, scale := false, false
	for _, n := range g.Nodes[:min(8, len(g.Nodes))] {
		shift = shift || hasPrefix(n.Name, "Sub", "_minus")
		scale = scale || hasPrefix(n.Name, "Mul", "_mul", "Div", "_div")
	}
	return shift && scale
}

// beginsByValue follows the image from the graph's input through arithmetic to the first
// layer. It needs no names, which every exporter gives in another way. To look for the
// operators alone would take an activation that is built of them for a normalisation.
func beginsByValue(g *onnx.Graph) bool {
	shift, scale := false, false
	value := imageInput(g)
	for _, n := range g.Nodes { // the standard demands that they are in order
		if len(n.Outputs) == 0 || !slices.Contains(n.Inputs, value) {
			continue
		}
		switch n.OpType {
		case "Sub", "Add":
			shift = true
		case "Mul", "Div":
			scale = true
		case "Cast", "Identity", "Transpose":
		default:
			return shift && scale
		}
		value = n.Outputs[0]
	}
	return shift && scale
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

func hasPrefix(name string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

func readPreprocess(path string) (Preprocess, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Preprocess{}, fmt.Errorf("%w %q is none of auto, arcface, raw, nor a file: %w", ErrPreprocess, path, err)
	}
	p, err := parsePreprocess(text)
	if err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// parsePreprocess decodes JSON. What the text leaves out is as in [Raw], except std: a
// forgotten scaling must not pass unnoticed.
func parsePreprocess(text []byte) (Preprocess, error) {
	p := Raw()
	p.Std = [3]float32{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	read := struct {
		*Preprocess
		Mean *channels `json:"mean"`
		Std  *channels `json:"std"`
	}{&p, (*channels)(&p.Mean), (*channels)(&p.Std)}
	if err := d.Decode(&read); err != nil {
		return p, fmt.Errorf("%w: %w", ErrPreprocess, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return p, fmt.Errorf("%w: more than one JSON value", ErrPreprocess)
	}
	return p, nil
}
