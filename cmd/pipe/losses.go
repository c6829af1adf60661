package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/progress"
	"facepipe/student/loss"
	"facepipe/student/torch"
)

type lossesOptions struct {
	names     []string
	batch     int
	engine    string
	measure   bool // or fail
	noMeasure bool
}

// lossRow is what there is to say of a loss.
type lossRow struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Needs string `json:"needs"`
	// Milliseconds that a step takes beside the network's; 0 if that was not measured.
	Milliseconds float64 `json:"milliseconds,omitempty"`
	Source       string  `json:"source"`
	// Formula and Settings are there where the loss was asked for by its name.
	Formula  string         `json:"formula,omitempty"`
	Settings []loss.Setting `json:"settings,omitempty"`
}

func (o *lossesOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "losses [NAME...]",
		Short: "List the losses to train with: what they do, need and cost; one's formula and settings",
		Long: `Losses lists what 'pipe distill --loss' takes: what each loss does, what it needs of the
dataset and the teacher's cache, and the time that it adds to a step.

With names it prints each one's formula and source, and its settings with their defaults. A
setting goes into the file of --config, under the loss's name:

  loss:
    name: arcface + 0.5*ekd
    ekd: {temperature: 0.02}

EXPRESSIONS
  A loss is a sum of terms: NAME, 0.5*NAME with a weight, NAME@TEACHER to learn from one of
  several teachers. Each term also takes a schedule of its weight over the run:
    ekd: {schedule: {from: 0, to: 1, begin: 0.1, end: 0.3}}

docs/losses.md tells which loss suits which data.

For the time a step of each is run on made-up embeddings of 512 numbers, with its gradient and
full banks, which takes a minute for all. A step of the network comes on top.`,
		Example: `  pipe losses
  pipe losses ekd unified
  pipe losses --no-measure --json`,
	}
}

func (o *lossesOptions) addFlags(f *pflag.FlagSet) {
	f.IntVar(&o.batch, "batch", 128, "crops in a step")
	f.BoolVar(&o.noMeasure, "no-measure", false, "do not measure what a step costs here")
	f.BoolVar(&o.measure, "measure", false, "fail where that cannot be measured")
	f.StringVar(&o.engine, "engine", "", "training engine `library` to load (default: $PIPE_ENGINE, the one of 'make engine', the system's)")
}

func (o *lossesOptions) validate(args []string) error {
	if o.measure && o.noMeasure {
		return errors.New("--measure and --no-measure exclude each other")
	}
	if o.batch < 2 || o.batch > 4096 {
		return fmt.Errorf("--batch %d is not within 2 and 4096", o.batch)
	}
	for _, name := range args {
		if !slices.Contains(loss.Names(), name) {
			_, err := loss.Parse(name)
			if err == nil {
				err = fmt.Errorf("%q is an expression: name its losses one by one", name)
			}
			return err
		}
	}
	o.names = args
	return nil
}

// lossList is the summary.
type lossList struct {
	Losses []lossRow `json:"losses"`
	Batch  int       `json:"batch"`
	// NotMeasured is why times are not known, if they were asked for.
	NotMeasured string `json:"not_measured,omitempty"`
}

func (o *lossesOptions) run(ctx context.Context, s *session) (*result, error) {
	list := lossList{Batch: o.batch}
	for _, l := range loss.All() {
		if len(o.names) > 0 && !slices.Contains(o.names, l.Name) {
			continue
		}
		row := lossRow{Name: l.Name, About: l.About, Needs: l.Needs.String(), Source: l.Source}
		if len(o.names) > 0 {
			row.Formula, row.Settings = l.Formula, l.Settings()
		}
		list.Losses = append(list.Losses, row)
	}
	if !o.noMeasure {
		err := o.time(ctx, s, list.Losses)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && o.measure:
			return nil, err
		case err != nil:
			list.NotMeasured = err.Error()
		}
	}
	return &result{list, func(w io.Writer) { printLosses(w, list, len(o.names) > 0) }}, nil
}

// time measures a step of each.
func (o *lossesOptions) time(ctx context.Context, s *session, rows []lossRow) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	e, err := torch.Open(o.engine)
	if err != nil {
		return err
	}
	e.SetThreads(runtime.GOMAXPROCS(0))
	bar := progress.New(s.progress(), "measure", int64(len(rows))).Of("losses")
	defer bar.Finish()
	for i := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		const steps = 9
		median, err := loss.Trial{Loss: rows[i].Name, Batch: o.batch}.Run(e, steps)
		if err != nil {
			return err
		}
		rows[i].Milliseconds = median.Seconds() * 1000
		bar.Add(1)
	}
	return nil
}

func printLosses(w io.Writer, list lossList, whole bool) {
	if whole {
		for i, r := range list.Losses {
			if i > 0 {
				fmt.Fprintln(w)
			}
			printLoss(w, r, list.Batch)
		}
	} else {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(table, "NAME\tMS A STEP OF %d\tNEEDS\tABOUT\n", list.Batch)
		for _, r := range list.Losses {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.Name, r.cost(), r.Needs, r.About)
		}
		table.Flush() // an error is remembered by w
	}
	if list.NotMeasured != "" {
		fmt.Fprintf(w, "not measured: %s\n", list.NotMeasured)
	}
}

func (r lossRow) cost() string {
	if r.Milliseconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", r.Milliseconds)
}

// printLoss prints all of one.
func printLoss(w io.Writer, r lossRow, batch int) {
	fmt.Fprintf(w, "%s: %s\n", r.Name, r.About)
	fmt.Fprintf(w, "  source  %s\n  needs   %s\n", r.Source, r.Needs)
	if r.Milliseconds > 0 {
		fmt.Fprintf(w, "  cost    %.1f ms a step of %d\n", r.Milliseconds, batch)
	}
	fmt.Fprintln(w, "\n  "+strings.ReplaceAll(r.Formula, "\n", "\n  "))
	if len(r.Settings) == 0 {
		return
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range r.Settings {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", s.Key, s.Default, s.About)
	}
	table.Flush()
}
