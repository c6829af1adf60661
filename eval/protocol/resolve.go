package protocol

import (
	"context"

	"facepipe/eval/faces"
	"facepipe/eval/pairlist"
)

// absent stands for the place of an image that is not in the set.
const absent = -1

// resolved are a list's images as a set has them.
type resolved struct {
	places  []int    // of every image, or absent
	missing []string // images that are absent
	rivals  []string // keys that the first of these may mean
	notes   []Note   // what was guessed
}

// Resolve is the place in a set of every name, -1 where it has none, by the same rules as a pair
// list's names are found. notes say what was guessed, and are nil if nothing was.
func Resolve(ctx context.Context, set faces.Set, names []string) (places []int, notes []Note, err error) {
	images := make([]pairlist.Image, len(names))
	for i, name := range names {
		images[i] = pairlist.Named(name)
	}
	r, err := resolve(ctx, set, images)
	return r.places, r.notes, err
}

// resolve finds images by their keys and, where some are not keys as they stand, by guesses.
func resolve(ctx context.Context, set faces.Set, images []pairlist.Image) (r resolved, err error) {
	r.places = make([]int, len(images))
	lacking := 0
	for i, image := range images {
		if r.places[i], err = placeOf(set, image); err != nil {
			return r, err
		}
		if r.places[i] == absent {
			lacking++
		}
	}
	if lacking == 0 {
		return r, nil
	}
	err = r.guess(ctx, set, images, lacking < len(images))
	return r, err
}

// guess fills in the places of images whose names are no keys as they stand; found says whether
// some are.
func (r *resolved) guess(ctx context.Context, set faces.Set, images []pairlist.Image, found bool) error {
	m := &matcher{set: set, images: images, found: found}
	matched, err := m.match(ctx)
	if err != nil {
		return err
	}
	for i, image := range images {
		g := matched[i]
		if r.places[i] != absent {
			delete(matched, i)
			continue
		}
		if g == nil {
			r.missing = append(r.missing, image.String())
			if len(r.missing) == 1 {
				r.rivals = m.rivals(image)
			}
			continue
		}
		if r.places[i], _, err = set.Find(g.key); err != nil {
			return err
		}
	}
	r.notes = m.describe(matched)
	return nil
}

func placeOf(set faces.Set, image pairlist.Image) (int, error) {
	for _, key := range image.Keys() {
		if place, ok, err := set.Find(key); ok || err != nil {
			return place, err
		}
	}
	return absent, nil
}
