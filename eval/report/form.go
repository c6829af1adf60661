package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"

	"facepipe/internal/durable"
)

// The names of the pictures.
const (
	rocFile    = "roc.svg"
	detFile    = "det.svg"
	scoresFile = "scores.svg"
)

// Form is a way to write a report down.
type Form struct {
	// File is the name of the file.
	File string
	// Render gives its contents.
	Render func(Report) ([]byte, error)
}

// Forms are all forms, in the order in which they are written. report.json comes last:
// where it is, the rest is.
func Forms() []Form {
	return []Form{
		{rocFile, roc},
		{detFile, det},
		{scoresFile, scores},
		{"report.md", markdown},
		{"report.json", indented},
	}
}

// Write puts the report into a folder, in all forms.
func (r Report) Write(dir string) error {
	for _, f := range Forms() {
		data, err := f.Render(r)
		if err == nil {
			err = durable.Replace(filepath.Join(dir, f.File), data, 0o644)
		}
		if err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

// indented is the report as JSON, for programs.
func indented(r Report) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(r)
	return b.Bytes(), err
}
