package student

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"facepipe/internal/durable"
	"facepipe/internal/journal"
	"facepipe/internal/regular"
	"facepipe/internal/tensorboard"
	"facepipe/student/checkpoint"
)

// metrics are the run's journal, one JSON object a line, and TensorBoard's event files,
// which say the same. Both are written step by step.
type metrics struct {
	f      *os.File
	chain  *journal.Chain
	events *tensorboard.Writer
	lines  int // of the journal
}

// Prefixes of the series in TensorBoard, and of a validation's figures in the journal.
const (
	trainTag      = "train/"
	validationTag = "val/"
	validationKey = "val_"
)

// openMetrics opens the journal and the event files of a run, of which it gets the id, to go on from
// a position. What is said of what is done again (later steps, and a validation of this one that
// the position does not know of) is cut off, and so is a last line that a kill tore. lost says
// what else the journal lacks, "" for nothing.
func openMetrics(run, id string, at checkpoint.Position) (m *metrics, lost string, err error) {
	path := journal.Path(run)
	j, err := readJournal(run, id, at)
	if err != nil {
		return nil, "", err
	}
	chain := journal.Of(id)
	var text []byte
	for _, object := range j.objects {
		text = append(text, chain.Seal(object)...)
	}
	if err := durable.WriteFile(path, text, 0o644); err != nil {
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
	return &metrics{f, chain, events, len(j.objects)}, j.lost(at), nil
}

// lines are what metrics.jsonl says up to a position.
type lines struct {
	objects  [][]byte
	last     int  // step that they tell of
	bad, end int  // lines that are not what was written: before others, and at the end
	torn     bool // the last one, which lacks its end
	sealed   bool // whether they carry seals
}

// readJournal reads the lines up to a position, of those of later steps none. A missing file is an
// empty one.
func readJournal(run, id string, at checkpoint.Position) (j lines, err error) {
	data, err := regular.ReadOwn(journal.Path(run), journal.MaxBytes)
	if errors.Is(err, os.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return j, err
	}
	chain := journal.Of(id)
	for text := range bytes.Lines(data) {
		var line struct {
			Step int
			Loss *float64 // none in a validation's line
		}
		object, damage := chain.Read(text)
		if damage != nil || json.Unmarshal(object, &line) != nil {
			j.end++
			continue
		}
		j.bad, j.end = j.bad+j.end, 0
		if line.Step > at.Step || line.Loss == nil && line.Step > at.Validated {
			continue
		}
		j.objects, j.last = append(j.objects, object), line.Step
	}
	j.sealed, j.torn = chain.Sealed(), len(data) > 0 && !bytes.HasSuffix(data, []byte("\n"))
	return j, nil
}

// lost says what a journal lacks of what was written up to a position, "" for nothing. Checkpoints
// of older versions do not know how many lines there were.
func (j *lines) lost(at checkpoint.Position) string {
	n, upTo := len(j.objects), ""
	if at.Step < math.MaxInt {
		upTo = fmt.Sprintf(" up to step %d", at.Step)
	}
	switch {
	case at.Lines != 0 && n != at.Lines:
		return fmt.Sprintf("has %d lines of the %d%s, the last of step %d", n, at.Lines, upTo, j.last)
	case at.Lines == 0 && at.Step > 0 && n == 0:
		return fmt.Sprintf("has no line up to step %d", at.Step)
	case j.bad > 0:
		return fmt.Sprintf("has %d lines that are not what was written", j.bad)
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
	if _, err := m.f.Write(m.chain.Seal(text)); err != nil {
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
