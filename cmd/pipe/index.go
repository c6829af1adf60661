package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/progress"
	"facepipe/store"
)

// indexCommand gathers the verbs about a dataset's index.
func (s *session) indexCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "index",
		Short: "Rebuild a dataset's index",
		Long:  "Index holds what can be done with a dataset's index.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("index: unknown verb %q: rebuild is the only one", args[0])
			}
			return usagef("index: name a verb: rebuild")
		},
	}
	c.AddCommand(s.command(new(indexRebuildOptions)))
	return c
}

type indexRebuildOptions struct {
	dataset string
}

func (o *indexRebuildOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "rebuild DATASET",
		Short: "Make a dataset's index anew",
		Long: `Rebuild makes what is derived from a dataset's shards anew, the index and
rejects.jsonl, even if it looks good. A missing, outdated or damaged index is rebuilt
by whoever needs it, so that this is for the careful.`,
		Example: `  pipe index rebuild faces.ds`,
	}
}

func (o *indexRebuildOptions) addFlags(*pflag.FlagSet) {}

func (o *indexRebuildOptions) validate(args []string) error { return oneDataset(args, &o.dataset) }

func (o *indexRebuildOptions) run(ctx context.Context, s *session) (*result, error) {
	defer progress.Phase(s.progress(), "index "+o.dataset)()
	built, err := store.RebuildIndex(ctx, o.dataset)
	if err != nil {
		return nil, err
	}
	return &result{built, func(w io.Writer) {
		fmt.Fprintf(w, "%s: index of %d crops and %d duplicates, in %.1f s\n", built.Dataset, built.Rows, built.Duplicates, built.Seconds)
	}}, nil
}
