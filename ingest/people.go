package ingest

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/ingest/source"
	"facepipe/store"
)

// keepApart is an error if sources, or a source and the dataset, mean different people by one
// class number. Sources are walked for it, without reading an image, if there are several or the
// dataset has numbers of others. The dataset is only read.
func (r *run) keepApart(ctx context.Context) error {
	if r.options.SamePeople {
		return nil
	}
	committed, err := store.CommittedSources(r.options.Out)
	if err != nil {
		return err
	}
	c := newCrowd(committed, r.parsed.sources)
	if !c.several() {
		return nil
	}
	err = store.CommittedPeople(ctx, r.options.Out, func(s int, identity string) {
		if r.numbered(identity) {
			c.people.Add(c.set[s], identity)
		}
	})
	if err != nil {
		return err
	}
	if c.people.Empty() && len(r.sources) == 1 {
		return nil
	}
	for i, s := range r.sources {
		var people store.People
		err := s.Walk(ctx, func(item source.Item) error {
			if store.ClassNumber(item.Identity) {
				people.Add(c.set[len(committed)+i], r.person(i, item.Identity))
			}
			return nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("look for people in source %s: %w", r.parsed.sources[i], err)
		}
		if err := c.join(i, &people); err != nil {
			return err
		}
	}
	return nil
}

// person is what the dataset calls an identity of source i.
func (r *run) person(i int, identity string) string {
	if identity == "" {
		return ""
	}
	return r.options.prefix(i) + identity
}

// numbered says whether an identity of the dataset is a class number, perhaps behind a prefix of
// this run's.
func (r *run) numbered(identity string) bool {
	return store.ClassNumber(identity) || slices.ContainsFunc(r.options.KeyPrefixes, func(prefix string) bool {
		rest, ok := strings.CutPrefix(identity, prefix)
		return ok && store.ClassNumber(rest)
	})
}

// crowd are the people of a dataset and of a run's sources.
type crowd struct {
	specs     []source.Spec // the dataset's, then the run's
	committed int           // of them are the dataset's
	// set is the set of people that each source has: the number of the first source of which
	// numbers mean the same people.
	set    []int
	people store.People
}

func newCrowd(committed []store.SourceInfo, sources []source.Spec) *crowd {
	c := &crowd{committed: len(committed)}
	for _, s := range committed {
		c.specs = append(c.specs, source.Spec{Kind: s.Kind, Path: s.Path})
	}
	c.specs = append(c.specs, sources...)
	// A merge may have brought a source from a machine where a relative path means another place.
	foreign := func(n int) bool {
		return n < len(committed) && committed[n].MergedFrom != "" && !filepath.IsAbs(committed[n].Path)
	}
	for n, spec := range c.specs {
		c.set = append(c.set, n)
		for first := range n {
			met := first < c.committed && source.Grown(c.specs[first], spec)
			if !foreign(first) && !foreign(n) && (met || source.SameSet(c.specs[first], spec)) {
				c.set[n] = c.set[first]
				break
			}
		}
	}
	return c
}

// several says whether there is more than one set.
func (c *crowd) several() bool {
	return slices.ContainsFunc(c.set, func(s int) bool { return s != c.set[0] })
}

// join adds the people of the run's source i.
func (c *crowd) join(i int, people *store.People) error {
	mixed := c.people.Join(people)
	if mixed == nil {
		return nil
	}
	other := "source"
	if mixed.Other < c.committed {
		other = "the dataset's source"
	}
	return fmt.Errorf("source %s and %s %s have different people of one number: %s: put a --key-prefix before the names of each, in the order of the sources, or give --same-people if a number means the same person in both",
		c.specs[c.committed+i], other, c.specs[mixed.Other], mixed)
}
