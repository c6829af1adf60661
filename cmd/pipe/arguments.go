package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// noArguments refuses positional arguments; most often one stands for a flag's name
// that was forgotten.
func noArguments(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// oneDataset takes the positional argument DATASET.
func oneDataset(args []string, dataset *string) error {
	switch len(args) {
	case 0:
		return errors.New("name a dataset folder")
	case 1:
		*dataset = args[0]
		return required("DATASET", *dataset)
	}
	return fmt.Errorf("one dataset at a time: unexpected argument %q", args[1])
}

// datasetAndTeacher takes the positional arguments DATASET NAME.
func datasetAndTeacher(args []string, dataset, name *string) error {
	if len(args) != 2 {
		return errors.New("name a dataset folder and one of its teachers")
	}
	*dataset, *name = args[0], args[1]
	return errors.Join(required("DATASET", *dataset), required("NAME", *name))
}

// required refuses an empty value of a flag or argument.
func required(name, value string) error {
	if value == "" {
		return fmt.Errorf("%s is missing", name)
	}
	return nil
}

// allNamed refuses an empty value among those of a flag or argument that may be repeated.
func allNamed(name string, values []string) error {
	if slices.Contains(values, "") {
		return fmt.Errorf("%s is empty", name)
	}
	return nil
}

// misplaced refuses flags that the command line gives where they have no say.
func misplaced(flags *pflag.FlagSet, why string, names ...string) error {
	for _, name := range names {
		if flags.Changed(name) {
			return fmt.Errorf("--%s %s", name, why)
		}
	}
	return nil
}

// oneOf wants a value from a list.
func oneOf(name, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s %q is none of %s", name, value, strings.Join(allowed, ", "))
}

// notNegative wants 0, which mostly stands for a default, or more.
func notNegative(name string, value int) error {
	if value < 0 {
		return fmt.Errorf("%s %d is negative", name, value)
	}
	return nil
}

// share wants a number from 0 to 1.
func share(name string, value float64) error {
	if !(value >= 0 && value <= 1) {
		return fmt.Errorf("%s %g is not from 0 to 1", name, value)
	}
	return nil
}

// preprocessing is a name or a file of the --preprocess flags.
func preprocessing(spec string) error {
	if filepath.Ext(spec) == ".json" {
		return nil
	}
	return oneOf("--preprocess", spec, "auto", "arcface", "raw", "FILE.json")
}

// positive wants 1 or more.
func positive(name string, value int) error {
	if value < 1 {
		return fmt.Errorf("%s %d is less than 1", name, value)
	}
	return nil
}
