package loss

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"facepipe/internal/strictyaml"
)

// ErrExpression marks an expression of losses that cannot be read.
var ErrExpression = errors.New("loss")

// Term is a summand of an expression of losses.
type Term struct {
	// Weight is what its value is multiplied by, 0 or more.
	Weight float64
	// Loss is a name of the registry.
	Loss string
	// Teacher is the name of the teacher cache that it learns from, "" for what the run learns
	// from.
	Teacher string
}

// Key is what the term's section of a config is called, and its figures and state begin with.
func (t Term) Key() string {
	if t.Teacher == "" {
		return t.Loss
	}
	return t.Loss + "@" + t.Teacher
}

func (t Term) String() string {
	if t.Weight == 1 {
		return t.Key()
	}
	return strconv.FormatFloat(t.Weight, 'g', -1, 64) + "*" + t.Key()
}

// Parse reads an expression: terms by + signs, each a loss, with a number and * before it, with
// @ and a teacher's name behind it, such as unified + 0.5*ekd + cosine@r50. [ErrExpression]
// names the column, from 1, and the name that was probably meant.
func Parse(text string) ([]Term, error) {
	p := parser{text: text}
	var terms []Term
	for {
		at := p.skip()
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(terms, func(o Term) bool { return o.Key() == t.Key() }) {
			return nil, p.fault(at, "%s comes twice: give it one weight", t.Key())
		}
		terms = append(terms, t)
		if p.skip(); p.at == len(text) {
			return terms, nil
		}
		if text[p.at] != '+' {
			return nil, p.fault(p.at, "a + or the end is missing before %q", text[p.at:])
		}
		p.at++
	}
}

// Canonical is the expression of terms in the one form in which it is recorded.
func Canonical(terms []Term) string {
	texts := make([]string, len(terms))
	for i, t := range terms {
		texts[i] = t.String()
	}
	return strings.Join(texts, " + ")
}

// parser is at a place of an expression.
type parser struct {
	text string
	at   int
}

func (p *parser) fault(at int, format string, args ...any) error {
	return fmt.Errorf("%w %q: column %d: %s", ErrExpression, p.text, at+1, fmt.Sprintf(format, args...))
}

// skip passes blanks, and returns the place behind them.
func (p *parser) skip() int {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t') {
		p.at++
	}
	return p.at
}

// word passes all up to a blank or one of some signs.
func (p *parser) word(signs string) string {
	from := p.at
	for p.at < len(p.text) && !strings.ContainsRune(" \t"+signs, rune(p.text[p.at])) {
		p.at++
	}
	return p.text[from:p.at]
}

func (p *parser) term() (Term, error) {
	t := Term{Weight: 1}
	if err := p.weight(&t.Weight); err != nil {
		return t, err
	}
	at := p.skip()
	t.Loss = p.word("+*@")
	if t.Loss == "" {
		return t, p.fault(at, "a loss is missing; there are %s", strings.Join(Names(), ", "))
	}
	if !slices.Contains(Names(), t.Loss) {
		return t, p.fault(at, "%q is no loss%s; there are %s", t.Loss, meant(t.Loss), strings.Join(Names(), ", "))
	}
	if p.skip(); p.at == len(p.text) || p.text[p.at] != '@' {
		return t, nil
	}
	p.at++
	at = p.skip()
	if t.Teacher = p.word("+*@"); t.Teacher == "" {
		return t, p.fault(at, "the name of a teacher is missing behind @")
	}
	return t, nil
}

// weight reads a number and the * behind it, if there is one.
func (p *parser) weight(w *float64) error {
	at := p.skip()
	end := strings.IndexByte(p.text[at:], '*')
	if plus := p.plus(at); end < 0 || plus >= 0 && plus < end {
		if p.at < len(p.text) && strings.ContainsRune("0123456789.-", rune(p.text[p.at])) {
			return p.fault(at, "a * and a loss are missing behind the number")
		}
		return nil
	}
	text := strings.TrimSpace(p.text[at : at+end])
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= mostNumber) {
		return p.fault(at, "%q is no weight: a number of 0 or more, at most %.0f", text, mostNumber)
	}
	*w, p.at = v, at+end+1
	return nil
}

// plus is how far behind a place the next term begins, -1 if there is none. The plus of 1e+3
// begins none.
func (p *parser) plus(at int) int {
	for i := at; i < len(p.text); i++ {
		if p.text[i] == '+' && (i < at+2 || p.text[i-1] != 'e' && p.text[i-1] != 'E' || !strings.ContainsRune("0123456789.", rune(p.text[i-2]))) {
			return i - at
		}
	}
	return -1
}

// meant is the name that was probably meant, in words; "" if none resembles it.
func meant(name string) string {
	near := slices.MinFunc(Names(), func(a, b string) int {
		return cmp.Compare(strictyaml.Distance(name, a), strictyaml.Distance(name, b))
	})
	if strictyaml.Distance(strings.ToLower(name), near) > max(2, len(near)/3) {
		return ""
	}
	return ": did you mean " + near + "?"
}
