package study

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/strictyaml"
	"facepipe/store"
	"facepipe/student"
)

// Row is one student of a study.
type Row struct {
	// Group is what the row is called without its seed.
	Group string
	Seed  uint64
	// Differs are the settings in which it differs from the base.
	Differs Settings
	// Outlook is what its run would be; Digest identifies that, and how its checkpoint is chosen.
	Outlook student.Outlook
	Digest  string

	options student.Options
	inputs  map[string]any // that the digest is of
	dir     string         // its run's folder
}

// Name tells a row from all others of the study.
func (r *Row) Name() string { return fmt.Sprintf("%s, seed %d", r.Group, r.Seed) }

// expand gives the rows of a study, the first seed of all before the second of any. Their
// options are complete but for what says where they are run.
func (s *Study) expand() ([]*Row, error) {
	groups, seeds := []Explicit{{}}, []string{cmp.Or(s.Base.get(seedKey), "1")}
	for _, a := range s.Axes {
		if a.Key == seedKey {
			seeds = nil
			for _, v := range a.Values {
				seeds = append(seeds, text(v))
			}
			continue
		}
		var wider []Explicit
		for _, g := range groups {
			for _, v := range a.Values {
				wider = append(wider, Explicit{Settings: slices.Concat(g.Settings, flattened(nil, a.Key, v))})
			}
		}
		groups = wider
	}
	if len(groups) == 1 && groups[0].Settings == nil && len(s.Rows) > 0 {
		groups = nil // no axis but the seed
	}
	for i := range groups {
		groups[i].Name = cmp.Or(groups[i].Settings.String(), "base")
	}
	groups = append(groups, s.Rows...)
	var rows []*Row
	for _, seed := range seeds {
		for i, g := range groups {
			if slices.ContainsFunc(groups[:i], func(o Explicit) bool { return o.Name == g.Name }) {
				return nil, fmt.Errorf("%w: study %s: two rows are called %q", ErrUsage, s.Path, g.Name)
			}
			row, err := s.row(g, seed)
			if err != nil {
				return nil, fmt.Errorf("%w: study %s: row %q: %w", ErrUsage, s.Path, g.Name, err)
			}
			rows = append(rows, row)
		}
	}
	return rows, s.findBaseline(groups)
}

// row settles one row's options.
func (s *Study) row(g Explicit, seed string) (*Row, error) {
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("seed %q is no whole number", seed)
	}
	all := Settings{{seedKey, &yaml.Node{Kind: yaml.ScalarNode, Value: seed}}}.over(g.Settings.over(s.Base))
	row := &Row{Group: g.Name, Seed: n, Differs: g.Settings, options: student.DefaultOptions()}
	o := &row.options
	o.Dataset = s.Dataset
	document, err := all.document()
	if err != nil {
		return nil, err
	}
	if err := o.Overlay(document, nil); err != nil {
		return nil, inPlace(err, document)
	}
	if g.Settings.get("epochs") == "" { // of its own
		s.Budget.apply(o)
	}
	o.KeepBest = s.Select
	from := filepath.Dir(s.Path)
	o.Init = below(from, o.Init)
	for i, path := range o.Exclude {
		o.Exclude[i] = below(from, path)
	}
	return row, nil
}

// lineNumber is where an error says that it is.
var lineNumber = regexp.MustCompile(`line (\d+): `)

// inPlace has an error in a document that nobody sees show its lines in place of their numbers.
func inPlace(err error, document []byte) error {
	lines := strings.Split(string(document), "\n")
	return errors.New(lineNumber.ReplaceAllStringFunc(err.Error(), func(at string) string {
		n, err := strconv.Atoi(lineNumber.FindStringSubmatch(at)[1])
		if err != nil || n < 1 || n > len(lines) {
			return at
		}
		return fmt.Sprintf("in %q: ", strings.TrimSpace(lines[n-1]))
	}))
}

// apply gives a row its budget, unless the row has a number of steps.
func (b Budget) apply(o *student.Options) {
	switch {
	case o.Steps > 0:
	case b.Epochs > 0:
		o.Epochs = b.Epochs
	case b.Steps > 0:
		o.Steps = b.Steps
	default:
		// A batch that is none, or larger than a student takes, is refused with the other settings.
		const most = 1 << 20
		o.Steps = max(1, b.Samples/(max(1, min(o.Batch, most))*max(1, min(o.Accumulate, most))))
	}
}

// findBaseline settles the baseline's name.
func (s *Study) findBaseline(groups []Explicit) error {
	var names []string
	for _, g := range groups {
		if names = append(names, g.Name); g.Name == s.Baseline {
			return nil
		}
	}
	if s.Baseline == "" {
		s.Baseline = names[0]
		return nil
	}
	near := slices.MinFunc(names, func(a, b string) int {
		return cmp.Compare(strictyaml.Distance(a, s.Baseline), strictyaml.Distance(b, s.Baseline))
	})
	return fmt.Errorf("%w: study %s: no row is called %q, which is the baseline; did you mean %q?", ErrUsage, s.Path, s.Baseline, near)
}

// foresee finds out what every row would be. All that are refused are named. shared are rows of
// the dataset that tests have, too; foresee tells for each row of the study which are trained on.
func (r *runner) foresee(ctx context.Context, shared []int) error {
	var refused refusals
	seen := map[string]*Row{}
	for _, row := range r.rows {
		if r.Validation != nil {
			row.options.Validation = r.tests[0].validation()
		}
		row.placeOn(r.o.Machine)
		err := r.settle(ctx, row, shared)
		switch other := seen[row.Digest]; {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrDamaged):
			return fmt.Errorf("row %q: %w", row.Name(), err)
		case err != nil:
			refused.add(row, strings.TrimPrefix(err.Error(), student.ErrUsage.Error()+": "))
		case other != nil:
			refused.add(row, fmt.Sprintf("it is the same run as %q", other.Name()))
		default:
			seen[row.Digest] = row
		}
	}
	return refused.err(len(r.rows))
}

// refusals are rows that cannot be trained, those of a group that differ in their seed alone as one.
type refusals struct {
	rows    int
	reasons []string
	at      map[string]int // places in reasons, by group and reason
	more    map[string]int // how often each came again
}

func (f *refusals) add(row *Row, reason string) {
	f.rows++
	if f.at == nil {
		f.at, f.more = map[string]int{}, map[string]int{}
	}
	key := row.Group + "\n" + reason
	if _, told := f.at[key]; told {
		f.more[key]++
		return
	}
	f.at[key] = len(f.reasons)
	f.reasons = append(f.reasons, fmt.Sprintf("row %q: %s", row.Name(), reason))
}

// err names all of so many rows.
func (f *refusals) err(of int) error {
	if f.rows == 0 {
		return nil
	}
	for key, more := range f.more {
		f.reasons[f.at[key]] += fmt.Sprintf(" (and %s more)", many(more, "seed"))
	}
	return fmt.Errorf("%w: %d of %d rows cannot be trained:\n  %s", ErrUsage, f.rows, of, strings.Join(f.reasons, "\n  "))
}

// placeOn says on what the row is trained. Its own number of threads goes before none.
func (r *Row) placeOn(machine student.MachineOptions) {
	if machine.Threads == 0 {
		machine.Threads = r.options.Threads
	}
	if machine.Device == "" {
		machine.Device = r.options.Device
	}
	r.options.MachineOptions = machine
}

func (r *runner) settle(ctx context.Context, row *Row, shared []int) (err error) {
	if row.Outlook, err = student.Foresee(ctx, row.options, shared...); err != nil {
		return err
	}
	row.Digest, row.inputs, err = r.identify(row.Outlook)
	return err
}
