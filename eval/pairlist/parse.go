package pairlist

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"facepipe/store"
)

const (
	// maxLine has room for two of the longest keys.
	maxLine = 4 * store.MaxKeyBytes
	// maxNumber bounds the numbers of a list: images of a person, pairs of a set.
	maxNumber = 100_000_000
	// trialRows are read as every format at once; what none of them tells apart is
	// [Plain].
	trialRows = 1000
)

// reader takes the rows of one format.
type reader interface {
	// take takes the next row. A shapeError says that it is none of the format.
	take(fields []string) error
	// end checks what only the whole list shows.
	end() error
}

// shapeError says that a row has not the shape of a format's rows.
type shapeError string

// Error says what is wrong.
func (e shapeError) Error() string { return string(e) }

// candidate is an attempt to read a list as one format.
type candidate struct {
	split  func(line string) []string
	reader reader
	built  *builder
	rows   int // that it took
	line   int // that it refused
	failed error
}

// candidates are all formats, the earlier ones preferred.
func candidates() []*candidate {
	var all []*candidate
	for _, split := range []func(string) []string{columns, commas(','), commas(';')} {
		for _, reads := range []func(*builder) reader{readLFW, readPlain, readBareLFW, readTwoLines, readLabelFirst, readTable} {
			b := newBuilder()
			all = append(all, &candidate{split: split, reader: reads(b), built: b})
		}
	}
	return all
}

// take takes a line unless an earlier one failed. A line that begins with # and is no
// row is a comment.
func (c *candidate) take(line string, number int) {
	if c.failed != nil {
		return
	}
	fields := c.split(line)
	err := c.reader.take(fields)
	if err == nil {
		c.rows++
	} else if !strings.HasPrefix(strings.TrimSpace(line), "#") || !isShape(err) {
		c.line, c.failed = number, err
	}
}

// Parse reads a list from r; name stands for it in errors. [List].Digest stays empty.
// Malformed input is [ErrFormat] with the number of the line.
func Parse(r io.Reader, name string) (*List, error) {
	text := bufio.NewReader(r)
	if err := checkText(text); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrFormat, name, err)
	}
	p := &parser{alive: candidates()}
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if err := p.add(lines.Text()); err != nil {
			return nil, fmt.Errorf("%w %s, line %d: %w", ErrFormat, name, p.best().line, err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("%w %s, line %d: longer than %d bytes", ErrFormat, name, p.line+1, maxLine)
	}
	if lines.Err() != nil {
		return nil, fmt.Errorf("read pair list %s: %w", name, lines.Err())
	}
	l, err := p.finish()
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrFormat, name, err)
	}
	return l, nil
}

type parser struct {
	alive []*candidate
	line  int
	rows  int
}

// add takes the next line.
func (p *parser) add(line string) error {
	p.line++
	if p.line == 1 {
		line = strings.TrimPrefix(line, "\ufeff") // byte order mark
	}
	if strings.TrimSpace(line) == "" {
		return nil
	}
	for _, c := range p.alive {
		c.take(line, p.line)
	}
	if p.rows++; p.rows == trialRows {
		p.alive = []*candidate{p.best()}
	}
	if best := p.best(); best.failed != nil {
		return p.explain(best, line)
	}
	return nil
}

// best is the candidate that has taken every row, else the one that took most.
func (p *parser) best() *candidate {
	best := p.alive[0]
	for _, c := range p.alive[1:] {
		if c.before(best) {
			best = c
		}
	}
	return best
}

// before says that c is the better one, though it comes later.
func (c *candidate) before(other *candidate) bool {
	if (c.failed == nil) != (other.failed == nil) {
		return c.failed == nil
	}
	if c.rows != other.rows || c.failed == nil {
		return c.rows > other.rows
	}
	return isShape(other.failed) && !isShape(c.failed)
}

func isShape(err error) bool {
	var shape shapeError
	return errors.As(err, &shape)
}

// explain is why no format goes on.
func (p *parser) explain(best *candidate, line string) error {
	if best.rows == 0 && isShape(best.failed) {
		return fmt.Errorf("%.200q is neither a header of LFW (two numbers) nor a pair (two keys and 0 or 1), nor the names of a table's columns (image1, image2, label); docs/pairs.md shows the lists that are read",
			strings.TrimSpace(line))
	}
	return best.failed
}

func (p *parser) finish() (*List, error) {
	best := p.best()
	if best.rows == 0 {
		return nil, errors.New("it has no pairs")
	}
	if err := best.reader.end(); err != nil {
		return nil, err
	}
	if len(best.built.list.Pairs) == 0 {
		return nil, errors.New("it has no pairs")
	}
	return best.built.list, nil
}

// checkText says what a file is that is no text.
func checkText(r *bufio.Reader) error {
	head, _ := r.Peek(512) // what is wrong with r, reading it says
	switch {
	case bytes.HasPrefix(head, []byte{0x80}) || bytes.HasPrefix(head, []byte("(lp")):
		return errors.New("it is a pickle, as the .bin of a verification set, which holds the photographs themselves: `pipe eval --bin FILE` takes it as it is, `pipe ingest --source bin=FILE --pairs-out pairs.txt --out DATASET` stores them and writes their list")
	case bytes.HasPrefix(head, []byte("\x93NUMPY")):
		return errors.New("it is an array of numpy, which names no images: if it holds embeddings, `pipe eval --embeddings FILE` compares them; for pairs write a list of \"a.jpg b.jpg 1\"")
	case bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")):
		return errors.New("it is text in UTF-16: save it as UTF-8")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return errors.New("it is compressed: unpack it")
	}
	return nil
}
