package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/embed"
	"facepipe/internal/plain"
	"facepipe/store/cache"
	"facepipe/store/derived"
	"facepipe/store/info"
)

// teachersCommand lists a dataset's teacher caches and gathers the verbs about them.
func (s *session) teachersCommand() *cobra.Command {
	c := s.command(new(teachersOptions))
	c.AddCommand(
		s.command(new(teachersCompareOptions)),
		s.command(new(teachersDropOptions)),
		s.command(new(teachersCentresOptions)),
		s.command(new(teachersNeighboursOptions)),
		s.command(new(teachersClassifierOptions)),
	)
	return c
}

type teachersOptions struct {
	dataset string
}

// teacherList is the list as one JSON object.
type teacherList struct {
	Dataset  string       `json:"dataset"`
	Teachers []info.Cache `json:"teachers"`
}

func (o *teachersOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "teachers DATASET",
		Short: "List, compare and drop a dataset's teacher caches",
		Long: `Teachers lists the teacher caches of a dataset: which model each is of, how pixels were
fed to it, how many crops are embedded, missing, or without a usable embedding, and how
long devices ran it, as far as runs are recorded. It reads manifests only.
A dataset that is called like a verb below is written ./compare.`,
		Example: `  pipe teachers faces.ds
  pipe teachers compare faces.ds w600k_r50 adaface
  pipe teachers drop faces.ds adaface`,
	}
}

func (o *teachersOptions) addFlags(*pflag.FlagSet) {}

func (o *teachersOptions) validate(args []string) error { return oneDataset(args, &o.dataset) }

func (o *teachersOptions) run(context.Context, *session) (*result, error) {
	states, err := info.Caches(o.dataset)
	if err != nil && len(states) == 0 {
		return nil, err
	}
	return &result{teacherList{o.dataset, states}, func(w io.Writer) { printTeachers(w, o.dataset, states) }}, err
}

func printTeachers(w io.Writer, dataset string, states []info.Cache) {
	if len(states) == 0 {
		plain.Fprintf(w, "%s has no teacher caches\n", dataset)
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tMODEL\tPREPROCESSING\tDIM\tTYPE\tFLIP\tCROPS\tMISSING\tUNUSABLE\tSIZE\tRUNS\tDEVICE TIME\tCENTRES\tNEIGHBOURS\tALIGNMENT\tCLASSIFIER")
	for _, t := range states {
		plain.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%v\t%d\t%d\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", t.Name, cmp.Or(t.ModelFile, "-"), preprocessText(t.Preprocess),
			t.Dim, t.DType, t.Flip, t.Rows, t.Missing, t.Invalid, byteSize(t.Bytes), t.Runs.Runs, duration(t.Runs.DeviceSeconds), t.Centres, t.Neighbours, t.Alignment, classifierText(t.Classifier))
	}
	table.Flush() // an error is remembered by w
}

// runsText sums runs up for people.
func runsText(t cache.RunTotals) string {
	return fmt.Sprintf("%d are recorded, %d crops computed: %s, %s of processors, %s of devices", t.Runs, t.Computed,
		duration(t.Seconds), duration(t.CPUSeconds), duration(t.DeviceSeconds))
}

// duration is a number of seconds for people.
func duration(seconds float64) string {
	precision := time.Millisecond
	switch {
	case seconds >= 60:
		precision = time.Second
	case seconds >= 1:
		precision = 100 * time.Millisecond
	}
	return time.Duration(seconds * float64(time.Second)).Round(precision).String()
}

// classifierText says where an imported matrix is from.
func classifierText(c *derived.ClassifierInfo) string {
	if c == nil {
		return "-"
	}
	return fmt.Sprintf("%d classes of %s", c.Rows, c.Origin)
}

// preprocessText is a recorded contract for people: as other verbs print it, or else as
// it is recorded.
func preprocessText(recorded json.RawMessage) string {
	var p embed.Preprocess
	if err := json.Unmarshal(recorded, &p); err != nil || p.Validate() != nil {
		return cmp.Or(string(recorded), "-")
	}
	return p.String()
}
