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

// unescapeName is the file name of which escapeName made a text.
func unescapeName(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		var n byte
		switch rest := text[i:]; {
		case strings.HasPrefix(rest, `\\`):
			b.WriteByte('\\')
			i++
		case len(rest) >= 4 && rest[0] == '\\':
			if _, err := fmt.Sscanf(rest[:4], `\x%02x`, &n); err == nil {
				b.WriteByte(n)
				i += 3
				continue
			}
			b.WriteByte('\\')
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String()
}
