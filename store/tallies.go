package store

import (
	"cmp"
	"context"
	"maps"
	"math/bits"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/store/internal/table"
)

// SourceContent is what came from one source.
type SourceContent struct {
	SourceInfo
	Rows       int `json:"rows"`
	Duplicates int `json:"duplicates"`
	Rejects    int `json:"rejects"`
}

// Tallies count what the shards of a dataset hold.
type Tallies struct {
	// CropBytes is the size of the crop shards, without manifests.
	CropBytes int64
	// Encodings counts the crops by the format of their images.
	Encodings map[string]int
	// Splits counts the crops by their split, "" for those in none. After the first
	// thousand, further splits are counted together as "...".
	Splits     map[string]int
	Sources    []SourceContent
	Identities IdentityInfo
	Rejects    []StageRejects
}

// Tallies reads all manifests and what describes the crops, no images. [ErrDamaged].
func (d *Dataset) Tallies(ctx context.Context) (Tallies, error) {
	t := tally{dataset: d, images: make([]int, d.Identities())}
	t.Encodings, t.Splits = map[string]int{}, map[string]int{}
	for _, s := range d.Sources() {
		t.Sources = append(t.Sources, SourceContent{SourceInfo: s})
	}
	for shard := range d.Shards() {
		if err := ctx.Err(); err != nil {
			return t.Tallies, err
		}
		if err := t.shard(shard); err != nil {
			return t.Tallies, err
		}
	}
	t.Identities = identityInfo(t.images, t.nameless)
	t.Rejects = t.rejects.list()
	return t.Tallies, nil
}

// tally is what the counting of a dataset has come to.
type tally struct {
	Tallies
	dataset  *Dataset
	images   []int // of each identity
	nameless int   // crops without an identity
	rejects  rejectTally
}

func (t *tally) shard(i int) error {
	m, err := t.dataset.readManifest(i)
	if err != nil {
		return err
	}
	path := filepath.Join(t.dataset.dir, cropsFolder, table.ManifestName(i))
	for _, dup := range m.Duplicates {
		s, err := t.source(path, dup.Source)
		if err != nil {
			return err
		}
		s.Duplicates++
	}
	for _, r := range t.dataset.superseded.left(m) {
		s, err := t.source(path, r.Source)
		if err != nil {
			return err
		}
		s.Rejects++
		t.rejects.add(r.Stage, r.Reason)
	}
	if m.File != nil {
		t.CropBytes += m.File.Bytes
	}
	f, err := t.dataset.openCrops(i)
	if err != nil {
		return err
	}
	return f.eachColumns(func(c *cropColumns) error {
		for k := range c.rows() {
			if err := t.crop(f.Path, c, k); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tally) crop(path string, c *cropColumns, k int) error {
	s, err := t.source(path, int(c.source.Value(k)))
	if err != nil {
		return err
	}
	s.Rows++
	t.Encodings[string(encodingOf(c.encoding.Value(k)))]++
	t.split(c.splitAt(k))
	switch label := int(c.label.Value(k)); {
	case label == int(NoLabel):
		t.nameless++
	case label < 0 || label >= len(t.images):
		return table.Damaged(path, "crop %q has label %d of %d", c.key.Value(k), label, len(t.images))
	default:
		t.images[label]++
	}
	return nil
}

// maxSplitsCounted bounds what names of splits take: a file may give each row its own.
const maxSplitsCounted = 1000

func (t *tally) split(name string) {
	if _, known := t.Splits[name]; !known && len(t.Splits) >= maxSplitsCounted {
		name = "..."
	}
	t.Splits[strings.Clone(name)]++
}

func (t *tally) source(path string, number int) (*SourceContent, error) {
	if number < 0 || number >= len(t.Sources) {
		return nil, table.Damaged(path, "names source %d of %d", number, len(t.Sources))
	}
	return &t.Sources[number], nil
}

// IdentityInfo says how many images the people of a dataset have.
type IdentityInfo struct {
	// Count is the number of identities, Nameless that of crops without one.
	Count    int `json:"count"`
	Nameless int `json:"nameless"`
	// Min, Median (the lower one of two) and Max are of the images an identity has; 0
	// without identities.
	Min    int `json:"min"`
	Median int `json:"median"`
	Max    int `json:"max"`
	// Histogram counts the identities that have 1, 2-3, 4-7, 8-15 ... images, up to Max.
	Histogram []HistogramBin `json:"histogram"`
}

// HistogramBin counts the identities that have From to To images.
type HistogramBin struct {
	From       int `json:"from"`
	To         int `json:"to"`
	Identities int `json:"identities"`
}

// identityInfo sums up the numbers of images of all identities, which it sorts.
func identityInfo(images []int, nameless int) IdentityInfo {
	info := IdentityInfo{Count: len(images), Nameless: nameless, Histogram: []HistogramBin{}}
	if len(images) == 0 {
		return info
	}
	slices.Sort(images)
	info.Min, info.Median, info.Max = images[0], images[(len(images)-1)/2], images[len(images)-1]
	for from := 1; from <= info.Max; from *= 2 {
		info.Histogram = append(info.Histogram, HistogramBin{From: from, To: 2*from - 1})
	}
	for _, n := range images {
		if n > 0 {
			info.Histogram[bits.Len(uint(n))-1].Identities++
		}
	}
	return info
}

// StageRejects are the rejects of one stage.
type StageRejects struct {
	Stage string `json:"stage"`
	Count int    `json:"count"`
	// Reasons are the most frequent ones, in their order.
	Reasons []ReasonCount `json:"reasons"`
}

// ReasonCount is a reason and how often it was given.
type ReasonCount struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Reasons may name sizes and offsets, so that there can be as many as rejects.
const (
	maxReasonsKept   = 1000 // of a stage, in memory
	maxReasonsListed = 8
)

// rejectTally counts rejects by stage and reason.
type rejectTally map[string]*stageTally

type stageTally struct {
	count   int
	reasons map[string]int
}

func (t *rejectTally) add(stage, reason string) {
	if *t == nil {
		*t = rejectTally{}
	}
	s := (*t)[stage]
	if s == nil {
		s = &stageTally{reasons: map[string]int{}}
		(*t)[stage] = s
	}
	s.count++
	if _, known := s.reasons[reason]; known || len(s.reasons) < maxReasonsKept {
		s.reasons[reason]++
	}
}

// list is the tally, stages by name.
func (t *rejectTally) list() []StageRejects {
	list := []StageRejects{}
	for _, stage := range slices.Sorted(maps.Keys(*t)) {
		s := (*t)[stage]
		all := make([]ReasonCount, 0, len(s.reasons))
		for reason, n := range s.reasons {
			all = append(all, ReasonCount{reason, n})
		}
		slices.SortFunc(all, func(a, b ReasonCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
		})
		list = append(list, StageRejects{Stage: stage, Count: s.count, Reasons: all[:min(len(all), maxReasonsListed)]})
	}
	return list
}
