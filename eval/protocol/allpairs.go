package protocol

import (
	"context"
	"fmt"
	"slices"

	"facepipe/eval/faces"
	"facepipe/eval/identification"
	"facepipe/eval/pairlist"
	"facepipe/internal/filedigest"
	"facepipe/store"
)

// All stands for the file of [AllPairs] that leaves nothing out.
const All = "all"

// AllPairs compares every face that has an identity with every other, as MFR does.
var AllPairs = Kind{
	Name: "all-pairs", About: "compare every crop with every other: all, or a `file` of images to leave out",
	Help: `every crop of an identity with every other crop, as MFR-ALL does: TAR at FAR 1e-6 and so on.
all compares all; a file names images to leave out, a key on each line.`,
	WholeSet: true,
	Load:     loadAllPairs,
}

// LargestFAR is the largest false accept rate that is told of [AllPairs] and [MegaFace]: only
// scores that it needs are counted.
const LargestFAR = 1e-3

// allPairsFARs are what is told of all pairs; MFR-ALL tells 1e-6.
var allPairsFARs = []float64{1e-7, 1e-6, 1e-5, 1e-4, LargestFAR}

// everyone is the faces of a set that have an identity, with these.
type everyone struct {
	faces       []int
	labels      []int32
	unlabelled  int
	description Description
}

func loadAllPairs(ctx context.Context, set faces.Set, path string, o Options) (Protocol, error) {
	labels, err := set.Labels(ctx)
	if err != nil {
		return nil, err
	}
	e := &everyone{description: Description{Path: path, Format: "all-pairs", Missing: []string{}}}
	out := map[int]bool{}
	if path != All {
		names, err := readNames(path)
		if err != nil {
			return nil, err
		}
		if e.description.Digest, err = filedigest.Of(path); err != nil {
			return nil, err
		}
		places, err := locate(ctx, set, &e.description, imagesNamed(names), o.AllowMissing)
		if err != nil {
			return nil, err
		}
		for _, place := range places {
			out[place] = true
		}
		delete(out, absent)
		e.note("Left out", "%d images of %s were left out", len(out), path)
	}
	for place, label := range labels {
		switch {
		case out[place]:
		case label == store.NoLabel:
			e.unlabelled++
		default:
			e.faces, e.labels = append(e.faces, place), append(e.labels, label)
		}
	}
	if len(e.faces) == 0 {
		return nil, fmt.Errorf("all pairs of %s: no face has an identity", set.Describe().Path)
	}
	if e.unlabelled > 0 {
		e.note("Unlabelled", "%d crops have no identity and were left out", e.unlabelled)
	}
	n := len(e.faces)
	e.description.Listed, e.description.Used, e.description.Crops = n*(n-1)/2, n*(n-1)/2, n
	return e, nil
}

// note adds to what readers of a figure should know.
func (e *everyone) note(about, format string, args ...any) {
	e.description.Notes = append(e.description.Notes, Note{about, fmt.Sprintf(format, args...)})
}

// imagesNamed are images as a list names them.
func imagesNamed(names []string) []pairlist.Image {
	all := make([]pairlist.Image, len(names))
	for i, name := range names {
		all[i] = pairlist.Named(name)
	}
	return all
}

// Faces are those that have an identity.
func (e *everyone) Faces() []int { return e.faces }

// Persons are the first two faces of some identities.
func (e *everyone) Persons(n int) [][2]int { return persons(e.labels, n) }

// persons are pairs of places with the same label, one of each label.
func persons(labels []int32, n int) (all [][2]int) {
	first := map[int32]int{}
	for i, label := range labels {
		at, met := first[label]
		if !met {
			first[label] = i
			continue
		}
		if at >= 0 && len(all) < n && label != identification.NoIdentity {
			all = append(all, [2]int{at, i})
			first[label] = -1
		}
	}
	return all
}

// Evaluate compares all.
func (e *everyone) Evaluate(ctx context.Context, v Embeddings, s Settings) (Result, error) {
	found, err := identification.AllPairs(ctx, v, e.labels, identification.PairOptions{Targets: targets(s.FAR, allPairsFARs), Progress: s.Progress})
	if err != nil {
		return Result{}, err
	}
	found.Set, found.Counts["without_identity"] = e.description.Path, int64(e.unlabelled)
	return Result{Identification: &found}, nil
}

// targets are those that a protocol tells, with the smaller ones that are asked for.
func targets(asked, own []float64) []float64 {
	all := slices.Clone(own)
	for _, far := range asked {
		if far < slices.Max(own) && !slices.Contains(all, far) {
			all = append(all, far)
		}
	}
	slices.Sort(all)
	return all
}

// Describe says what is compared.
func (e *everyone) Describe() Description { return e.description }
