// Package embed turns aligned face crops into embeddings with an ONNX model: the
// preprocessing contract that the model was trained under, batches, and a pipeline
// from crops to rows. Teachers and finished students are both run by it.
package embed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"facepipe/internal/onnx"
)

// PreprocessKey is the metadata entry in which an ONNX model of pipe carries its
// [Preprocess] as JSON.
const PreprocessKey = "pipe.preprocess"

// ErrPreprocess marks a preprocessing that is unknown or impossible.
var ErrPreprocess = errors.New("preprocessing")

// Preprocess is what is done to an 8-bit crop before a model sees it: the value x of
// each channel, 0 to 255, becomes (x - mean) / std.
type Preprocess struct {
	// ChannelOrder is RGB or BGR; Mean and Std are in that order.
	ChannelOrder string     `json:"channel_order"`
	Mean         [3]float32 `json:"mean"`
	Std          [3]float32 `json:"std"`
	Height       int        `json:"height"`
	Width        int        `json:"width"`
	// Layout is NCHW (planes) or NHWC (interleaved).
	Layout string `json:"layout"`
}

// ArcFace is the contract of insightface's PyTorch models: RGB in [-1, 1].
func ArcFace() Preprocess {
	return Preprocess{ChannelOrder: "RGB", Mean: [3]float32{127.5, 127.5, 127.5}, Std: [3]float32{127.5, 127.5, 127.5},
		Height: 112, Width: 112, Layout: "NCHW"}
}

// Raw is RGB from 0 to 255, for models that normalise inside.
func Raw() Preprocess {
	p := ArcFace()
	p.Mean, p.Std = [3]float32{}, [3]float32{1, 1, 1}
	return p
}

func (p Preprocess) String() string {
	return fmt.Sprintf("%s %s %dx%d, (x - %v) / %v", p.ChannelOrder, p.Layout, p.Width, p.Height, p.Mean, p.Std)
}

// Validate reports a contract that cannot be carried out.
func (p Preprocess) Validate() error {
	switch {
	case p.ChannelOrder != "RGB" && p.ChannelOrder != "BGR":
		return fmt.Errorf("%w: channel_order %q is none of RGB, BGR", ErrPreprocess, p.ChannelOrder)
	case p.Layout != "NCHW" && p.Layout != "NHWC":
		return fmt.Errorf("%w: layout %q is none of NCHW, NHWC", ErrPreprocess, p.Layout)
	case p.Height < 1 || p.Width < 1 || p.Height > 4096 || p.Width > 4096:
		return fmt.Errorf("%w: size %dx%d", ErrPreprocess, p.Width, p.Height)
	}
	for _, s := range p.Std {
		if !(s > 0) {
			return fmt.Errorf("%w: std %v must be positive", ErrPreprocess, p.Std)
		}
	}
	return nil
}

// ResolvePreprocess finds the contract of a model. spec is auto, arcface, raw or the
// path of a JSON file with a [Preprocess]. auto takes what the model's metadata
// says, else decides as insightface's loader does: a graph that begins with a
// subtraction and a multiplication (or division) normalises inside and gets raw
// pixels, any other gets arcface. reason says which rule spoke.
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
		return p, "auto: stated in the model's metadata", err
	}
	sub, mul := false, false
	for _, n := range m.Graph.Nodes[:min(8, len(m.Graph.Nodes))] {
		// Exporters that name nodes by their scope ("/Sub") keep the operator's type.
		sub = sub || n.OpType == "Sub" || hasPrefix(n.Name, "Sub", "_minus")
		mul = mul || n.OpType == "Mul" || n.OpType == "Div" || hasPrefix(n.Name, "Mul", "_mul", "Div", "_div")
	}
	if sub && mul {
		return Raw(), "auto: the graph begins with a subtraction and a scaling, so it normalises inside", nil
	}
	return ArcFace(), "auto: the graph does not normalise its input, so it gets arcface's", nil
}

func hasPrefix(name string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
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

func parsePreprocess(text []byte) (Preprocess, error) {
	p := Preprocess{ChannelOrder: "RGB", Layout: "NCHW", Height: 112, Width: 112}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("%w: %w", ErrPreprocess, err)
	}
	return p, nil
}

// filler writes crops into a model's input tensor: every source byte has its place
// and goes through a table of 256 results for its channel.
type filler struct {
	size   int // of one crop in values
	area   int // pixels
	planar bool
	table  [3][256]float32 // by RGB channel of the source
	place  [3]int          // position of a source channel in the target
	width  int
}

func newFiller(p Preprocess) *filler {
	f := &filler{area: p.Width * p.Height, size: 3 * p.Width * p.Height, planar: p.Layout == "NCHW", width: p.Width}
	for c := range 3 {
		f.place[c] = c
		if p.ChannelOrder == "BGR" {
			f.place[c] = 2 - c
		}
		for v := range 256 {
			f.table[c][v] = (float32(v) - p.Mean[f.place[c]]) / p.Std[f.place[c]]
		}
	}
	return f
}

// fill normalises one RGB crop into dst, mirrored if flip.
func (f *filler) fill(dst []float32, rgb []byte, flip bool) {
	stride, plane := 3, 1
	if f.planar {
		stride, plane = 1, f.area
	}
	r, g, b := dst[f.place[0]*plane:], dst[f.place[1]*plane:], dst[f.place[2]*plane:]
	for row := 0; row < f.area; row += f.width {
		for x := range f.width {
			at := row + x
			if flip {
				at = row + f.width - 1 - x
			}
			pixel := rgb[3*at : 3*at+3 : 3*at+3]
			to := (row + x) * stride
			r[to], g[to], b[to] = f.table[0][pixel[0]], f.table[1][pixel[1]], f.table[2][pixel[2]]
		}
	}
}
