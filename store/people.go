package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"facepipe/store/internal/table"
)

// classNumber is what the last part of an identity looks like that is a class number.
var classNumber = regexp.MustCompile(`(^|/)[0-9]+$`)

// ClassNumber says whether an identity is a number: digits, or digits behind a slash. Numbers
// begin anew in every set of photographs, so that two sets mean different people by one. Every
// other identity is a name, which is the same person's everywhere: Aaron_Eckhart, and n000017 or
// m.01_0d4, too, which are one publisher's own.
func ClassNumber(identity string) bool { return classNumber.MatchString(identity) }

// People remembers which sets of photographs, numbered by the caller, have which class numbers for
// identities.
type People struct {
	sets map[string][]int // by class number, in ascending order
	one  [][]int          // one[s] is a list of s alone
}

// Add notes that a set has an identity that is a class number.
func (p *People) Add(set int, identity string) {
	have := p.sets[identity]
	at, found := slices.BinarySearch(have, set)
	if found {
		return
	}
	if p.sets == nil {
		p.sets = map[string][]int{}
	}
	identity = strings.Clone(identity) // it may point into a mapping
	if len(have) > 0 {
		p.sets[identity] = slices.Insert(slices.Clone(have), at, set)
		return
	}
	for len(p.one) <= set {
		p.one = append(p.one, []int{len(p.one)})
	}
	p.sets[identity] = p.one[set]
}

// Empty says whether no set has a class number.
func (p *People) Empty() bool { return len(p.sets) == 0 }

// Mixed are class numbers that people of two origins have, of which no set is the same.
type Mixed struct {
	// Set and Other are two sets that have the first of the numbers.
	Set, Other int
	// Numbers are in the order of text.
	Numbers []string
}

// String names the first numbers.
func (m *Mixed) String() string {
	const named = 3
	text := strings.Join(m.Numbers[:min(named, len(m.Numbers))], ", ")
	if more := len(m.Numbers) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Join adds the people of another origin. It returns those that are mixed up by that, nil if none
// are.
func (p *People) Join(other *People) *Mixed {
	var numbers []string
	for number, sets := range other.sets {
		have := p.sets[number]
		if len(have) > 0 && !slices.ContainsFunc(sets, func(s int) bool { return slices.Contains(have, s) }) {
			numbers = append(numbers, number)
		}
	}
	if len(numbers) > 0 {
		slices.Sort(numbers)
		return &Mixed{Set: other.sets[numbers[0]][0], Other: p.sets[numbers[0]][0], Numbers: numbers}
	}
	for number, sets := range other.sets {
		for _, s := range sets {
			p.Add(s, number)
		}
	}
	return nil
}

// CommittedSources are the sources of the dataset in dir, those of an interrupted run included,
// by their numbers; none if there is no dataset.
func CommittedSources(dir string) ([]SourceInfo, error) {
	var sources []SourceInfo
	err := eachCommitted(context.Background(), dir, func(m *cropManifest) error {
		sources = append(sources, m.Sources...)
		return nil
	})
	return sources, err
}

// CommittedPeople visits the crops of the dataset in dir, those of an interrupted run included:
// the source of each, and the identity where it has one.
func CommittedPeople(ctx context.Context, dir string, visit func(source int, identity string)) error {
	return eachCommitted(ctx, dir, func(m *cropManifest) error {
		f, err := openCropFile(filepath.Join(dir, cropsFolder, table.ArrowName(m.Shard)), m.File, m.Contract, m.Version)
		if err != nil {
			return err
		}
		return f.eachPerson(visit)
	})
}

// EachPerson visits the crops that have an identity, with their sources. It reads the columns of
// all shards, no images.
func (d *Dataset) EachPerson(ctx context.Context, visit func(source int, identity string)) error {
	for i := range d.shards {
		f, err := d.openCrops(i)
		if err == nil {
			err = errors.Join(ctx.Err(), f.eachPerson(visit))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachPerson visits the rows that have an identity, and closes the file.
func (f *cropFile) eachPerson(visit func(source int, identity string)) error {
	return f.eachColumns(func(c *cropColumns) error {
		for k := range c.rows() {
			if name := c.identity.Value(k); name != "" {
				visit(int(c.source.Value(k)), name)
			}
		}
		return nil
	})
}

// eachCommitted visits the manifests of a dataset in their order.
func eachCommitted(ctx context.Context, dir string, visit func(*cropManifest) error) error {
	crops := filepath.Join(dir, cropsFolder)
	n, err := countManifests(crops)
	for shard := 0; shard < n && err == nil; shard++ {
		var m *cropManifest
		if m, err = readCropManifest(crops, shard); err == nil {
			err = errors.Join(ctx.Err(), visit(m))
		}
	}
	return err
}
