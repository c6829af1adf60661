package plain

import (
	"fmt"
	"io"
	"sync"
	"unicode/utf8"
)

// Writer passes text of several lines on, without what a terminal would obey: see [Commands]. It
// is safe for concurrent use.
type Writer struct {
	w    io.Writer
	mu   sync.Mutex
	rest []byte // of a character whose end has not come
}

// NewWriter is a writer of text to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Unwrap is where the text goes to. Who draws on a terminal writes there.
func (w *Writer) Unwrap() io.Writer { return w.w }

// Write passes text on, but for the first bytes of a character at its end.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := p
	if len(w.rest) > 0 {
		text = append(w.rest, p...)
	}
	whole := len(text) - unfinished(text)
	out := appendQuoted(make([]byte, 0, whole), text[:whole], inLines)
	w.rest = append([]byte(nil), text[whole:]...)
	if len(out) == 0 {
		return len(p), nil
	}
	if _, err := w.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what is left of a character that never ended.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) == 0 {
		return nil
	}
	out := appendQuoted(nil, w.rest, inLines)
	w.rest = nil
	_, err := w.w.Write(out)
	return err
}

// unfinished is how many bytes at the end of text begin a character that goes on behind it.
func unfinished(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// Fprintf is [fmt.Fprintf] for lines with text of others: an argument that is a string, or a list
// of strings, stands as [Text] and cannot begin another line. The format may. A list that is passed
// as args is changed.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			args[i] = Text(v)
		case []string:
			texts := make([]string, len(v))
			for k, s := range v {
				texts[k] = Text(s)
			}
			args[i] = texts
		}
	}
	return fmt.Fprintf(w, format, args...)
}
