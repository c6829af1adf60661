package eval

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"facepipe/eval/protocol"
	"facepipe/eval/verification"
	"facepipe/internal/ort"
)

// Options are the settings of a run.
type Options struct {
	// Dataset is the folder of the dataset that holds the crops.
	Dataset string
	// Protocol says what is compared, and List is the file that it reads.
	Protocol protocol.Kind
	List     string
	// Models are the ONNX files to compare, each once.
	Models []string
	// Flip adds the embedding of the mirrored crop to the crop's own before the sum
	// is scaled to length one, as published figures do.
	Flip bool
	// Rule is the way of computing figures; its Pick says where TAR is read.
	Rule verification.Rule
	// Preprocess is auto (also ""), arcface, raw or a JSON file, for all models.
	Preprocess string
	// Output is the name of the output to take of all models; "" takes of each the only one
	// with an embedding's shape.
	Output string
	// NoSelfTest leaves out the comparison with other preprocessings that every model begins
	// with; see [selfcheck.Run].
	NoSelfTest bool
	// Batch is that of [embed.Options].
	Batch int
	// Runtime says what runs the model.
	Runtime ort.Options
	// FAR are the false accept rates at which true accept rates are told, each above 0
	// and below 1. A rate of less than one in the different-person pairs cannot
	// be measured; results say so.
	FAR []float64
	// AllowMissing leaves out pairs that name images which the dataset lacks.
	AllowMissing bool
	// Out is the folder that the report is written to, made if necessary; "" writes
	// nothing.
	Out string
	// Progress receives the bar and notices; nil is silent.
	Progress io.Writer
}

// DefaultOptions are the settings of a run that says nothing: mirror images on, and the
// usual false accept rates.
func DefaultOptions() Options {
	return Options{Protocol: protocol.Pairs, Rule: verification.Plain, Flip: verification.Plain.Flip, FAR: []float64{1e-1, 1e-2, 1e-3, 1e-4}}
}

// Validate says what is wrong with the options themselves, before any file is looked at.
func (o Options) Validate() error {
	if len(o.Models) == 0 {
		return errors.New("no model is named")
	}
	for i, m := range o.Models {
		if slices.Contains(o.Models[:i], m) {
			return fmt.Errorf("model %s is named twice", m)
		}
	}
	if o.Protocol.Load == nil {
		return errors.New("no protocol is named")
	}
	for _, far := range o.FAR {
		if !(far > 0 && far < 1) {
			return fmt.Errorf("false accept rate %g is not between 0 and 1", far)
		}
	}
	return nil
}

// targets are the false accept rates, each once, by descending size.
func (o Options) targets() []float64 {
	targets := slices.Sorted(slices.Values(o.FAR))
	slices.Reverse(targets)
	return slices.Compact(targets)
}
