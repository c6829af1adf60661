package ijb

import (
	"errors"
	"io"
	"path/filepath"
)

// Pairs are the comparisons of the 1:1 protocol: 9 bytes each.
type Pairs struct {
	// First and Second are templates.
	First, Second []int32
	// Same says whether they show one person, and Mated how often that is so.
	Same  []bool
	Mated int
}

// Len is the number of comparisons.
func (p *Pairs) Len() int { return len(p.First) }

// Pairs reads the comparisons. A template without images is [ErrFormat], and so is a file without
// pairs of both kinds.
func (m *Meta) Pairs() (*Pairs, error) {
	l, err := openLines(filepath.Join(m.dir, m.Set+pairsFile))
	if err != nil {
		return nil, err
	}
	p, err := m.readPairs(l)
	if err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	file, err := l.done()
	m.Files = append(m.Files, file)
	return p, err
}

func (m *Meta) readPairs(l *lines) (*Pairs, error) {
	p, err := newPairs(l)
	if err != nil {
		return nil, err
	}
	for {
		fields, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = m.addPair(l, fields, p)
		}
		if err != nil {
			return nil, err
		}
	}
	if p.Mated == 0 || p.Mated == p.Len() {
		return nil, l.faulty("is its end: %d of %d pairs are labelled 1, want some of both kinds", p.Mated, p.Len())
	}
	return p, nil
}

// newPairs has room for what a file of that size usually has.
func newPairs(l *lines) (*Pairs, error) {
	info, err := l.file.Stat()
	if err != nil {
		return nil, err
	}
	const usual = 13 // bytes of a line, "12345 123456 0" in the larger set
	n := int(info.Size()/usual) + 1
	return &Pairs{First: make([]int32, 0, n), Second: make([]int32, 0, n), Same: make([]bool, 0, n)}, nil
}

func (m *Meta) addPair(l *lines, fields [][]byte, p *Pairs) error {
	if len(fields) != 3 {
		return l.faulty("has %d values, want two templates and a label", len(fields))
	}
	first, err := m.place(l, fields[0])
	if err != nil {
		return err
	}
	second, err := m.place(l, fields[1])
	if err != nil {
		return err
	}
	label, ok := number(fields[2])
	if !ok || label > 1 {
		return l.faulty("has the label %q, want 0 or 1", clip(fields[2]))
	}
	p.First, p.Second, p.Same = append(p.First, first), append(p.Second, second), append(p.Same, label == 1)
	p.Mated += int(label)
	return nil
}

// place is the template that a line names.
func (m *Meta) place(l *lines, text []byte) (int32, error) {
	template, ok := number(text)
	if !ok {
		return 0, l.faulty("has the template %q, want a whole number", clip(text))
	}
	place, ok := m.places.of(template)
	if !ok {
		return 0, l.faulty("names template %d, which has no image in %s%s", template, m.Set, facesFile)
	}
	return place, nil
}
