package student

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"facepipe/internal/durable"
	"facepipe/internal/regular"
	"facepipe/internal/tensorboard"
	"facepipe/student/checkpoint"
)

// metrics are the run's journal, one JSON object a line, and TensorBoard's event files,
// which say the same. Both are written step by step.
type metrics struct {
	f      *os.File
	events *tensorboard.Writer
	lines  int // of the journal
}

// Prefixes of the series in TensorBoard, and of a validation's figures in the journal.
const (
	trainTag      = "train/"
	validationTag = "val/"
	validationKey = "val_"
)

// maxJournal bounds what is read of a journal: a line takes some hundred bytes.
const maxJournal = 4 << 30

func journalPath(run string) string { return filepath.Join(run, "metrics.jsonl") }

// openMetrics opens the journal and the event files of a run to go on from a position.
// What is said of what is done again (later steps, and a validation of this one that the
// position does not know of) is cut off, and so is a last line that a kill tore. lost says what
// else the journal lacks, "" for nothing.
func openMetrics(run string, at checkpoint.Position) (m *metrics, lost string, err error) {
	path := journalPath(run)
	j, err := readJournal(path, at)
	if err != nil {
		return nil, "", err
	}
	if err := durable.WriteFile(path, j.text, 0o644); err != nil {
		return nil, "", fmt.Errorf("write the metrics: %w", err)
	}
	f, err := regular.OpenOwnFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, "", err
	}
	events, err := tensorboard.Open(filepath.Join(run, "tensorboard"), int64(at.Step)+1, func(e tensorboard.Event) bool {
		if strings.HasPrefix(e.Scalars[0].Tag, validationTag) {
			return e.Step <= int64(at.Validated)
		}
		return e.Step <= int64(at.Step)
	})
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("write the event files: %w", err), f.Close())
	}
	return &metrics{f, events, j.lines}, j.lost(at), nil
}

// journal is what metrics.jsonl says up to a position.
type journal struct {
	text       []byte
	lines      int
	last       int // step that it tells of
	unreadable int // lines before others
}

// readJournal reads the lines up to a position, of those of later steps none. A missing file is an
// empty one.
func readJournal(path string, at checkpoint.Position) (j journal, err error) {
	data, err := regular.ReadOwn(path, maxJournal)
	if errors.Is(err, os.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return j, err
	}
	bad := 0 // since the last line that counts
	for text := range bytes.Lines(data) {
		var line struct {
			Step int
			Loss *float64 // none in a validation's line
		}
		if json.Unmarshal(text, &line) != nil {
			bad++
			continue
		}
		j.unreadable, bad = j.unreadable+bad, 0
		if line.Step > at.Step || line.Loss == nil && line.Step > at.Validated {
			continue
		}
		j.text = append(append(j.text, bytes.TrimSuffix(text, []byte("\n"))...), '\n')
		j.lines, j.last = j.lines+1, line.Step
	}
	return j, nil
}

// lost says what a journal lacks of what was written up to a position, "" for nothing. Checkpoints
// of older versions do not know how many lines there were.
func (j *journal) lost(at checkpoint.Position) string {
	switch {
	case at.Lines != 0 && j.lines != at.Lines:
		return fmt.Sprintf("has %d lines of the %d up to step %d, the last of step %d", j.lines, at.Lines, at.Step, j.last)
	case at.Lines == 0 && at.Step > 0 && j.lines == 0:
		return fmt.Sprintf("has no line up to step %d", at.Step)
	case j.unreadable > 0:
		return fmt.Sprintf("had %d lines that are none of JSON", j.unreadable)
	}
	return ""
}

// count is the number of lines in the journal.
func (m *metrics) count() int {
	if m == nil {
		return 0
	}
	return m.lines
}

// write appends a line, and an event of its numbers.
func (m *metrics) write(line map[string]any) error {
	if m == nil {
		return nil // a rank that leaves writing to another
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err := m.f.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	m.lines++
	return m.events.Write(eventOf(line))
}

// sync makes what was written durable, before a checkpoint refers to it.
func (m *metrics) sync() error {
	if m == nil {
		return nil
	}
	if err := errors.Join(m.f.Sync(), m.events.Sync()); err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	return nil
}

// eventOf is what TensorBoard is told of a line.
func eventOf(line map[string]any) tensorboard.Event {
	e := tensorboard.Event{Time: time.Now()}
	for _, name := range slices.Sorted(maps.Keys(line)) {
		var value float64
		switch v := line[name].(type) {
		case float64:
			value = v
		case int:
			value = float64(v)
		}
		if name == "step" {
			e.Step = int64(value)
		} else if figure, ok := strings.CutPrefix(name, validationKey); ok {
			e.Scalars = append(e.Scalars, tensorboard.Scalar{Tag: validationTag + figure, Value: value})
		} else if _, ok := line["loss"]; ok {
			e.Scalars = append(e.Scalars, tensorboard.Scalar{Tag: trainTag + name, Value: value})
		}
	}
	return e
}

func (m *metrics) close() error {
	if m == nil {
		return nil
	}
	return errors.Join(m.f.Close(), m.events.Close())
}
