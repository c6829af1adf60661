package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/eval/cost"
)

// peakMemoryOptions are of the verb that eval runs in a process of its own.
type peakMemoryOptions struct{ request string }

func (o *peakMemoryOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:    "peak-memory REQUEST",
		Hidden: true,
		Short:  "Measure the memory of a model for another run of pipe",
		Long:   "Peak-memory runs a model as REQUEST says, and prints what the process took as JSON.",
		Args:   cobra.ExactArgs(1),
	}
}

func (o *peakMemoryOptions) addFlags(*pflag.FlagSet) {}

func (o *peakMemoryOptions) validate(args []string) error {
	o.request = args[0]
	return nil
}

func (o *peakMemoryOptions) run(ctx context.Context, _ *session) (*result, error) {
	m, err := cost.Peaks(ctx, o.request)
	if err != nil {
		return nil, err
	}
	return &result{m, func(w io.Writer) { json.NewEncoder(w).Encode(m) }}, nil // an error is remembered by w
}
