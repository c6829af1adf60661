package launch

import (
	"bytes"
	"io"
	"sync"
)

// longestLine is how much of a line is kept until its end comes. A longer line is split.
const longestLine = 64 << 10

// lineLock keeps lines of several writers whole.
type lineLock = sync.Mutex

// lineWriter passes on whole lines with a prefix before each.
type lineWriter struct {
	w      io.Writer
	prefix string
	lock   *lineLock
	rest   []byte // of a line whose end has not come
}

func (l *lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		l.rest = append(l.rest, line...)
		if whole || len(l.rest) > longestLine {
			if err := l.emit(); err != nil {
				return 0, err
			}
		}
		rest = after
	}
	return len(p), nil
}

// flush passes on a last line without an end.
func (l *lineWriter) flush() {
	if len(l.rest) > 0 {
		_ = l.emit() // the rank has ended; nobody is left to tell
	}
}

func (l *lineWriter) emit() error {
	l.lock.Lock()
	defer l.lock.Unlock()
	_, err := l.w.Write(append(append([]byte(l.prefix), l.rest...), '\n'))
	l.rest = l.rest[:0]
	return err
}
