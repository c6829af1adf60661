package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/plain"
	"facepipe/store/cache"
)

type teachersDropOptions struct {
	dataset, name string
	dryRun        bool
}

func (o *teachersDropOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "drop DATASET NAME",
		Short: "Remove a teacher cache",
		Long: `Drop removes a teacher cache, damaged or not, with all that was derived from it or
imported beside it. Only precompute-teacher brings it back. Naming it is all the
confirmation there is; --dry-run looks first. A cache that is being written is not
dropped. If drop is interrupted, the cache is there or gone, and the same command removes
what is left.`,
		Example: `  pipe teachers drop faces.ds adaface --dry-run
  pipe teachers drop faces.ds adaface`,
	}
}

func (o *teachersDropOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would be removed")
}

func (o *teachersDropOptions) validate(args []string) error {
	return datasetAndTeacher(args, &o.dataset, &o.name)
}

func (o *teachersDropOptions) run(context.Context, *session) (*result, error) {
	dropped, err := cache.Drop(o.dataset, o.name, o.dryRun)
	if err != nil {
		return nil, err
	}
	return &result{dropped, func(w io.Writer) {
		what := "removed"
		if dropped.DryRun {
			what = "would be removed"
		}
		plain.Fprintf(w, "%s: teacher %s %s: %d files, %s\n", dropped.Dataset, dropped.Teacher, what, dropped.Files, byteSize(dropped.Bytes))
	}}, nil
}
