// Package check looks for damage in a dataset and all that lies in it.
//
// It knows no file: every layer looks at its own ([store.Dataset.AuditCrops],
// [cache.Audit], [derived.Audit]) and reports to one [table.Audit], and this package asks them
// in turn and gathers what they say. It changes nothing, goes on after damage and over what it
// cannot read, and fails only where there is nothing to look at.
package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/derived"
	"facepipe/store/internal/table"
)

// Options adjust [Run].
type Options struct {
	// ReadData reads every byte: all digests are computed again, crops are decoded and
	// their ids compared, embeddings looked at one by one, the index is compared with
	// what it indexes. Without it only manifests and file sizes are compared.
	ReadData bool
	// Subset limits ReadData to some of the shards, their embeddings included. What
	// compares shards with each other (keys stored twice, totals, the index's entries)
	// is then left out.
	Subset Subset
	// Progress receives a bar; nil is silent.
	Progress io.Writer
}

// Problem is damage: something on disk is not what was written, or cannot be read.
type Problem struct {
	// File is relative to the dataset's folder.
	File string `json:"file"`
	What string `json:"what"`
}

// Report is what [Run] found.
type Report struct {
	// OK says that there are no problems.
	OK       bool      `json:"ok"`
	Problems []Problem `json:"problems"`
	// Notes are worth knowing and no damage: an interrupted run's remains, a missing
	// index, shards no teacher has seen.
	Notes []string `json:"notes,omitempty"`
	// ShardsRead of the Shards of crops were read whole, with their embeddings.
	Shards     int `json:"shards"`
	ShardsRead int `json:"shards_read"`
}

// Run looks for damage in a dataset, goes on after it finds some, and changes
// nothing. A file that cannot be read, for whatever reason, is a problem like any other. An error
// means that it could not look: there is no dataset ([store.ErrNotFound], [store.ErrUnfinished],
// [store.ErrVersion]), the machine is short of something, ctx is done.
func Run(ctx context.Context, dir string, o Options) (Report, error) {
	c := &checker{dir: dir, report: Report{Problems: []Problem{}}} // a list in JSON, not null
	err := c.run(ctx, o)
	c.report.OK = err == nil && len(c.report.Problems) == 0
	return c.report, err
}

// checker gathers what the layers find.
type checker struct {
	dir    string
	report Report
}

// run asks every layer to look at what it owns. Layers above the crops are silent where the
// crops are damaged, since they could only repeat it.
func (c *checker) run(ctx context.Context, o Options) error {
	a := &table.Audit{Context: ctx, Fault: c.fault, Note: c.note}
	d, err := store.BeginAudit(c.dir)
	if errors.Is(err, store.ErrVersion) {
		return err
	}
	if err != nil {
		return c.fault(err)
	}
	c.choose(a, d.Shards(), o)
	defer c.show(a, d, o)()
	sound, err := d.AuditCrops(a)
	layers := []func() error{
		func() error { return err },
		func() error { return c.caches(a, d, sound) },
		func() error { return d.AuditIndex(a) },
		func() error { return d.AuditRemains(a) },
		func() error { return cache.AuditRemains(a, d) },
	}
	if !sound {
		layers[2] = func() error { return nil } // it indexes what is damaged
	}
	for _, layer := range layers {
		if err := c.fault(layer()); err != nil {
			return err
		}
	}
	return nil
}

// choose decides which shards are read.
func (c *checker) choose(a *table.Audit, shards int, o Options) {
	c.report.Shards = shards
	if !o.ReadData {
		return
	}
	a.Chosen = o.Subset.choose(shards)
	for _, yes := range a.Chosen {
		if yes {
			c.report.ShardsRead++
		}
	}
	if !o.Subset.all() {
		c.note("subset %v: the data of %d of %d shards are read", o.Subset, c.report.ShardsRead, shards)
	}
}

// show shows how many of the chosen crops and embeddings are read or, without these, that the
// audit goes on.
func (c *checker) show(a *table.Audit, d *store.Dataset, o Options) (end func()) {
	if !o.ReadData {
		return progress.Phase(o.Progress, "check")
	}
	rows := 0
	for shard, chosen := range a.Chosen {
		if chosen {
			rows += d.ShardRows(shard)
		}
	}
	caches, err := cache.Names(d)
	if err != nil {
		caches = nil // the audit says why
	}
	a.Bar = progress.New(o.Progress, "check", int64(rows*(1+len(caches)))).Of("rows")
	return a.Bar.Finish
}

// caches looks at the teachers' caches, and at what is derived from each.
func (c *checker) caches(a *table.Audit, d *store.Dataset, sound bool) error {
	names, err := cache.Names(d)
	if err != nil {
		return err
	}
	for _, name := range names {
		t, err := cache.Audit(a, d, name)
		if err := c.fault(err); err != nil {
			return err
		}
		if t == nil || !sound {
			continue
		}
		if err := derived.Audit(a, t); err != nil {
			return err
		}
	}
	return nil
}

// fault takes damage down as a problem, and what cannot be read; other errors it returns.
func (c *checker) fault(err error) error {
	file, what, ok := table.DamageIn(err)
	if !ok {
		file, what, ok = table.UnreadableIn(err)
	}
	if !ok {
		return err
	}
	if rel, err := filepath.Rel(c.dir, file); err == nil {
		file = filepath.ToSlash(rel)
	}
	// A teacher's shard can only be checked against its crops, whose damage is known.
	if p := (Problem{File: file, What: what.Error()}); !slices.Contains(c.report.Problems, p) {
		c.report.Problems = append(c.report.Problems, p)
	}
	return nil
}

func (c *checker) note(format string, args ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}
