package source

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"facepipe/ingest/align"
)

// columns say which cell of a row holds what.
type columns struct {
	names      []string // as they are written, without surrounding spaces
	pathAt     int
	identityAt int // -1 if there is none, as the next ones
	splitAt    int
	box        boxColumns
	points     pointColumns
	attributes []int
}

// entry is what a row says of a photograph, besides where it is.
type entry struct {
	identity, split string
	landmarks       *align.Landmarks
	five            bool // the landmarks are the five of the row, not some of 68
	box             *Box
	attributes      []Attribute
}

// Names of columns, spelled as [spelling] does. If a table has several, the first in the list
// counts and the others are attributes.
var (
	pathNames      = []string{"path", "filepath", "imagepath", "imgpath", "file", "filename", "image", "img", "imagefile", "imagename", "photo", "imageid", "nameid"}
	identityNames  = []string{"identity", "person", "subject", "identityid", "personid", "subjectid", "identityname", "personname", "subjectname", "label", "class"}
	splitNames     = []string{"split", "subset", "partition"}
	landmarkNames  = []string{"landmarks", "landmark", "landmarks5", "landmarks68", "keypoints", "facialpoints", "kps", "lmks", "points"}
	sizedBoxNames  = []string{"box", "bbox", "facebox", "boxxywh", "bboxxywh"}
	cornerBoxNames = []string{"boxxyxy", "bboxxyxy"}
)

// boxPrefixes may stand before the names of a box's columns.
var boxPrefixes = []string{"", "box", "bbox", "face"}

// boxLayouts are the names of a box's columns: two for a corner, and two for the opposite corner
// or the size.
var boxLayouts = []struct {
	names   [4]string
	corners bool
}{
	{[4]string{"x1", "y1", "x2", "y2"}, true},
	{[4]string{"xmin", "ymin", "xmax", "ymax"}, true},
	{[4]string{"left", "top", "right", "bottom"}, true},
	{[4]string{"x", "y", "w", "h"}, false},
	{[4]string{"x", "y", "width", "height"}, false},
	{[4]string{"x1", "y1", "w", "h"}, false},
	{[4]string{"x1", "y1", "width", "height"}, false},
	{[4]string{"left", "top", "w", "h"}, false},
	{[4]string{"left", "top", "width", "height"}, false},
}

// namedPoints are names of the points of [align.Landmarks]; left and right are the image's.
var namedPoints = [][]string{
	{"lefteye", "righteye", "nose", "leftmouth", "rightmouth"},
	{"lefteye", "righteye", "nose", "mouthleft", "mouthright"},
	{"lefteye", "righteye", "nose", "leftmouthcorner", "rightmouthcorner"},
	{"eyeleft", "eyeright", "nose", "mouthleft", "mouthright"},
}

// boxColumns are the columns of a box.
type boxColumns struct {
	at      []int // four columns of a number each, or one of four numbers; none without a box
	corners bool  // two opposite corners, not one corner and the size
}

// pointColumns are the columns of landmarks, x and y in turn: ten or 136 columns of a number
// each, or one that holds all; none without landmarks.
type pointColumns struct{ at []int }

// spelling is a column's name without case, spaces, dashes, dots and underscores.
func spelling(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t_-.", r) {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

// columnFinder hands out the columns of a header, each once.
type columnFinder struct {
	byName map[string][]int
	taken  []bool
}

func newColumnFinder(names []string) (*columnFinder, error) {
	f := &columnFinder{byName: map[string][]int{}, taken: make([]bool, len(names))}
	for i, name := range names {
		if first := slices.Index(names, name); first < i {
			return nil, fmt.Errorf("columns %d and %d are both called %q", first+1, i+1, name)
		}
		f.byName[spelling(name)] = append(f.byName[spelling(name)], i)
	}
	return f, nil
}

// one takes the column with the first of the names that the header has, -1 if it has none.
func (f *columnFinder) one(names []string) (int, error) {
	for _, name := range names {
		at, err := f.all([]string{name})
		if err != nil {
			return -1, err
		}
		if at != nil {
			return at[0], nil
		}
	}
	return -1, nil
}

// all takes the columns of all names, or none if one is missing.
func (f *columnFinder) all(names []string) ([]int, error) {
	var at []int
	for _, name := range names {
		found := f.byName[name]
		if len(found) == 0 || f.taken[found[0]] {
			return nil, nil
		}
		at = append(at, found...)
	}
	if len(at) > len(names) {
		return nil, fmt.Errorf("several columns mean %s", strings.Join(names, ", "))
	}
	for _, i := range at {
		f.taken[i] = true
	}
	return at, nil
}

// resolveColumns says which columns of a header hold what:
//
//	path                     the photograph's file; the one column that must be there.
//	                         Also file path, image path, img path, file, filename,
//	                         image, img, image file, image name, photo, image id, name id
//	identity                 who it shows. Also person, subject, each also with id or
//	                         name behind it, label, class
//	split                    also subset, partition
//	x y w h, x1 y1 x2 y2     the face's box: a corner and the size, or two corners, in
//	                         pixels of the upright photograph. Also x y width height;
//	                         x1 y1 and left top with either; xmin ymin xmax ymax; left
//	                         top right bottom; all also with box, bbox or face before
//	                         them. Or four numbers in one column, box or bbox (x y w h),
//	                         box_xyxy or bbox_xyxy (corners)
//	x0 y0 ... x4 y4          landmarks in the order of [align.Landmarks], also numbered
//	                         from 1, and as P1X P1Y ... Or lefteye_x lefteye_y, righteye,
//	                         nose, leftmouth or mouthleft, rightmouth or mouthright, where
//	                         left is the image's left
//	x0 y0 ... x67 y67        68 landmarks in iBUG's order, also numbered from 1
//	landmarks                10 or 136 numbers in one column. Also landmark, landmarks5,
//	                         landmarks68, keypoints, kps, lmks, points
//
// Case, spaces, dashes, dots and underscores in names do not count. Every other column
// is an attribute. Numbers in one column are separated by spaces, commas or semicolons
// and may stand in brackets.
//
// A coordinate that belongs to no complete set is refused: a missing column must not turn
// landmarks into attributes.
func resolveColumns(header []string) (*columns, error) {
	c := &columns{names: make([]string, len(header))}
	for i, name := range header {
		c.names[i] = strings.TrimSpace(name)
		if c.names[i] == "" {
			c.names[i] = fmt.Sprintf("column %d", i+1)
		}
	}
	f, err := newColumnFinder(c.names)
	if err != nil {
		return nil, err
	}
	for _, single := range []struct {
		at    *int
		names []string
	}{{&c.pathAt, pathNames}, {&c.identityAt, identityNames}, {&c.splitAt, splitNames}} {
		if *single.at, err = f.one(single.names); err != nil {
			return nil, err
		}
	}
	if c.pathAt < 0 {
		return nil, errors.New("no column is called path, or one of its other names")
	}
	// Landmarks before boxes: x1 y1 x2 y2 are part of either.
	if c.points, err = f.points(); err != nil {
		return nil, err
	}
	if c.box, err = f.boxes(); err != nil {
		return nil, err
	}
	for i, taken := range f.taken {
		if taken {
			continue
		}
		name := spelling(c.names[i])
		if numberedCoordinate.MatchString(name) || c.points.at == nil && namedCoordinate.MatchString(name) {
			return nil, fmt.Errorf("column %q belongs to no complete set of coordinates: want x0,y0 to x4,y4 or to x67,y67, x1,y1,x2,y2, or x and y of lefteye, righteye, nose, leftmouth and rightmouth", c.names[i])
		}
		c.attributes = append(c.attributes, i)
	}
	return c, nil
}

// numberedCoordinate and namedCoordinate are spellings of coordinates of landmarks.
var (
	numberedCoordinate = regexp.MustCompile(`^([xy][0-9]+|p[0-9]+[xy])$`)
	namedCoordinate    = regexp.MustCompile(`^((left|right)(eye|mouth|mouthcorner)|(eye|mouth)(left|right)|nose|nosetip)[xy]$`)
)

// points finds the columns of landmarks.
func (f *columnFinder) points() (pointColumns, error) {
	var layouts [][]string
	for _, n := range []int{ibugPoints, len(align.Landmarks{})} {
		for _, first := range []int{0, 1} {
			var names, points []string
			for i := first; i < first+n; i++ {
				names = append(names, fmt.Sprintf("x%d", i), fmt.Sprintf("y%d", i))
				points = append(points, fmt.Sprintf("p%dx", i), fmt.Sprintf("p%dy", i))
			}
			layouts = append(layouts, names, points)
		}
	}
	for _, set := range namedPoints {
		// Of the nose there is one point, but detectors call it by several names.
		for _, nose := range []string{"nose", "nosetip"} {
			var names []string
			for _, point := range set {
				if point == "nose" {
					point = nose
				}
				names = append(names, point+"x", point+"y")
			}
			layouts = append(layouts, names)
		}
	}
	for _, names := range layouts {
		if at, err := f.all(names); at != nil || err != nil {
			return pointColumns{at}, err
		}
	}
	at, err := f.one(landmarkNames)
	if at < 0 || err != nil {
		return pointColumns{}, err
	}
	return pointColumns{[]int{at}}, nil
}

// boxes finds the columns of a box.
func (f *columnFinder) boxes() (boxColumns, error) {
	for _, prefix := range boxPrefixes {
		for _, layout := range boxLayouts {
			var names []string
			for _, name := range layout.names {
				names = append(names, prefix+name)
			}
			if at, err := f.all(names); at != nil || err != nil {
				return boxColumns{at, layout.corners}, err
			}
		}
	}
	for _, corners := range []bool{false, true} {
		names := sizedBoxNames
		if corners {
			names = cornerBoxNames
		}
		if at, err := f.one(names); at >= 0 || err != nil {
			return boxColumns{[]int{at}, corners}, err
		}
	}
	return boxColumns{}, nil
}

// named says whether the columns are those of these names.
func (c *columns) named(names []string) bool { return slices.Equal(c.names, names) }

// fit refuses a row that has not as many cells as the header.
func (c *columns) fit(cells []string) error {
	if len(cells) != len(c.names) {
		return fmt.Errorf("has %d cells, the header has %d", len(cells), len(c.names))
	}
	return nil
}

func (c *columns) path(cells []string) string { return cells[c.pathAt] }

// entry reads a row's cells. Empty ones say nothing.
func (c *columns) entry(cells []string) (e entry, err error) {
	if c.identityAt >= 0 {
		e.identity = strings.TrimSpace(cells[c.identityAt])
	}
	if c.splitAt >= 0 {
		e.split = validText(strings.TrimSpace(cells[c.splitAt]))
	}
	for _, i := range c.attributes {
		e.attributes = append(e.attributes, Attribute{Name: validText(c.names[i]), Value: validText(cells[i])})
	}
	if e.landmarks, e.five, err = c.points.read(c.names, cells); err != nil {
		return entry{}, err
	}
	if e.box, err = c.box.read(c.names, cells); err != nil {
		return entry{}, err
	}
	return e, nil
}

// read returns a row's landmarks, nil if it has none. five says that the row has these only.
func (p pointColumns) read(names, cells []string) (l *align.Landmarks, five bool, err error) {
	v, err := numbers(p.at, names, cells)
	if v == nil || err != nil {
		return nil, false, err
	}
	l = new(align.Landmarks)
	switch len(v) {
	case 2 * len(l):
		*l, five = align.Order{}.Face(v), true
	case 2 * ibugPoints:
		*l = fiveOfIBUG([2 * ibugPoints]float64(v))
	default:
		return nil, false, fmt.Errorf("has %d numbers for landmarks, want %d or %d", len(v), 2*len(l), 2*ibugPoints)
	}
	return l, five, nil
}

// read returns a row's box, nil if it has none.
func (b boxColumns) read(names, cells []string) (*Box, error) {
	v, err := numbers(b.at, names, cells)
	if v == nil || err != nil {
		return nil, err
	}
	if len(v) != 4 {
		return nil, fmt.Errorf("has %d numbers for a box, want 4", len(v))
	}
	box := Box{X: v[0], Y: v[1], W: v[2], H: v[3]}
	if b.corners {
		box.W, box.H = v[2]-v[0], v[3]-v[1]
	}
	if !(box.W > 0 && box.H > 0) || math.IsInf(box.W+box.H, 0) {
		return nil, fmt.Errorf("has a box of %g by %g pixels", box.W, box.H)
	}
	return &box, nil
}

// numbers reads the numbers in some cells, one in each or all in a single cell; nil if all cells
// are empty.
func numbers(at []int, names, cells []string) ([]float64, error) {
	var values []float64
	empty := -1
	for _, i := range at {
		fields := []string{strings.TrimSpace(cells[i])}
		if len(at) == 1 {
			fields = strings.FieldsFunc(cells[i], func(r rune) bool { return strings.ContainsRune(" \t\r\n,;[](){}", r) })
		}
		if len(fields) == 0 || fields[0] == "" {
			empty = i
			continue
		}
		for _, field := range fields {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("column %q: %q is not a number", names[i], shorten(field))
			}
			values = append(values, v)
		}
	}
	if values != nil && empty >= 0 {
		return nil, fmt.Errorf("column %q is empty, others of its set are not", names[empty])
	}
	return values, nil
}

// shorten keeps a quotation in an error readable.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// validText is text as it is, or escaped if it is no valid UTF-8.
func validText(s string) string {
	if strings.ToValidUTF8(s, "") == s {
		return s
	}
	return escapeName(s)
}
