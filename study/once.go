package study

import (
	"io"
	"strings"
	"sync"

	"facepipe/internal/progress"
)

// mostLines are remembered.
const mostLines = 1 << 12

// told is a writer of messages that passes each line on once: what runs say of their settings is
// the same for rows that differ in other things. Bars are shown as ever.
type told struct {
	w io.Writer

	mu    sync.Mutex
	lines map[string]bool
}

func once(w io.Writer) io.Writer {
	if w == io.Discard {
		return w
	}
	return &told{w: w, lines: map[string]bool{}}
}

// Write passes on text that was not told before.
func (t *told) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := strings.TrimRight(string(text), "\n")
	if line != "" && t.lines[line] {
		return len(text), nil
	}
	if len(t.lines) < mostLines {
		t.lines[line] = true
	}
	return t.w.Write(text)
}

// Unwrap is the writer that shows bars.
func (t *told) Unwrap() io.Writer {
	if o, ok := t.w.(progress.Observer); ok {
		return o.Unwrap()
	}
	return t.w
}

// Observe has the writer below watch a bar, if it does so.
func (t *told) Observe(label string) progress.Watcher {
	if o, ok := t.w.(progress.Observer); ok {
		return o.Observe(label)
	}
	return unwatched{}
}

// unwatched takes no notice.
type unwatched struct{}

func (unwatched) Total(int64)           {}
func (unwatched) Count(_, _ int64)      {}
func (unwatched) Reject(int64, string)  {}
func (unwatched) Spend(string, float64) {}
