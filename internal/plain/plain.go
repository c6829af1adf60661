// Package plain shows text of others. A path, a key, an identity, a message of a file can hold
// what a terminal obeys (escape sequences, NUL, marks that turn the direction of writing), what
// looks like another line, and what is markup where it ends up. Nothing of it is lost: it is
// written as Go or JSON write it in a string.
package plain

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text is text in one line of a terminal or of a document: whatever is not printable is
// written as Go writes it in a string, "\n", "\x1b" or "\u202e".
func Text(text string) string {
	printable := func(r rune) bool { return unicode.IsPrint(r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !printable(r) }) < 0 {
		return text
	}
	return string(appendQuoted(nil, []byte(text), printable))
}

// Commands says whether a character does more than stand where it is: control characters, those
// that break lines or turn the direction of writing, and those that no text has.
func Commands(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) ||
		r == '\u2028' || r == '\u2029' || r == '\ufeff' || unicode.Is(unicode.Noncharacter_Code_Point, r)
}

// Harmless says whether text has no character that [Commands], and is UTF-8.
func Harmless(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, Commands)
}

// inLines is whether a character may stand in text of several lines.
func inLines(r rune) bool { return r == '\n' || r == '\t' || !Commands(r) }

// appendQuoted appends text to dst, with what is not to be kept quoted as Go does.
func appendQuoted(dst, text []byte, keep func(rune) bool) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if keep(r) && (r != utf8.RuneError || size > 1) {
			dst = append(dst, text[:size]...)
		} else {
			quoted := strconv.Quote(string(text[:size]))
			dst = append(dst, quoted[1:len(quoted)-1]...)
		}
		text = text[size:]
	}
	return dst
}

// JSON is the same value without characters that [Commands]: strings have them as \uXXXX. Breaks
// of lines and tabs between values stay.
func JSON(data []byte) []byte {
	if Harmless(strings.NewReplacer("\n", "", "\t", "").Replace(string(data))) {
		return data
	}
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if inLines(r) && (r != utf8.RuneError || size > 1) {
			out = append(out, data[:size]...)
		} else {
			for _, unit := range utf16.AppendRune(nil, r) {
				out = append(out, `\u`...)
				out = append(out, strconv.FormatUint(1<<16|uint64(unit), 16)[1:]...)
			}
		}
		data = data[size:]
	}
	return out
}
