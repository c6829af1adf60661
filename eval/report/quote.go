package report

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable is text from elsewhere (a path, a name, a key, a message) as a line of a terminal or
// of a document may hold it: what is not printable (control characters and escape sequences,
// marks that turn the direction of writing, bytes that are not UTF-8) is written as Go writes
// it in a string, "\x1b" or "\u202e".
func Printable(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.Quote(text[:size]), `"`))
		}
		text = text[size:]
	}
	return b.String()
}
