package eval

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"facepipe/eval/cohort"
	"facepipe/eval/protocol"
	"facepipe/eval/verification"
	"facepipe/internal/ort"
)

// Options are the settings of a run.
type Options struct {
	// Dataset is the folder of the dataset that holds the crops of tests that are no .bin; ""
	// takes the keys of the first of Embeddings instead.
	Dataset string
	// Tests are what models are measured on.
	Tests []Test
	// Models are the ONNX files to compare, each once.
	Models []string
	// Cached names, for models by their paths, the cache of the dataset that holds their
	// embeddings already.
	Cached map[string]string
	// Teachers are caches of the dataset to compare, Embeddings files to compare; each once.
	Teachers   []string
	Embeddings []string
	// Options are those of protocols.
	protocol.Options
	// Auto says how the pairs of a test without a list are drawn, and Hard names the teacher
	// whose cache decides which different pairs are hard; "" draws them by chance.
	Auto protocol.Auto
	Hard string
	// Flip adds the embedding of the mirrored crop to the crop's own before the sum
	// is scaled to length one, as published figures do.
	Flip bool
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
	// NoIntervals leaves out intervals, and the comparison of subjects.
	NoIntervals bool
	// Cohorts are groups of faces that rates are told of. Their measure [cohort.Norm] is that of
	// the first of Teachers.
	Cohorts []cohort.Spec
	// ExcludeOverlap is the folder of a training set: figures without the people and photographs
	// of it stand beside all others. OverlapTeacher names the caches, of it and of the dataset,
	// that it is looked for with; "" takes the first of Teachers.
	ExcludeOverlap, OverlapTeacher string
	// Cost says how long models take is to be measured, and their memory: by CostCommand, which is
	// [cost.Options].Command.
	Cost        bool
	CostCommand []string
	// Command made the report, for the record.
	Command []string
	// Scores is a CSV file for every comparison with the cosines of all that was compared; ""
	// writes none.
	Scores string
	// Out is the folder that the report is written to, made if necessary; "" writes
	// nothing.
	Out string
	// Progress receives the bar and notices; nil is silent.
	Progress io.Writer
}

// Test is a set of comparisons.
type Test struct {
	// Protocol says what is compared, and List is the file that it reads. For [protocol.Pairs]
	// a List of [AutoList] draws pairs from the identities.
	Protocol protocol.Kind
	List     string
	// Bin is a verification set that has its own images, instead of both.
	Bin string
}

// AutoList stands for the list of a test whose pairs are drawn.
const AutoList = "auto"

// path is the file of the test.
func (t Test) path() string { return cmp.Or(t.Bin, t.List) }

// DefaultOptions are the settings of a run that says nothing: mirror images on, and the
// usual false accept rates.
func DefaultOptions() Options {
	return Options{Options: protocol.Options{Rule: verification.Plain}, Flip: verification.Plain.Flip, FAR: []float64{1e-1, 1e-2, 1e-3, 1e-4}}
}

// Validate says what is wrong with the options themselves, before any file is looked at.
func (o Options) Validate() error {
	subjects := slices.Concat(o.Models, o.Teachers, o.Embeddings)
	if len(subjects) == 0 {
		return errors.New("no model is named")
	}
	for i, m := range subjects {
		if slices.Contains(subjects[:i], m) {
			return fmt.Errorf("model %s is named twice", m)
		}
	}
	if err := o.validateTests(); err != nil {
		return err
	}
	if err := o.validateFurther(); err != nil {
		return err
	}
	for _, far := range o.FAR {
		if !(far > 0 && far < 1) {
			return fmt.Errorf("false accept rate %g is not between 0 and 1", far)
		}
	}
	return nil
}

// validateTests says which tests cannot be.
func (o Options) validateTests() error {
	bins, paths := 0, map[string]bool{}
	for _, t := range o.Tests {
		if t.Bin != "" {
			bins++
		} else if t.Protocol.Load == nil {
			return errors.New("no protocol is named")
		} else if o.Dataset == "" && (len(o.Embeddings) == 0 || len(o.Models)+len(o.Teachers) > 0) {
			return errors.New("no dataset is named")
		}
		named := t.Protocol.Name + "\x00" + t.path()
		if paths[named] {
			return fmt.Errorf("%s is named twice", t.path())
		}
		paths[named] = true
	}
	switch {
	case len(o.Tests) == 0:
		return errors.New("no protocol is named")
	case bins > 0 && len(o.Embeddings) > 0 && len(o.Tests) > 1:
		return errors.New("embeddings of a .bin file are known by numbers, which may be another's: compare them on one .bin file alone")
	case bins == len(o.Tests) && len(o.Teachers) > 0:
		return errors.New("a teacher's cache holds the embeddings of a dataset, not of a .bin file: ingest that first, or give the teacher's model")
	}
	return nil
}

// validateFurther says which of the findings beside figures cannot be made.
func (o Options) validateFurther() error {
	if o.ExcludeOverlap != "" {
		if o.Dataset == "" {
			return errors.New("what a training set holds is found in a dataset: a .bin file has no teacher's cache; ingest it first")
		}
		if o.overlapTeacher() == "" {
			return errors.New("no teacher is named whose caches of both datasets tell the overlap")
		}
	}
	for _, c := range o.Cohorts {
		if c.Column == cohort.Norm && len(o.Teachers) == 0 {
			return fmt.Errorf("no teacher is named whose embeddings have the lengths of cohort %s", cohort.Norm)
		}
	}
	return nil
}

// overlapTeacher is the name of the caches that tell the overlap, "" if there is none.
func (o Options) overlapTeacher() string {
	if o.OverlapTeacher == "" && len(o.Teachers) > 0 {
		return o.Teachers[0]
	}
	return o.OverlapTeacher
}

// targets are the false accept rates, each once, by descending size.
func (o Options) targets() []float64 {
	targets := slices.Sorted(slices.Values(o.FAR))
	slices.Reverse(targets)
	return slices.Compact(targets)
}
