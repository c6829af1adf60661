package eval

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"facepipe/eval/faces"
	"facepipe/eval/overlap"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/store"
)

// overlapFile is the list of what a training set holds, in a report's folder.
const overlapFile = "overlap.csv"

// reportedHits is how many hits a report has, where the list has all.
const reportedHits = 1000

// shownHits is how many hits a report shows by their faces.
const shownHits = 24

// findOverlap looks for what a training set holds of all tests on the dataset, and gives these
// the comparisons without it.
func findOverlap(ctx context.Context, o Options, s *tests, r *report.Report) error {
	set, ok := s.common.(*faces.Dataset)
	if o.ExcludeOverlap == "" || !ok {
		return nil
	}
	var places []int
	for _, t := range s.all {
		if t.set == s.common {
			places = append(places, t.Faces()...)
		}
	}
	slices.Sort(places)
	places = slices.Compact(places)
	train, err := store.Open(o.ExcludeOverlap)
	if err != nil {
		return err
	}
	defer train.Close()
	found, err := overlap.Find(ctx, set.Dataset(), train, o.overlapTeacher(), places, overlap.Options{Progress: o.Progress})
	if err != nil {
		return fmt.Errorf("find what %s holds of the tests: %w", o.ExcludeOverlap, err)
	}
	r.Overlap = found
	for _, t := range s.all {
		v, ok := t.Protocol.(protocol.Verification)
		if t.set != s.common {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: a .bin file has no cache of %s, so that nobody knows what of it is in %s", t.name, o.overlapTeacher(), o.ExcludeOverlap))
			continue
		}
		if !ok || v.Pool(make([][]float32, len(t.Faces()))).Shown != nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: clean figures are those of lists of pairs alone", t.name))
			continue
		}
		dirty := make([]bool, len(t.Faces()))
		for i, place := range t.Faces() {
			at, _ := slices.BinarySearch(places, place)
			dirty[i] = found.Dirty[at]
		}
		t.clean = overlap.Clean(v, dirty)
	}
	if o.Out == "" {
		return nil
	}
	if err := found.WriteList(filepath.Join(o.Out, overlapFile)); err != nil {
		return err
	}
	if n := len(found.Hits) - reportedHits; n > 0 {
		found.Hits, found.Unlisted = found.Hits[:reportedHits], found.Unlisted+n
		found.Notes = append(found.Notes, fmt.Sprintf("%d hits more are in %s", n, overlapFile))
	}
	return writeHits(o, set, faces.Of(train), r)
}

// writeHits writes the faces of the first hits.
func writeHits(o Options, test, train *faces.Dataset, r *report.Report) error {
	sides := []struct {
		files faceFiles
		key   func(overlap.Hit) string
		to    func(*report.HitFaces) *string
	}{
		{faceFiles{out: o.Out, set: test}, func(h overlap.Hit) string { return h.TestKey }, func(f *report.HitFaces) *string { return &f.Test }},
		{faceFiles{out: o.Out, set: train}, func(h overlap.Hit) string { return h.TrainKey }, func(f *report.HitFaces) *string { return &f.Train }},
	}
	for _, h := range r.Overlap.Hits[:min(shownHits, len(r.Overlap.Hits))] {
		var shown report.HitFaces
		for i := range sides {
			side := &sides[i]
			place, ok, err := side.files.set.Find(side.key(h))
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if *side.to(&shown), err = side.files.write(place); err != nil {
				return err
			}
		}
		r.OverlapFaces = append(r.OverlapFaces, shown)
	}
	return nil
}
