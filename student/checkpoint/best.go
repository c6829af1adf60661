package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"facepipe/internal/durable"
)

// Best is the step of a run with the best value of a figure; of two that are equal, the
// earlier one.
type Best struct {
	Step   int     `json:"step"`
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
}

// bestPath is the file that names the best checkpoint, for people and programs that
// look for it. It is derived: the newest checkpoint knows better.
func bestPath(run string) string { return filepath.Join(Folder(run), "best.json") }

// bestFile is the content of best.json.
type bestFile struct {
	File string `json:"file"`
	Best
}

// NoteBest writes best.json, or removes it where no checkpoint is the best.
func NoteBest(run string, b *Best) error {
	path := bestPath(run)
	if b != nil {
		if _, err := os.Stat(filepath.Join(Folder(run), Name(b.Step))); err == nil {
			text, err := json.Marshal(bestFile{Name(b.Step), *b})
			if err != nil {
				return err
			}
			return durable.WriteFile(path, append(text, '\n'), 0o644)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// BestOf is the best checkpoint of a run that keeps it.
//
// Errors: [ErrUnusable].
func BestOf(run string) (string, error) {
	path := bestPath(run)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: %s keeps no best checkpoint (distill --keep-best): %w", ErrUnusable, run, err)
	}
	var b bestFile
	if err := json.Unmarshal(text, &b); err != nil || filepath.Base(b.File) != b.File {
		return "", fmt.Errorf("%w: %s names no checkpoint", ErrUnusable, path)
	}
	return filepath.Join(Folder(run), b.File), nil
}
