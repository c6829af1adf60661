package ijb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// Enrolment is a list of templates of the 1:N protocol, a gallery or the probes, each template once,
// in the order of the file.
type Enrolment struct {
	// Name is what the file calls it: "G1", or "probe_mixed".
	Name string
	// Templates, and the number of the subject of each.
	Templates, Subjects []int32
	// NoImages are the numbers of templates that have no image at all. They are left out.
	NoImages []int32
}

// Searches reads the galleries, in the order of their names, and the probes. Neither being there is
// no error: there are none then. A template of two subjects is [ErrFormat].
func (m *Meta) Searches() (galleries []Enrolment, probes Enrolment, err error) {
	prefix := filepath.Join(m.dir, m.Set)
	paths, err := filepath.Glob(escape(prefix) + galleryFiles)
	if err != nil {
		return nil, probes, fmt.Errorf("look for galleries: %w", err)
	}
	if len(paths) == 0 {
		return nil, probes, nil
	}
	slices.Sort(paths)
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(path, prefix+"_1N_gallery_"), ".csv")
		g, err := m.readEnrolment(path, name)
		if err != nil {
			return nil, probes, err
		}
		galleries = append(galleries, g)
	}
	probes, err = m.readEnrolment(prefix+probesFile, "probe_mixed")
	return galleries, probes, err
}

func (m *Meta) readEnrolment(path, name string) (Enrolment, error) {
	l, err := openLines(path)
	if err != nil {
		return Enrolment{}, err
	}
	e := Enrolment{Name: name}
	if err := m.readRows(l, &e); err != nil {
		return e, errors.Join(err, l.file.Close())
	}
	file, err := l.done()
	m.Files = append(m.Files, file)
	return e, err
}

func (m *Meta) readRows(l *lines, e *Enrolment) error {
	subjects := map[int32]int32{} // by template's number
	for {
		line, err := l.line()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = m.addRow(l, line, e, subjects)
		}
		if err != nil {
			return err
		}
	}
	if len(e.Templates) == 0 {
		return l.faulty("is its end, and it names no template that has images")
	}
	return nil
}

// addRow takes the first two columns of a line; what else stands there is of no use here.
func (m *Meta) addRow(l *lines, line []byte, e *Enrolment, subjects map[int32]int32) error {
	cell, rest, _ := bytes.Cut(line, []byte{','})
	cell2, _, _ := bytes.Cut(rest, []byte{','})
	template, ok := number(bare(cell))
	subject, ok2 := number(bare(cell2))
	switch {
	case l.number == 1 && !ok && !ok2: // the header
		return nil
	case !ok || !ok2:
		return l.faulty("has template %q and subject %q, want whole numbers", clip(cell), clip(cell2))
	}
	if old, known := subjects[template]; known {
		if old != subject {
			return l.faulty("says that template %d is of subject %d, a line before said %d", template, subject, old)
		}
		return nil
	}
	subjects[template] = subject
	place, ok := m.places.of(template)
	if !ok {
		e.NoImages = append(e.NoImages, template)
		return nil
	}
	e.Templates, e.Subjects = append(e.Templates, place), append(e.Subjects, subject)
	return nil
}

// bare is a cell without blanks and quotation marks about it.
func bare(cell []byte) []byte { return bytes.Trim(cell, " \t\"") }
