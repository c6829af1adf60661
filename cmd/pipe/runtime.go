package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"facepipe/internal/embed"
	"facepipe/internal/ort"
)

// addRuntimeFlags binds what runs a model, and in what batches.
func addRuntimeFlags(f *pflag.FlagSet, o *ort.Options, batch *int) {
	f.StringVar(&o.Provider, "provider", ort.CPU, "execution `provider`: "+strings.Join(ort.Providers(), ", "))
	f.BoolVar(&o.AllowFallback, "allow-fallback", false, "let the processor compute the nodes that the provider leaves to it; else they are an error")
	f.Var(batchFlag{batch}, "batch", "crops in one run of the model; auto measures 1, 2, 4 ... and takes the fastest (default: fits the machine; a fixed batch is kept)")
	f.BoolVar(&o.TF32, "tf32", false, "let cuda and tensorrt round float32 to TF32's ten bits, which is several times faster; embeddings differ in the third digit, and such a cache is another one")
	f.Int64Var(&o.MemoryLimit, "gpu-memory", 0, "`bytes` of a CUDA device that the runtime may keep for runs; 0 for any")
	f.IntVar(&o.Threads, "threads", 0, "threads of one operator (default: all cores)")
}

// validateRuntime says what no machine could run.
func validateRuntime(o ort.Options) error {
	return errors.Join(o.Validate(), notNegative("--threads", o.Threads))
}

// batchFlag is a number of crops, or auto.
type batchFlag struct{ n *int }

// Set parses a flag's value.
func (b batchFlag) Set(s string) error {
	if s == "auto" {
		*b.n = embed.AutoBatch
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > embed.MaxBatch {
		return fmt.Errorf("%q is neither auto nor a number of crops up to %d", s, embed.MaxBatch)
	}
	*b.n = n
	return nil
}

// String is the value as Set takes it; "" for the default.
func (b batchFlag) String() string {
	switch {
	case b.n == nil || *b.n == 0:
		return ""
	case *b.n == embed.AutoBatch:
		return "auto"
	}
	return strconv.Itoa(*b.n)
}

// Type is what help texts call the value.
func (b batchFlag) Type() string { return "N|auto" }

// maxDevices is more than any machine has.
const maxDevices = 1024

// devicesFlag is a list of devices by number, each once.
type devicesFlag struct{ list *[]int }

// Set parses a flag's value and adds it to the list.
func (d devicesFlag) Set(s string) error {
	for text := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		switch {
		case err != nil || n < 0 || n >= maxDevices:
			return fmt.Errorf("%q is no number of a device: these are 0, 1 and so on, up to %d", text, maxDevices-1)
		case slices.Contains(*d.list, n):
			return fmt.Errorf("device %d is named twice", n)
		}
		*d.list = append(*d.list, n)
	}
	return nil
}

// String is the value as Set takes it; "" for the default.
func (d devicesFlag) String() string {
	if d.list == nil {
		return ""
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(*d.list), " ", ","), "[]")
}

// Type is what help texts call the value.
func (d devicesFlag) Type() string { return "numbers" }
