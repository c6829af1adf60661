package pairlist

import (
	"errors"
	"fmt"
)

// lfwReader reads [LFW].
type lfwReader struct {
	*builder
	perKind int // same pairs of a set, and different ones
}

func readLFW(b *builder) reader { b.list.Format = LFW; return &lfwReader{builder: b} }

func (r *lfwReader) take(fields []string) error {
	if r.perKind == 0 {
		return r.header(fields)
	}
	if len(r.list.Pairs) == r.announced() {
		return fmt.Errorf("one pair more than the %d that the header announces", len(r.list.Pairs))
	}
	return r.lfwPair(fields)
}

// announced is the number of pairs that the header announces.
func (r *lfwReader) announced() int { return 2 * r.perKind * r.list.Sets }

// header reads "SETS PAIRS", or "PAIRS" as in the development lists, which have one
// set and are not meant for cross-validation.
func (r *lfwReader) header(fields []string) error {
	fields = withoutEmpty(fields)
	numbers := []int{1}
	for _, f := range fields {
		n, err := number(f)
		if err != nil || n == 0 || len(fields) > 2 {
			return shapeError("no header of LFW")
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 1 {
		return shapeError("no header of LFW")
	}
	r.list.Sets, r.perKind = numbers[len(numbers)-2], numbers[len(numbers)-1]
	return nil
}

func (r *lfwReader) end() error {
	if want := r.announced(); len(r.list.Pairs) != want {
		return fmt.Errorf("it ends after %d pairs, the header announces %d", len(r.list.Pairs), want)
	}
	same := make([]int, r.list.Sets)
	for i, pair := range r.list.Pairs {
		if pair.Same {
			same[r.list.Set(i)]++
		}
	}
	for set, n := range same {
		if n != r.perKind {
			return fmt.Errorf("set %d has %d same pairs of %d, the header announces %d", set+1, n, 2*r.perKind, r.perKind)
		}
	}
	return nil
}

// bareLFWReader reads [BareLFW].
type bareLFWReader struct {
	*builder
	header bool // names of columns were met
}

func readBareLFW(b *builder) reader { b.list.Format = BareLFW; return &bareLFWReader{builder: b} }

func (r *bareLFWReader) take(fields []string) error {
	if isLFWHeader(fields) {
		r.header = true
		return nil
	}
	return r.lfwPair(fields)
}

// isLFWHeader knows "name,imagenum1,imagenum2," and its like.
func isLFWHeader(fields []string) bool {
	fields = withoutEmpty(fields)
	if len(fields) < 3 || len(fields) > 4 {
		return false
	}
	numbers := []int{1, 2}
	if len(fields) == 4 {
		numbers[1] = 3
	}
	for i, f := range fields {
		kind := "name"
		if i == numbers[0] || i == numbers[1] {
			kind = "num"
		}
		if !hasWord(f, kind) {
			return false
		}
	}
	return true
}

func (r *bareLFWReader) end() error {
	if !r.header {
		r.guess("the list is read as LFW's without its first line: NAME 1 2 is a same pair, NAME 1 OTHER 2 a different one")
	}
	return nil
}

// lfwPair takes "NAME I J" or "NAME I OTHER J".
func (b *builder) lfwPair(fields []string) error {
	fields = withoutEmpty(fields)
	var x, y Image
	var err error
	switch len(fields) {
	case 3:
		x, y, err = lfwImages(fields[0], fields[1], fields[0], fields[2])
	case 4:
		x, y, err = lfwImages(fields[0], fields[1], fields[2], fields[3])
	default:
		err = shapeError(fmt.Sprintf("%d columns, want NAME I J or NAME I OTHER J", len(fields)))
	}
	if err != nil {
		return err
	}
	return b.pair(x, y, len(fields) == 3)
}

// withoutEmpty drops the empty columns at the end, which tables have.
func withoutEmpty(fields []string) []string {
	for len(fields) > 0 && fields[len(fields)-1] == "" {
		fields = fields[:len(fields)-1]
	}
	return fields
}

func lfwImages(personA, numberA, personB, numberB string) (a, b Image, err error) {
	i, errA := number(numberA)
	j, errB := number(numberB)
	if err := errors.Join(errA, errB); err != nil {
		return a, b, shapeError(err.Error())
	}
	return lfwImage(personA, i), lfwImage(personB, j), nil
}
