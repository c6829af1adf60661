package eval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"

	"facepipe/internal/durable"
)

// The files of a report.
const (
	jsonFile     = "report.json"
	markdownFile = "report.md"
	rocFile      = "roc.svg"
)

// write puts the report into dir. report.json comes last: where it is, the rest is.
func (r Report) write(dir string) error {
	text, err := r.json()
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{rocFile, r.chart().SVG()}, {markdownFile, r.markdown()}, {jsonFile, text}} {
		if err := durable.WriteFile(filepath.Join(dir, f.name), f.data, 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

func (r Report) json() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(r)
	return b.Bytes(), err
}
