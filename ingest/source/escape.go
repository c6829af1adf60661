package source

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// escapeName makes a file name valid UTF-8 without letting two names become one:
// bytes that are no UTF-8 are written \xNN, and the backslash itself \\.
func escapeName(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, `\`) {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, name[0])
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteString(name[:size])
		}
		name = name[size:]
	}
	return b.String()
}
