package protocol

import (
	"context"
	"fmt"
	"path"
	"strings"

	"golang.org/x/text/unicode/norm"

	"facepipe/eval/faces"
	"facepipe/eval/pairlist"
)

// matcher finds the dataset's keys for images whose names are no keys as they stand.
//
// Names are compared in one writing (slashes, no ./, composed accents) and without their
// extension. If not one name is a key as it stands, folders in front count no more: those
// that only keys have, and as many as need be of those that only the list has. Both at once
// must be the same for all names or for all keys, lest one person's folder be taken for
// another's. A name is matched if a single key is the nearest to it and no other name's.
type matcher struct {
	set    faces.Set
	images []pairlist.Image
	found  bool // some names are keys as they stand
	drop   int  // folders that are dropped in front of names
	varied bool // not the same ones of all names
	groups map[string]*group
}

// group is the images whose names are compared as one, and the key nearest to them.
type group struct {
	ext   string // of their names; "" if the list leaves it open
	mixed bool   // their names are not of one image
	name  string // in one writing
	key   string
	how   int
	rival string // another key as near
}

// How a key differs from a name, the nearer the smaller.
const (
	inWriting   = 0
	inExtension = 1
	inFolders   = 2
)

// match finds keys for the images that have none yet. It returns them by image.
func (m *matcher) match(ctx context.Context) (map[int]*group, error) {
	for deepest := m.begin(0); ; m.begin(m.drop + 1) {
		if err := m.set.EachKey(ctx, m.offer); err != nil {
			return nil, err
		}
		if matched := m.matched(); len(matched) > 0 || m.found || m.drop >= deepest {
			return matched, nil
		}
	}
}

// begin groups the images' names without so many folders. It returns how many folders the
// deepest name has.
func (m *matcher) begin(drop int) (deepest int) {
	m.drop, m.varied, m.groups = drop, false, make(map[string]*group, len(m.images))
	first := ""
	for i, image := range m.images {
		whole, stem, ext := m.parts(image)
		dropped := strings.TrimSuffix(strings.TrimSuffix(whole, ext), stem)
		if i == 0 {
			first = dropped
		}
		m.varied = m.varied || dropped != first
		deepest = max(deepest, strings.Count(whole, "/"))
		g := m.groups[stem]
		if g == nil {
			m.groups[stem] = &group{ext: ext, name: whole}
			continue
		}
		g.mixed = g.mixed || g.name != whole
	}
	return deepest
}

// parts are an image's name in one writing, that without folders and extension, and the
// extension.
func (m *matcher) parts(image pairlist.Image) (whole, stem, ext string) {
	whole = oneWriting(image.String())
	stem = whole
	if !image.Stem() {
		stem, ext = cutExtension(whole)
	}
	for range m.drop {
		if _, below, ok := strings.Cut(stem, "/"); ok {
			stem = below
		}
	}
	return whole, stem, ext
}

// offer compares a key with the names that it may be meant by.
func (m *matcher) offer(key string) error {
	stem, ext := cutExtension(oneWriting(key))
	how := inWriting
	for {
		if g := m.groups[stem]; g != nil {
			g.offer(key, how, ext)
		}
		_, below, ok := strings.Cut(stem, "/")
		if !ok || m.found {
			return nil
		}
		stem, how = below, inFolders
	}
}

func (g *group) offer(key string, how int, ext string) {
	if g.ext != "" && !strings.EqualFold(g.ext, ext) {
		how += inExtension
	}
	switch {
	case g.key == "" || how < g.how:
		g.key, g.how, g.rival = strings.Clone(key), how, ""
	case how == g.how && key != g.key:
		g.rival = strings.Clone(key)
	}
}

// matched are the groups that have a key of their own, by image.
func (m *matcher) matched() map[int]*group {
	owners := map[string]*group{}
	for _, g := range m.groups {
		if other := owners[g.key]; other == nil || g.how < other.how {
			owners[g.key] = g
		}
	}
	for _, g := range m.groups {
		if other := owners[g.key]; g.key != "" && other != g {
			g.mixed = true
			other.mixed = other.mixed || g.how == other.how
		}
	}
	matched, fronts := map[int]*group{}, map[string]bool{}
	for i, image := range m.images {
		_, stem, _ := m.parts(image)
		if g := m.groups[stem]; g.key != "" && g.rival == "" && !g.mixed {
			matched[i] = g
			whole, _ := cutExtension(oneWriting(g.key))
			fronts[strings.TrimSuffix(whole, stem)] = true
		}
	}
	if m.varied && len(fronts) > 1 {
		return nil
	}
	return matched
}

// rivals are two keys that an image may mean as well as each other, if that is why it has
// none.
func (m *matcher) rivals(image pairlist.Image) []string {
	_, stem, _ := m.parts(image)
	if g := m.groups[stem]; g.rival != "" {
		return []string{g.key, g.rival}
	}
	return nil
}

// liberty says how a match differs from the name, and from what m drops.
func (m *matcher) liberty(g *group) string {
	var ways []string
	if m.drop > 0 {
		ways = append(ways, "without the list's folders in front")
	}
	if g.how&inFolders != 0 {
		ways = append(ways, "below the dataset's folders in front")
	}
	if g.how&inExtension != 0 {
		ways = append(ways, "with another extension")
	}
	if len(ways) == 0 {
		return "in another writing of the path or its accents"
	}
	return strings.Join(ways, " and ")
}

// oneWriting is a name as a dataset's keys are written: relative, with slashes, and with
// accents composed.
func oneWriting(name string) string {
	name = strings.ReplaceAll(strings.TrimPrefix(name, "file://"), `\`, "/")
	if len(name) > 2 && name[1] == ':' && name[2] == '/' { // a drive
		name = name[2:]
	}
	return norm.NFC.String(strings.TrimPrefix(path.Clean("/"+name), "/"))
}

// imageExtensions are those that are no part of a photograph's name.
var imageExtensions = map[string]bool{
	".jpg": true, ".jpeg": true, ".jpe": true, ".jfif": true, ".png": true, ".webp": true, ".bmp": true, ".gif": true,
	".tif": true, ".tiff": true, ".avif": true, ".pgm": true, ".ppm": true,
}

func cutExtension(name string) (stem, ext string) {
	ext = path.Ext(name)
	if !imageExtensions[strings.ToLower(ext)] {
		return name, ""
	}
	return strings.TrimSuffix(name, ext), ext
}

// nearestKey is the key most like a name: that which has most pairs of neighbouring letters
// in common with it, for its length.
func nearestKey(ctx context.Context, set faces.Set, name string) (best string, err error) {
	want := map[string]int{}
	name = strings.ToLower(oneWriting(name))
	for i := range len(name) - 1 {
		want[name[i:i+2]]++
	}
	most := -1.0
	left := map[string]int{}
	err = set.EachKey(ctx, func(key string) error {
		clear(left)
		common := 0
		small := strings.ToLower(oneWriting(key))
		for i := range len(small) - 1 {
			two := small[i : i+2]
			if left[two]++; left[two] <= want[two] {
				common++
			}
		}
		if like := float64(common) / float64(len(name)+len(small)); like > most {
			best, most = strings.Clone(key), like
		}
		return nil
	})
	return best, err
}

// describe says which names were matched by guess, one note for each liberty.
func (m *matcher) describe(matched map[int]*group) []Note {
	count, first := map[string]int{}, map[string]string{}
	var order []string
	for i, image := range m.images {
		g := matched[i]
		if g == nil {
			continue
		}
		way := m.liberty(g)
		if count[way]++; count[way] == 1 {
			first[way] = fmt.Sprintf("%s is read as the key %s", image, g.key)
			order = append(order, way)
		}
	}
	var notes []Note
	for _, way := range order {
		notes = append(notes, Note{"Guess", fmt.Sprintf("%d of %d images are matched %s: %s", count[way], len(m.images), way, first[way])})
	}
	return notes
}
