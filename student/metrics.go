package student

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"facepipe/internal/durable"
)

// metrics is the run's journal: one JSON object a line, flushed line by line.
type metrics struct{ f *os.File }

// openMetrics opens the journal to go on from a position. Lines of what is done again
// (later steps, and a validation of this one that the position does not know of) are
// cut off, and so is a last line that a kill tore.
func openMetrics(path string, at position) (*metrics, error) {
	kept, err := linesUpTo(path, at)
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(path, kept, 0o644); err != nil {
		return nil, fmt.Errorf("write the metrics: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &metrics{f}, nil
}

func linesUpTo(path string, at position) ([]byte, error) {
	data, err := os.ReadFile(path)
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

// write appends one line.
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
	return nil
}

func (m *metrics) close() error {
	if m == nil {
		return nil
	}
	return m.f.Close()
}
