package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"facepipe/internal/imgcodec"
	"facepipe/internal/webdataset"
)

// imageKinds are the extensions of images, the one that is the photograph before those that may
// be something else.
var imageKinds = []string{
	"jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "ppm", "pgm", "pnm", "tif", "tiff", "gif", "avif", "heic", "heif", "jxl",
}

// maps are names of what is made of a photograph and lies beside it, as in 17.seg.png.
var maps = []string{
	"seg", "segm", "segmap", "segmentation", "semantic", "mask", "masks", "matte", "matting", "alpha", "parsing", "parse",
	"label", "labels", "annotation", "depth", "disparity", "normal", "normals", "heatmap", "saliency", "edge", "edges",
	"canny", "uv", "flow", "pose", "thumb", "thumbnail", "vis", "overlay",
}

// isImage says whether a member is an image by its content, or was to be one by its name.
func isImage(m *webdataset.Member) bool {
	_, kind := splitExtension(m)
	return slices.Contains(imageKinds, kind) || !isLabel(m) && imgcodec.Sniff(m.Head()) != imgcodec.Unknown
}

// isHousekeeping says whether a part of a path is one of those that systems keep for themselves.
func isHousekeeping(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool {
		return part != ".." && housekeeping(part) || part == "__MACOSX"
	})
}

// photographs are the images of a sample that show a face: of 17.jpg, 17.png, 17.seg.png the first.
//
//   - An image with nothing but its kind behind the sample's name is the photograph, a JPEG before
//     a PNG before others.
//   - One with a name of its own, such as 17.left.jpg or x_0.25.jpg, is a photograph, too, if
//     there is no such plain one, if labels have that name, or if it begins with a digit.
//   - One that is named a map, such as 17.mask.png, never is.
//
// Beside a photograph the other images are counted, and so are members that are neither images nor
// labels.
func photographs(s *webdataset.Sample, left *leftOut) []*webdataset.Member {
	plain := plainImage(s)
	var photos, images, fields []*webdataset.Member
	for i := range s.Members {
		m := &s.Members[i]
		part, _ := splitExtension(m)
		switch {
		case isLabel(m):
		case !isImage(m):
			fields = append(fields, m)
		case m == plain, part == "" && m.Name == plain.Name:
			photos = append(photos, m)
		case part == "" || isMap(part):
			images = append(images, m)
		case plain == nil || part[0] >= '0' && part[0] <= '9' || hasLabel(s, part):
			photos = append(photos, m)
		default:
			images = append(images, m)
		}
	}
	if len(photos) > 0 { // otherwise the sample is refused
		left.images.add(images)
		left.fields.add(fields)
	}
	return photos
}

// plainImage is the first image by its kind that has only a kind; nil if none has.
func plainImage(s *webdataset.Sample) (plain *webdataset.Member) {
	rank := func(m *webdataset.Member) int {
		_, kind := splitExtension(m)
		if i := slices.Index(imageKinds, kind); i >= 0 {
			return i
		}
		return len(imageKinds)
	}
	for i := range s.Members {
		m := &s.Members[i]
		if part, _ := splitExtension(m); part == "" && isImage(m) && (plain == nil || rank(m) < rank(plain)) {
			plain = m
		}
	}
	return plain
}

// isMap says whether a part of a sample is named after a map: seg of 17.seg.png, and the mask of
// 17.face_mask.png.
func isMap(part string) bool {
	words := strings.FieldsFunc(part, func(r rune) bool { return r == '.' || r == '_' || r == '-' })
	return len(words) > 0 && slices.Contains(maps, words[len(words)-1])
}

// hasLabel says whether a sample has labels of one of its parts.
func hasLabel(s *webdataset.Sample, part string) bool {
	return slices.ContainsFunc(s.Members, func(m webdataset.Member) bool {
		own, _ := splitExtension(&m)
		return own == part && isLabel(&m)
	})
}

// lacksImage says why a sample without a photograph is refused; nil if it is a text or nothing.
func lacksImage(s *webdataset.Sample) error {
	if labelled(s) {
		return errors.New("sample has a label and no image")
	}
	var others []string
	for i := range s.Members {
		if m := &s.Members[i]; !isLabel(m) {
			others = append(others, memberKind(m))
		}
	}
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("sample has no photograph, only %s", strings.Join(others, ", "))
}

// memberKind is what messages call a member's extension.
func memberKind(m *webdataset.Member) string {
	if m.Extension == "" {
		return "a member without an extension"
	}
	return "." + escapeName(m.Extension)
}

// leftOut counts the members that were passed over.
type leftOut struct{ images, fields kindCount }

func (l *leftOut) notices() (out []string) {
	if l.images.total > 0 {
		out = append(out, fmt.Sprintf("%d images beside a photograph of the same name are left out: %s", l.images.total, l.images.String()))
	}
	if l.fields.total > 0 {
		out = append(out, fmt.Sprintf("%d members are neither images nor labels and are passed over: %s", l.fields.total, l.fields.String()))
	}
	return out
}

// kindCount counts members, and some of their extensions.
type kindCount struct {
	total int
	kinds map[string]int
}

// maxKinds bounds the extensions that are told apart.
const maxKinds = 8

func (c *kindCount) add(members []*webdataset.Member) {
	if c.kinds == nil {
		c.kinds = map[string]int{}
	}
	for _, m := range members {
		c.total++
		if kind := memberKind(m); c.kinds[kind] > 0 || len(c.kinds) < maxKinds {
			c.kinds[kind]++
		}
	}
}

// String lists the extensions by how many members have them.
func (c *kindCount) String() string {
	var all []string
	named := 0
	for kind, n := range c.kinds {
		all = append(all, fmt.Sprintf("%d %s", n, kind))
		named += n
	}
	slices.Sort(all)
	if named < c.total {
		all = append(all, fmt.Sprintf("%d others", c.total-named))
	}
	return strings.Join(all, ", ")
}
