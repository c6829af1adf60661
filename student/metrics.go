package student

import (
	"bufio"
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
}

// Prefixes of the series in TensorBoard, and of a validation's figures in the journal.
const (
	trainTag      = "train/"
	validationTag = "val/"
	validationKey = "val_"
)

// openMetrics opens the journal and the event files of a run to go on from a position.
// What is said of what is done again (later steps, and a validation of this one that the
// position does not know of) is cut off, and so is a last line that a kill tore.
func openMetrics(run string, at checkpoint.Position) (*metrics, error) {
	path := filepath.Join(run, "metrics.jsonl")
	kept, err := linesUpTo(path, at)
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(path, kept, 0o644); err != nil {
		return nil, fmt.Errorf("write the metrics: %w", err)
	}
	f, err := regular.OpenOwnFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	events, err := tensorboard.Open(filepath.Join(run, "tensorboard"), int64(at.Step)+1, func(e tensorboard.Event) bool {
		if strings.HasPrefix(e.Scalars[0].Tag, validationTag) {
			return e.Step <= int64(at.Validated)
		}
		return e.Step <= int64(at.Step)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the event files: %w", err), f.Close())
	}
	return &metrics{f, events}, nil
}

// maxJournal is the longest journal that a run goes on with, in bytes.
const maxJournal = 4 << 30

func linesUpTo(path string, at checkpoint.Position) ([]byte, error) {
	data, err := regular.ReadOwn(path, maxJournal)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var kept []byte
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Step int
			Loss *float64 // none in a validation's line
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Step > at.Step {
			break
		}
		if line.Loss == nil && line.Step > at.Validated {
			break
		}
		kept = append(append(kept, lines.Bytes()...), '\n')
	}
	return kept, lines.Err()
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
