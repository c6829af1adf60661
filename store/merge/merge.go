// Package merge makes one dataset of several, their teacher caches included.
//
// It only decides what goes together and in which order: crops are taken over by
// [store.Writer], embeddings by [cache.Join]. What is derived from caches is not merged; it is
// made anew where it is needed. A merge that was interrupted is finished by the same call, and
// gives the same bytes.
package merge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"facepipe/internal/durable"
	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/store/cache"
)

// Options adjust [Datasets].
type Options struct {
	// ShardRows is the number of crops in a full shard; 0 is [store.DefaultShardRows].
	ShardRows int
	// KeyPrefixes stand before the keys and identities of the inputs, so that those of two cannot
	// collide: none, or one for each in their order.
	KeyPrefixes []string
	// SamePeople says that a number which is an identity means the same person in all inputs.
	// Without it inputs that have the same numbers are refused.
	SamePeople bool
	// WithoutTeachers leaves the teacher caches behind.
	WithoutTeachers bool
	// MaxRejectRate is the share, 0 to 1, of crops that may be refused because their
	// keys are taken.
	MaxRejectRate float64
	// Progress gets a progress display; nil is none.
	Progress io.Writer
	// Logger gets notices; nil is [slog.Default].
	Logger *slog.Logger
}

// Summary is what [Datasets] did, and the dataset after it.
type Summary struct {
	// Inputs are the datasets that were merged, in order.
	Inputs []Input `json:"inputs"`
	// Seen counts the crops and duplicates of the inputs; each is one of the next four.
	Seen       int `json:"seen"`
	Written    int `json:"written"`
	Duplicates int `json:"duplicates"`
	// Rejected are those whose keys are taken by other pixels.
	Rejected int `json:"rejected"`
	// Skipped ones were dealt with before: by an interrupted run, or because one source
	// reaches the merge by way of two inputs. RejectedBefore of them were refused.
	Skipped        int `json:"skipped"`
	RejectedBefore int `json:"rejected_before"`
	// CarriedRejects are the inputs' own rejects, recorded again.
	CarriedRejects int `json:"carried_rejects"`
	// Teachers are the caches that were merged, Notes what was left out and why.
	Teachers []cache.Joined `json:"teachers"`
	Notes    []string       `json:"notes,omitempty"`
	Seconds  float64        `json:"seconds"`
	// Dataset is the folder written to; the rest is the dataset's.
	Dataset    string `json:"dataset"`
	Digest     string `json:"digest"`
	Rows       int    `json:"rows"`
	Shards     int    `json:"shards"`
	Identities int    `json:"identities"`
}

// Input is one of the datasets that were merged.
type Input struct {
	Dataset string `json:"dataset"`
	Digest  string `json:"digest"`
	Rows    int    `json:"rows"`
}

// ConflictRateError says that a merge refused more crops than it was allowed to. The
// dataset is complete all the same, without them.
type ConflictRateError struct {
	// Rejected of the Seen crops and duplicates had keys that were taken.
	Rejected, Seen int
	// Max is the share that was allowed.
	Max float64
}

func (e *ConflictRateError) Error() string {
	return fmt.Sprintf("merge: %d of %d crops had keys that lead to other pixels (%.2f %%), more than the allowed %.2f %%; rejects.jsonl in the dataset says which",
		e.Rejected, e.Seen, 100*float64(e.Rejected)/float64(e.Seen), 100*e.Max)
}

// Datasets makes one dataset of several in the folder out: all crops in the order of the
// inputs, identities of one name being one person, sources and rejects taken over. Inputs that
// have a class number in common ([store.ClassNumber]) are refused, unless the options keep them
// apart or say that it is the same person. A crop that several inputs have is stored once and the others are recorded as
// duplicates. A crop whose key leads to other pixels already is recorded as a reject.
//
// All inputs must have one contract ([store.ErrContract]). A teacher cache that every input
// has is merged too, its embeddings copied bit for bit by the crops' ids; one name with
// two fingerprints is [store.ErrFingerprint]. Inputs are only read, and what is read of them
// is verified: [store.ErrDamaged].
//
// After an interruption the same call finishes the job and gives the same bytes as a
// run without one; out may hold nothing but this very merge. The error is a
// [*ConflictRateError] if too many keys were taken; the summary is then valid. Memory
// grows by about 100 bytes a crop.
func Datasets(ctx context.Context, out string, inputs []string, o Options) (Summary, error) {
	begun := time.Now()
	m := &merge{ctx: ctx, out: out, options: o}
	m.summary.Dataset, m.summary.Teachers = out, []cache.Joined{}
	err := m.run(inputs)
	m.summary.Seconds = time.Since(begun).Seconds()
	if err != nil {
		return m.summary, fmt.Errorf("merge: %w", err)
	}
	return m.summary, m.summary.judge(o.MaxRejectRate)
}

// judge counts rejects over interrupted runs: the outcome of a job does not depend on
// how often it was interrupted.
func (s *Summary) judge(allowed float64) error {
	rejected := s.Rejected + s.RejectedBefore
	if float64(rejected) <= allowed*float64(s.Seen) {
		return nil
	}
	return &ConflictRateError{Rejected: rejected, Seen: s.Seen, Max: allowed}
}

// merge is one call of [Datasets].
type merge struct {
	ctx     context.Context
	out     string
	options Options
	inputs  []*store.Dataset
	joints  []cache.Joint
	summary Summary
}

func (m *merge) run(inputs []string) (err error) {
	defer func() { err = errors.Join(err, m.close()) }()
	// Everything that can be wrong with the inputs is found out before anything is
	// written.
	if err := m.open(inputs); err != nil {
		return err
	}
	if !m.options.WithoutTeachers {
		var notes []string
		if m.joints, notes, err = cache.Join(m.inputs); err != nil {
			return err
		}
		m.summary.Notes = append(m.summary.Notes, notes...)
	}
	if err := m.keepApart(); err != nil {
		return err
	}
	if err := m.crops(); err != nil {
		return err
	}
	merged, err := store.Open(m.out, m.openOptions()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, merged.Close()) }()
	m.summary.Digest, m.summary.Rows = merged.Digest(), merged.Rows()
	m.summary.Shards, m.summary.Identities = merged.Shards(), merged.Identities()
	return m.caches(merged)
}

func (m *merge) close() error {
	var err error
	for _, d := range m.inputs {
		err = errors.Join(err, d.Close())
	}
	return err
}

func (m *merge) openOptions() []store.Option {
	if m.options.Logger == nil {
		return nil
	}
	return []store.Option{store.WithLogger(m.options.Logger)}
}

// open opens the inputs and refuses those that do not go together.
func (m *merge) open(inputs []string) error {
	if len(inputs) == 0 {
		return errors.New("no dataset is named")
	}
	if n := len(m.options.KeyPrefixes); n > 0 && n != len(inputs) {
		return fmt.Errorf("%d key prefixes for %d datasets: give one for each, in their order", n, len(inputs))
	}
	for i := range inputs {
		if err := store.ValidIdentity(m.prefix(i)); err != nil {
			return fmt.Errorf("key prefix: %w", err)
		}
	}
	for i, dir := range inputs {
		if slices.ContainsFunc(inputs[:i], func(earlier string) bool { return durable.SameFile(earlier, dir) }) {
			return fmt.Errorf("%s is named twice", dir)
		}
		if durable.SameFile(dir, m.out) {
			return fmt.Errorf("%s is both an input and the output; name a new folder", dir)
		}
		d, err := store.Open(dir, m.openOptions()...)
		if err != nil {
			return err
		}
		m.inputs = append(m.inputs, d)
		if first := m.inputs[0]; d.Contract() != first.Contract() {
			return fmt.Errorf("%w: the crops of %s are made under %+v, those of %s under %+v",
				store.ErrContract, first.Dir(), first.Contract(), d.Dir(), d.Contract())
		}
		unlisted, err := d.Unlisted()
		if err != nil {
			return err
		}
		if n := len(unlisted); n > 0 {
			m.summary.Notes = append(m.summary.Notes, fmt.Sprintf("%s: %d shards of an interrupted ingest are not merged: run that ingest again, and the merge into a new folder", dir, n))
		}
		m.summary.Inputs = append(m.summary.Inputs, Input{Dataset: dir, Digest: d.Digest(), Rows: d.Rows()})
	}
	return nil
}

// crops writes the crops, and all else that shards hold, as an ingest would.
func (m *merge) crops() (err error) {
	w, err := store.OpenWriter(m.out, m.inputs[0].Contract(), store.WriterOptions{ShardRows: m.options.ShardRows, Logger: m.options.Logger, Context: m.ctx})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Abort()) }()
	all, numbers := m.sources()
	// All at once, so that the first shard of a merge tells which merge it is of: one that is
	// found in the folder must be this one.
	if err := w.BeginWith(all); err != nil {
		return err
	}
	total := 0
	for _, d := range m.inputs {
		total += d.Rows() + d.Duplicates()
	}
	bar := m.bar("merge", total)
	defer bar.Finish()
	for i, d := range m.inputs {
		n, err := w.TakeOver(m.ctx, d, numbers[i], m.prefix(i), bar.Add)
		if err != nil {
			return err
		}
		m.summary.add(n)
	}
	return w.Close()
}

func (s *Summary) add(n store.TakenOver) {
	s.Seen += n.Seen
	s.Written += n.Written
	s.Duplicates += n.Duplicates
	s.Rejected += n.Rejected
	s.Skipped += n.Skipped
	s.RejectedBefore += n.RejectedBefore
	s.CarriedRejects += n.Rejects
}

// sources are those of all inputs, and their numbers among these, an input at a time.
func (m *merge) sources() (all []store.SourceInfo, numbers [][]int) {
	numbers = make([][]int, len(m.inputs))
	for i, d := range m.inputs {
		for _, s := range d.Sources() {
			// A source that came by a merge already stays what it is: by way of two
			// inputs it is still one.
			if s.MergedFrom == "" {
				s.MergedFrom = d.Digest()
			}
			s.KeyPrefix = m.prefix(i) + s.KeyPrefix
			n := slices.Index(all, s)
			if n < 0 {
				n = len(all)
				all = append(all, s)
			}
			numbers[i] = append(numbers[i], n)
		}
	}
	return all, numbers
}

// prefix stands before the names of input i.
func (m *merge) prefix(i int) string {
	if len(m.options.KeyPrefixes) == 0 {
		return ""
	}
	return m.options.KeyPrefixes[i]
}

// keepApart is an error if two inputs mean different people by one class number. They do not if
// one source reaches the merge by way of both, or if sources are one file.
func (m *merge) keepApart() error {
	if m.options.SamePeople {
		return nil
	}
	all, numbers := m.sources()
	var people store.People
	from := make([]int, len(all)) // the input that a source is of
	for i, d := range m.inputs {
		var own store.People
		sets := make([]int, len(numbers[i]))
		for s, n := range numbers[i] {
			sets[s] = slices.IndexFunc(all, func(first store.SourceInfo) bool { return sameSource(first, all[n]) })
			from[n] = i
		}
		err := d.EachPerson(m.ctx, func(s int, identity string) {
			if store.ClassNumber(identity) && s >= 0 && s < len(sets) {
				own.Add(sets[s], m.prefix(i)+identity)
			}
		})
		if err != nil {
			return err
		}
		if mixed := people.Join(&own); mixed != nil {
			other := m.inputs[from[mixed.Other]].Dir()
			return fmt.Errorf("%s and %s have different people of one number: %s: put a --key-prefix before the names of each, in the order of the datasets, or give --same-people if a number means the same person in both",
				other, d.Dir(), mixed)
		}
	}
	return nil
}

// sameSource says whether two sources are one, or one file.
func sameSource(a, b store.SourceInfo) bool {
	return a == b || a.Kind == b.Kind && a.Digest != "" && a.Digest == b.Digest
}

// caches merges the teacher caches that every input has.
func (m *merge) caches(merged *store.Dataset) error {
	for i := range m.joints {
		j := &m.joints[i]
		report, err := j.Into(m.ctx, merged, m.options.Progress)
		if err != nil {
			return err
		}
		if report.Missing > 0 {
			m.summary.Notes = append(m.summary.Notes, fmt.Sprintf("teacher %s: %d crops are in shards that lack an embedding in the inputs, and are still to be embedded", report.Teacher, report.Missing))
		}
		m.summary.Teachers = append(m.summary.Teachers, report)
	}
	return nil
}

// bar shows how far one part of the merge is.
func (m *merge) bar(label string, total int) *progress.Bar {
	return progress.New(m.options.Progress, label, int64(total)).Of("crops")
}
