package ijb

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Endings of the files' names after the set's.
const (
	facesFile    = "_face_tid_mid.txt"
	scoresFile   = "_name_5pts_score.txt"
	pairsFile    = "_template_pair_label.txt"
	probesFile   = "_1N_probe_mixed.csv"
	galleryFiles = "_1N_gallery_*.csv"
)

// Meta says which images and templates there are.
type Meta struct {
	// Set is "ijbb", "ijbc", or what else stands before the files' names.
	Set string
	// Files are those that were read.
	Files []File
	// Images are the names of all images, in the order of the file.
	Images []string
	// Scores are the detector's of Images; nil without a file of them.
	Scores []float32
	// Templates are the numbers of all templates, ascending. Other numbers of templates are
	// places in them.
	Templates []int32
	// Notes say what of the files was not used.
	Notes []string

	dir    string
	faces  []face  // by template and media
	starts []int32 // of the templates' faces, and their end
	places places
}

// face is an image in a template.
type face struct{ image, template, media int32 }

// Open reads the images and templates of the benchmark in a folder: the one with the files, or one
// with a folder meta, or one with a single folder that has it. [ErrFormat].
func Open(dir string) (*Meta, error) {
	path, err := findSet(dir)
	if err != nil {
		return nil, err
	}
	m := &Meta{Set: strings.TrimSuffix(filepath.Base(path), facesFile), dir: filepath.Dir(path)}
	images, err := m.readFaces(path)
	if err != nil {
		return nil, err
	}
	return m, m.readScores(images)
}

// findSet is the path of the file that says which faces are in which templates.
func findSet(dir string) (string, error) {
	for _, below := range []string{"", "meta", filepath.Join("*", "meta")} {
		found, err := filepath.Glob(filepath.Join(escape(dir), below, "*"+facesFile))
		if err != nil {
			return "", fmt.Errorf("look for IJB metadata: %w", err)
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return "", fmt.Errorf("%s has several benchmarks: %s; name the folder of one", dir, strings.Join(found, ", "))
		}
	}
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("look for IJB metadata: %w", err)
	}
	return "", fmt.Errorf("%w: %s has no file ijbb%s or ijbc%[3]s, neither in itself nor in a folder meta: it comes with insightface's IJB release",
		ErrFormat, dir, facesFile)
}

// escape keeps what is in a path from being taken for a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// readFaces reads which image belongs to which template and media. It returns the images' numbers
// by name.
func (m *Meta) readFaces(path string) (images map[string]int32, err error) {
	l, err := openLines(path)
	if err != nil {
		return nil, err
	}
	images = map[string]int32{}
	for {
		fields, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = m.addFace(l, fields, images)
		}
		if err != nil {
			return nil, errors.Join(err, l.file.Close())
		}
	}
	if len(m.faces) == 0 {
		return nil, errors.Join(l.faulty("is its end, and it names no image"), l.file.Close())
	}
	file, err := l.done()
	m.Files = append(m.Files, file)
	m.group()
	return images, err
}

func (m *Meta) addFace(l *lines, fields [][]byte, images map[string]int32) error {
	if len(fields) != 3 {
		return l.faulty("has %d values, want an image, a template and a media", len(fields))
	}
	template, ok := number(fields[1])
	media, ok2 := number(fields[2])
	if !ok || !ok2 {
		return l.faulty("has template %q and media %q, want whole numbers", clip(fields[1]), clip(fields[2]))
	}
	image, known := images[imageName(fields[0])]
	if !known {
		image = int32(len(m.Images))
		name := imageName(fields[0])
		m.Images = append(m.Images, name)
		images[name] = image
	}
	m.faces = append(m.faces, face{image, template, media})
	return nil
}

// imageName is an image's name as its folder has it: some lists have the folder before it.
func imageName(text []byte) string {
	return strings.TrimPrefix(strings.TrimPrefix(string(text), "./"), "loose_crop/")
}

// clip is the beginning of a text for a message.
func clip(text []byte) []byte { return text[:min(len(text), 40)] }

// group sorts the faces by template and media, keeping the file's order otherwise.
func (m *Meta) group() {
	slices.SortStableFunc(m.faces, func(a, b face) int {
		return cmp.Or(cmp.Compare(a.template, b.template), cmp.Compare(a.media, b.media))
	})
	for i, f := range m.faces {
		if i == 0 || f.template != m.Templates[len(m.Templates)-1] {
			m.Templates = append(m.Templates, f.template)
			m.starts = append(m.starts, int32(i))
		}
		m.faces[i].template = int32(len(m.Templates) - 1)
	}
	m.starts = append(m.starts, int32(len(m.faces)))
	m.places = newPlaces(m.Templates)
}

// readScores reads the detector's scores, where there is a file of them.
func (m *Meta) readScores(images map[string]int32) error {
	path := filepath.Join(m.dir, m.Set+scoresFile)
	l, err := openLines(path)
	if errors.Is(err, os.ErrNotExist) {
		m.Notes = append(m.Notes, fmt.Sprintf("%s is not there: no detector scores", path))
		return nil
	}
	if err != nil {
		return err
	}
	m.Scores = make([]float32, len(m.Images))
	for i := range m.Scores {
		m.Scores[i] = float32(math.NaN())
	}
	unused := 0
	for {
		fields, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		used := false
		if err == nil {
			used, err = m.addScore(l, fields, images)
		}
		if err != nil {
			return errors.Join(err, l.file.Close())
		}
		if !used {
			unused++
		}
	}
	if unused > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("%d images of %s are in no template", unused, path))
	}
	file, err := l.done()
	m.Files = append(m.Files, file)
	return err
}

func (m *Meta) addScore(l *lines, fields [][]byte, images map[string]int32) (used bool, err error) {
	const values = 1 + 10 + 1
	if len(fields) != values {
		return false, l.faulty("has %d values, want an image, ten of landmarks and a score", len(fields))
	}
	text := fields[values-1]
	score, err := strconv.ParseFloat(string(text), 32)
	if err != nil || !(score >= 0) || math.IsInf(score, 0) {
		return false, l.faulty("has the detector score %q, want a number of at least 0", clip(text))
	}
	image, known := images[imageName(fields[0])]
	if !known {
		return false, nil
	}
	if old := m.Scores[image]; old == old && old != float32(score) {
		return false, l.faulty("gives %s the score %g, a line before gave it %g", m.Images[image], score, old)
	}
	m.Scores[image] = float32(score)
	return true, nil
}

// places finds a template by its number.
type places struct {
	dense  []int32 // 1 + place by number, where numbers are small enough
	sparse map[int32]int32
}

// newPlaces is for ascending numbers.
func newPlaces(numbers []int32) places {
	const waste = 64 // numbers a template that a table may have
	var p places
	if last := int(numbers[len(numbers)-1]); last < waste*len(numbers) {
		p.dense = make([]int32, last+1)
	} else {
		p.sparse = make(map[int32]int32, len(numbers))
	}
	for i, n := range numbers {
		if p.sparse != nil {
			p.sparse[n] = int32(i) + 1
			continue
		}
		p.dense[n] = int32(i) + 1
	}
	return p
}

func (p places) of(number int32) (place int32, ok bool) {
	if p.sparse != nil {
		place = p.sparse[number]
	} else if int(number) < len(p.dense) {
		place = p.dense[number]
	}
	return place - 1, place > 0
}

// ImagesOf are the numbers of a template's images, in the order of its medias.
func (m *Meta) ImagesOf(template int32) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for _, f := range m.faces[m.starts[template]:m.starts[template+1]] {
			if !yield(f.image) {
				return
			}
		}
	}
}
