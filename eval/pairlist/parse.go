package pairlist

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"facepipe/store"
)

const (
	// maxLine has room for two of the longest keys.
	maxLine = 4 * store.MaxKeyBytes
	// maxNumber bounds the numbers of a list: images of a person, pairs of a set.
	maxNumber = 100_000_000
)

// Parse reads a list from r; name stands for it in errors. [List].Digest stays empty.
// Malformed input is [ErrFormat] with the number of the line.
func Parse(r io.Reader, name string) (*List, error) {
	p := &parser{list: &List{Format: Plain}, known: map[Image]int32{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		p.line++
		if err := p.add(columns(lines.Text(), p.line == 1)); err != nil {
			return nil, fmt.Errorf("%w %s, line %d: %w", ErrFormat, name, p.line, err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("%w %s, line %d: longer than %d bytes", ErrFormat, name, p.line+1, maxLine)
	}
	if lines.Err() != nil {
		return nil, fmt.Errorf("read pair list %s: %w", name, lines.Err())
	}
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrFormat, name, err)
	}
	return p.list, nil
}

// columns splits a line.
func columns(line string, first bool) []string {
	if first {
		line = strings.TrimPrefix(line, "\ufeff") // byte order mark
	}
	if !strings.Contains(strings.TrimSpace(line), "\t") {
		return strings.Fields(line)
	}
	fields := strings.Split(strings.TrimSpace(line), "\t")
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fields
}

type parser struct {
	list    *List
	known   map[Image]int32
	line    int
	begun   bool // a line was met that is not empty
	perKind int  // same pairs of an LFW set, and different ones
}

// add takes the next line.
func (p *parser) add(fields []string) error {
	if len(fields) == 0 {
		return nil
	}
	if !p.begun {
		p.begun = true
		if len(fields) <= 2 {
			return p.header(fields)
		}
	}
	if p.list.Format == LFW {
		return p.lfwPair(fields)
	}
	return p.plainPair(fields)
}

// header reads "SETS PAIRS", or "PAIRS" as in the development lists, which have one
// set and are not meant for cross-validation.
func (p *parser) header(fields []string) error {
	var numbers []int
	for _, f := range fields {
		n, err := number(f)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is neither a header of LFW (two numbers) nor a pair (two keys and 0 or 1)", strings.Join(fields, " "))
		}
		numbers = append(numbers, n)
	}
	p.list.Format = LFW
	p.list.Sets = 1
	if len(numbers) == 2 {
		p.list.Sets = numbers[0]
	}
	p.perKind = numbers[len(numbers)-1]
	return nil
}

func (p *parser) lfwPair(fields []string) error {
	if len(p.list.Pairs) == 2*p.perKind*p.list.Sets {
		return fmt.Errorf("one pair more than the %d that the header announces", len(p.list.Pairs))
	}
	var a, b Image
	var err error
	switch len(fields) {
	case 3:
		a, b, err = lfwImages(fields[0], fields[1], fields[0], fields[2])
	case 4:
		a, b, err = lfwImages(fields[0], fields[1], fields[2], fields[3])
	default:
		err = fmt.Errorf("%d columns, want NAME I J or NAME I OTHER J", len(fields))
	}
	if err != nil {
		return err
	}
	return p.pair(a, b, len(fields) == 3)
}

func lfwImages(personA, numberA, personB, numberB string) (a, b Image, err error) {
	i, err := number(numberA)
	if err != nil {
		return a, b, err
	}
	j, err := number(numberB)
	if err != nil {
		return a, b, err
	}
	return lfwImage(personA, i), lfwImage(personB, j), nil
}

func (p *parser) plainPair(fields []string) error {
	if len(fields) != 3 {
		return fmt.Errorf("%d columns, want A B 0 or A B 1 (separate columns by tabs if keys contain spaces)", len(fields))
	}
	if fields[2] != "0" && fields[2] != "1" {
		return fmt.Errorf("last column %.40q is neither 0 nor 1", fields[2])
	}
	return p.pair(Image{name: fields[0]}, Image{name: fields[1]}, fields[2] == "1")
}

func (p *parser) pair(a, b Image, same bool) error {
	i, err := p.image(a)
	if err != nil {
		return err
	}
	j, err := p.image(b)
	if err != nil {
		return err
	}
	p.list.Pairs = append(p.list.Pairs, Pair{A: i, B: j, Same: same})
	return nil
}

// image is the number of an image in the list.
func (p *parser) image(i Image) (int32, error) {
	if n, ok := p.known[i]; ok {
		return n, nil
	}
	for _, key := range i.Keys() {
		if err := store.ValidKey(key); err != nil {
			return 0, err
		}
	}
	if len(p.list.Images) == math.MaxInt32 {
		return 0, errors.New("too many images")
	}
	// The line that the names were cut from can then be freed.
	i.name = strings.Clone(i.name)
	n := int32(len(p.list.Images))
	p.known[i] = n
	p.list.Images = append(p.list.Images, i)
	return n, nil
}

// finish checks what only the whole list shows.
func (p *parser) finish() error {
	if p.list.Format == Plain {
		if len(p.list.Pairs) == 0 {
			return errors.New("it has no pairs")
		}
		return nil
	}
	if want := 2 * p.perKind * p.list.Sets; len(p.list.Pairs) != want {
		return fmt.Errorf("it ends after %d pairs, the header announces %d", len(p.list.Pairs), want)
	}
	same := make([]int, p.list.Sets)
	for i, pair := range p.list.Pairs {
		if pair.Same {
			same[p.list.Set(i)]++
		}
	}
	for set, n := range same {
		if n != p.perKind {
			return fmt.Errorf("set %d has %d same pairs of %d, the header announces %d", set+1, n, 2*p.perKind, p.perKind)
		}
	}
	return nil
}

func number(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > maxNumber {
		return 0, fmt.Errorf("%.40q is not a number from 0 to %d", s, maxNumber)
	}
	return int(n), nil
}
