package pickle

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// The functions here undo ways to write bytes as text. They work in place, as none makes data
// longer.

// unquote undoes the quotes and escapes of a Python 2 string literal.
func unquote(data []byte) ([]byte, error) {
	data = bytes.TrimSpace(data)
	if n := len(data); n < 2 || data[0] != data[n-1] || data[0] != '\'' && data[0] != '"' {
		return nil, fmt.Errorf("%w: a string without its quotes", ErrMalformed)
	}
	data = data[1 : len(data)-1]
	out := data[:0]
	for len(data) > 0 {
		if data[0] != '\\' {
			out, data = append(out, data[0]), data[1:]
			continue
		}
		b, used, err := unescape(data)
		if err != nil {
			return nil, err
		}
		out, data = append(out, b...), data[used:]
	}
	return out, nil
}

// unescape reads the escape that data begins with: the bytes it stands for, and its
// length.
func unescape(data []byte) (b []byte, used int, err error) {
	if len(data) < 2 {
		return nil, 0, fmt.Errorf("%w: a string ends in a backslash", ErrMalformed)
	}
	const names, meanings = `\'"abfnrtv`, "\\'\"\a\b\f\n\r\t\v"
	c := data[1]
	switch i := bytes.IndexByte([]byte(names), c); {
	case i >= 0:
		return []byte{meanings[i]}, 2, nil
	case c == '\n':
		return nil, 2, nil
	case c == 'x':
		v, err := hex(data[2:], 2)
		return []byte{byte(v)}, 4, err
	case c >= '0' && c <= '7':
		end := 2
		for end < min(len(data), 4) && data[end] >= '0' && data[end] <= '7' {
			end++
		}
		v, err := strconv.ParseUint(string(data[1:end]), 8, 16)
		return []byte{byte(v)}, end, err
	}
	return data[:2], 2, nil
}

// hex reads a number of digits that data begins with.
func hex(data []byte, digits int) (uint64, error) {
	if len(data) < digits {
		return 0, fmt.Errorf("%w: an escape is cut short", ErrMalformed)
	}
	v, err := strconv.ParseUint(string(data[:digits]), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%w: escape of %q", ErrMalformed, data[:digits])
	}
	return v, nil
}

// fromUTF8 gives the code points of a text, one byte each.
func fromUTF8(data []byte) ([]byte, error) {
	out := data[:0]
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r > 0xff { // not UTF-8 included
			return nil, fmt.Errorf("%w: bytes as text, with the character %q", ErrMalformed, r)
		}
		out, data = append(out, byte(r)), data[size:]
	}
	return out, nil
}

// fromEscaped gives the code points of a text in raw-unicode-escape, one byte each.
func fromEscaped(data []byte) ([]byte, error) {
	out := data[:0]
	for len(data) > 0 {
		digits := 0
		if bytes.HasPrefix(data, []byte(`\u`)) {
			digits = 4
		} else if bytes.HasPrefix(data, []byte(`\U`)) {
			digits = 8
		}
		if digits == 0 {
			out, data = append(out, data[0]), data[1:]
			continue
		}
		v, err := hex(data[2:], digits)
		if err != nil {
			return nil, err
		}
		if v > 0xff {
			return nil, fmt.Errorf("%w: bytes as text, with the character U+%04X", ErrMalformed, v)
		}
		out, data = append(out, byte(v)), data[2+digits:]
	}
	return out, nil
}
