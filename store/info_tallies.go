package store

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
)

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
