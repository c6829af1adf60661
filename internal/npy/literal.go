package npy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parse reads the text of a header. Exactly the three keys must be there.
func parse(text string) (Header, error) {
	l := &literal{rest: text}
	h := Header{}
	seen := map[string]bool{}
	l.expect("{")
	for l.err == nil && !l.take("}") {
		key := l.text()
		l.expect(":")
		switch {
		case l.err != nil:
		case seen[key]:
			l.fail("key %q twice", key)
		case key == "descr":
			h.Descr = l.descr()
		case key == "fortran_order":
			h.Fortran = l.boolean()
		case key == "shape":
			h.Shape = l.shape()
		default:
			l.fail("key %q", key)
		}
		seen[key] = true
		if !l.take(",") {
			l.expect("}")
			break
		}
	}
	l.space()
	switch {
	case l.err != nil:
		return Header{}, l.err
	case l.rest != "":
		return Header{}, fmt.Errorf("%.20q after its end", l.rest)
	case len(seen) != 3:
		return Header{}, errors.New("descr, fortran_order or shape is missing")
	}
	return h, nil
}

// literal is the rest of a Python literal. The first error sticks.
type literal struct {
	rest string
	err  error
}

func (l *literal) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

func (l *literal) space() { l.rest = strings.TrimLeft(l.rest, " \t\r\n") }

// take passes over a token if it comes next.
func (l *literal) take(token string) bool {
	l.space()
	rest, ok := strings.CutPrefix(l.rest, token)
	if ok {
		l.rest = rest
	}
	return ok
}

func (l *literal) expect(token string) {
	if l.err == nil && !l.take(token) {
		l.fail("%q expected before %.20q", token, l.rest)
	}
}

// text is a string without escapes, which no string of a header has.
func (l *literal) text() string {
	for _, quote := range []string{"'", `"`} {
		if !l.take(quote) {
			continue
		}
		s, rest, ok := strings.Cut(l.rest, quote)
		if !ok || strings.ContainsAny(s, "\\\n") {
			break
		}
		l.rest = rest
		return s
	}
	l.fail("a string expected before %.20q", l.rest)
	return ""
}

func (l *literal) descr() string {
	if l.take("[") {
		l.fail("its elements are records of several fields")
	}
	return l.text()
}

func (l *literal) boolean() bool {
	switch {
	case l.take("True"):
		return true
	case l.take("False"):
		return false
	}
	l.fail("True or False expected before %.20q", l.rest)
	return false
}

// maxSides is NumPy's own limit since version 2.
const maxSides = 64

func (l *literal) shape() []int {
	shape := []int{}
	l.expect("(")
	for l.err == nil && !l.take(")") {
		if len(shape) == maxSides {
			l.fail("more than %d dimensions", maxSides)
			break
		}
		shape = append(shape, l.size())
		if l.take(",") {
			continue
		}
		if len(shape) == 1 {
			l.fail("the shape is a number, not a tuple")
		}
		l.expect(")")
		break
	}
	return shape
}

// size is a whole number. Python 2 may have put an L behind it.
func (l *literal) size() int {
	l.space()
	digits := len(l.rest) - len(strings.TrimLeft(l.rest, "0123456789"))
	n, err := strconv.Atoi(l.rest[:digits])
	if err != nil {
		l.fail("a size expected before %.20q", l.rest)
		return 0
	}
	l.rest = strings.TrimPrefix(l.rest[digits:], "L")
	return n
}
