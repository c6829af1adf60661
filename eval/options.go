package eval

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"facepipe/internal/ort"
)

// Options are the settings of a run.
type Options struct {
	// Dataset is the folder of the dataset that holds the crops.
	Dataset string
	// Pairs is the list of pairs.
	Pairs string
	// Models are the ONNX files to compare, each once.
	Models []string
	// Flip adds the embedding of the mirrored crop to the crop's own before the sum
	// is scaled to length one, as published figures do.
	Flip bool
	// Preprocess is auto (also ""), arcface, raw or a JSON file, for all models.
	Preprocess string
	// Batch is that of [embed.Options].
	Batch int
	// Runtime says what runs the model.
	Runtime ort.Options
	// AllowMissing leaves out pairs that name images which the dataset lacks.
	AllowMissing bool
	// Out is the folder that the report is written to, made if necessary; "" writes
	// nothing.
	Out string
	// Progress receives the bar and notices; nil is silent.
	Progress io.Writer
}

// DefaultOptions are the settings of a run that says nothing: mirror images on.
func DefaultOptions() Options { return Options{Flip: true} }

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
	return nil
}
