package webdataset

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of a pattern and of its expansion.
const (
	maxNames        = 1 << 17
	maxNameBytes    = 16 << 20 // of all names together
	maxPatternBytes = 1 << 10
)

// errNames marks a pattern of too many names.
var errNames = fmt.Errorf("expands to more than %d names, or to names of more than %d bytes together", maxNames, maxNameBytes)

// HasBraces says whether a name may be a pattern for [Expand].
func HasBraces(name string) bool { return strings.ContainsAny(name, "{}") }

// Expand gives the names that a pattern with braces stands for, in the order of the
// pattern, as a shell does (and Python's braceexpand):
//
//	{a,b}        a and b; may be nested and empty
//	{0..12}      0 to 12, downwards if the first is larger
//	{000..012}   padded with zeros to the longer of the two
//	{a..e}       single letters of one case
//	{0..12..3}   every third
//
// A backslash makes the next character an ordinary one. Braces without a comma or a range stay
// as they are. Braces that do not match are an error, and so are more than 131072 names.
func Expand(pattern string) ([]string, error) {
	if len(pattern) > maxPatternBytes {
		return nil, fmt.Errorf("pattern of %d bytes is longer than %d", len(pattern), maxPatternBytes)
	}
	e := expander{rest: pattern}
	names, err := e.sequence(false)
	if err == nil && e.rest != "" {
		err = errors.New("pattern has a closing brace too many")
	}
	if err != nil {
		return nil, err
	}
	return names, nil
}

// expander reads a pattern from its beginning.
type expander struct{ rest string }

// sequence expands up to the end of the pattern. Within braces it ends at the comma or brace
// behind an alternative.
func (e *expander) sequence(within bool) ([]string, error) {
	names := []string{""}
	for e.rest != "" {
		var parts []string
		var err error
		switch c := e.rest[0]; {
		case c == '}', c == ',' && within:
			return names, nil
		case c == '{':
			parts, err = e.braces()
		default:
			parts = []string{e.literal(within)}
		}
		if err != nil {
			return nil, err
		}
		if names, err = product(names, parts); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// literal takes text without braces.
func (e *expander) literal(within bool) string {
	stops := "{}"
	if within {
		stops = "{},"
	}
	var b strings.Builder
	for e.rest != "" && !strings.ContainsRune(stops, rune(e.rest[0])) {
		if e.rest[0] == '\\' && len(e.rest) > 1 {
			e.rest = e.rest[1:]
		}
		b.WriteByte(e.rest[0])
		e.rest = e.rest[1:]
	}
	return b.String()
}

// braces takes a group in braces.
func (e *expander) braces() ([]string, error) {
	if names, size, err := rangeNames(e.rest); size > 0 {
		e.rest = e.rest[size:]
		return names, err
	}
	e.rest = e.rest[1:]
	var all []string
	for alternatives := 1; ; alternatives++ {
		names, err := e.sequence(true)
		if err != nil {
			return nil, err
		}
		if all = append(all, names...); len(all) > maxNames {
			return nil, errNames
		}
		if e.rest == "" {
			return nil, errors.New("pattern has a brace that is not closed")
		}
		end := e.rest[0]
		e.rest = e.rest[1:]
		if end == ',' {
			continue
		}
		if alternatives == 1 { // not a group
			for i := range all {
				all[i] = "{" + all[i] + "}"
			}
		}
		return all, nil
	}
}

// product joins every name with every part.
func product(names, parts []string) ([]string, error) {
	if len(names)*len(parts) > maxNames {
		return nil, errNames
	}
	bytes := 0
	for _, n := range names {
		bytes += len(n) * len(parts)
	}
	for _, p := range parts {
		bytes += len(p) * len(names)
	}
	if bytes > maxNameBytes {
		return nil, errNames
	}
	all := make([]string, 0, len(names)*len(parts))
	for _, n := range names {
		for _, p := range parts {
			all = append(all, n+p)
		}
	}
	return all, nil
}

// rangeNames expands the range that text begins with; size is its length, 0 if it begins
// with none.
func rangeNames(text string) (names []string, size int, err error) {
	inside, _, closed := strings.Cut(strings.TrimPrefix(text, "{"), "}")
	ends := strings.Split(inside, "..")
	if !closed || len(ends) < 2 || len(ends) > 3 {
		return nil, 0, nil
	}
	size = len(inside) + len("{}")
	step := int64(1)
	if len(ends) == 3 {
		if step, err = strconv.ParseInt(ends[2], 10, 32); err != nil {
			return nil, 0, nil
		}
		step = max(step, -step, 1)
	}
	if isLetter(ends[0]) && isLetter(ends[1]) && (ends[0] >= "a") == (ends[1] >= "a") {
		return count(int64(ends[0][0]), int64(ends[1][0]), step, func(v int64) string { return string(rune(v)) }), size, nil
	}
	first, err1 := strconv.ParseInt(ends[0], 10, 63)
	last, err2 := strconv.ParseInt(ends[1], 10, 63)
	if err1 != nil || err2 != nil {
		return nil, 0, nil
	}
	if max(first-last, last-first)/step >= maxNames {
		return nil, size, errNames
	}
	width := 0
	if isPadded(ends[0]) || isPadded(ends[1]) {
		width = max(len(ends[0]), len(ends[1]))
	}
	return count(first, last, step, func(v int64) string { return fmt.Sprintf("%0*d", width, v) }), size, nil
}

// count names the numbers from first to last.
func count(first, last, step int64, name func(int64) string) []string {
	var names []string
	for i := range max(first-last, last-first)/step + 1 {
		if first <= last {
			names = append(names, name(first+i*step))
		} else {
			names = append(names, name(first-i*step))
		}
	}
	return names
}

func isLetter(s string) bool {
	return len(s) == 1 && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
}

// isPadded says whether a number is written with zeros in front.
func isPadded(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return len(s) > 1 && s[0] == '0'
}
