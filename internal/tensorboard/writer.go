package tensorboard

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"facepipe/internal/regular"
)

// prefix begins the names of files that TensorBoard looks for; a number follows.
const prefix = "events.out.tfevents."

// Writer appends events to a file of its own. The first event makes the file, so a run that
// has nothing more to do leaves none.
type Writer struct {
	path string
	next int64
	f    *os.File // nil before the first event
}

// Open goes on with the event files in a folder at the step next. It makes the folder if there
// is none. Each file is cut before the first event that keep refuses, and where it is torn or
// damaged.
func Open(dir string, next int64, keep func(Event) bool) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	names, err := files(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := cut(filepath.Join(dir, name), keep); err != nil {
			return nil, err
		}
	}
	return &Writer{path: filepath.Join(dir, fmt.Sprintf("%s%010d.pipe", prefix, following(names))), next: next}, nil
}

// Write appends an event, in one piece.
func (w *Writer) Write(e Event) error {
	var records []byte
	if w.f == nil {
		f, err := regular.OpenOwnFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		w.f = f
		records = appendRecord(records, Event{Time: e.Time}.encodeVersion())
		records = appendRecord(records, Event{Time: e.Time, Step: w.next}.encodeStart())
	}
	if _, err := w.f.Write(appendRecord(records, e.encodeScalars())); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	return nil
}

// Sync makes what was written durable.
func (w *Writer) Sync() error {
	if w.f == nil {
		return nil
	}
	return w.f.Sync()
}

// Close closes the file.
func (w *Writer) Close() error {
	if w.f == nil {
		return nil
	}
	return w.f.Close()
}

// files are the names of the event files in a folder, in their order.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// following is the number after those in the names.
func following(names []string) int {
	next := 0
	for _, name := range names {
		digits, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), ".")
		if n, err := strconv.Atoi(digits); err == nil {
			next = max(next, n+1)
		}
	}
	return next
}

// cut shortens a file to the events before the first that keep refuses.
func cut(path string, keep func(Event) bool) error {
	f, err := regular.OpenOwnFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var end int64
	err = Read(bufio.NewReader(f), func(e Event, at int64) bool {
		if len(e.Scalars) > 0 && !keep(e) {
			return false
		}
		end = at
		return true
	})
	if err != nil && !errors.Is(err, ErrFormat) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if info, err := f.Stat(); err != nil || info.Size() == end {
		return err
	}
	return f.Truncate(end)
}
