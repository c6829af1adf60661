package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"facepipe/internal/regular"
	"facepipe/internal/safetensors"
)

// Is reports whether a safetensors file says of itself that it is a checkpoint.
func Is(f safetensors.File) bool { return f.Metadata[positionKey] != "" }

// MaxBytes is the longest checkpoint that is read, whole. The optimizer's state and a bank of
// vectors are several times a network.
const MaxBytes = 32 << 30

// maxBest is the longest best.json, in bytes.
const maxBest = 1 << 20

// Read reads and verifies a file.
//
// Errors: [ErrUnusable].
func Read(path string) (map[string]safetensors.Tensor, Position, error) {
	data, err := regular.Read(path, MaxBytes)
	if err != nil {
		return nil, Position{}, err
	}
	return Parse(path, data)
}

// Parse verifies the content of the file at path.
//
// Errors: [ErrUnusable].
func Parse(path string, data []byte) (map[string]safetensors.Tensor, Position, error) {
	var at Position
	f, err := safetensors.Unmarshal(data)
	switch {
	case errors.Is(err, safetensors.ErrTruncated):
		return nil, at, damage{fmt.Errorf("%w: %s: %w", ErrUnusable, path, err)}
	case err != nil:
		return nil, at, damage{fmt.Errorf("%w: %s is no checkpoint: %w", ErrUnusable, path, err)}
	}
	if err := json.Unmarshal([]byte(f.Metadata[positionKey]), &at); err != nil {
		return nil, at, fmt.Errorf("%w: %s is no checkpoint: it does not say of which step of a run it is", ErrUnusable, path)
	}
	if at.Version > Version {
		return nil, at, fmt.Errorf("%w: %s: written by a newer pipe (version %d, this one reads up to %d)", ErrUnusable, path, at.Version, Version)
	}
	if sum, err := digest(safetensors.Sources(f.Tensors)); err != nil || sum != at.Digest {
		return nil, at, damage{fmt.Errorf("%w: %s: damaged (its digest does not fit)", ErrUnusable, path)}
	}
	return f.Tensors, at, nil
}

// damage is what is wrong with a checkpoint that was another when it was written.
type damage struct{ error }

func (d damage) Unwrap() error { return d.error }

// WithRemedy adds to an error of [Read], where the file is damaged, how its run can go on
// without it. Nothing does that by itself: an older checkpoint that is taken in silence would
// hide the loss.
func WithRemedy(err error, path string) error {
	if !errors.As(err, new(damage)) {
		return err
	}
	files, listErr := List(filepath.Dir(filepath.Dir(path)))
	if listErr != nil {
		return fmt.Errorf("%w; delete it", err)
	}
	for _, f := range files {
		if f < path {
			return fmt.Errorf("%w; delete it to go on from the one before, %s", err, filepath.Base(f))
		}
	}
	return fmt.Errorf("%w; there is none before it: delete it to begin anew", err)
}

// BestOf is the best checkpoint of a run that keeps it.
//
// Errors: [ErrUnusable].
func BestOf(run string) (string, error) {
	path := bestPath(run)
	text, err := regular.ReadOwn(path, maxBest)
	if err != nil {
		return "", fmt.Errorf("%w: %s keeps no best checkpoint (distill --keep-best): %w", ErrUnusable, run, err)
	}
	var b bestFile
	if err := json.Unmarshal(text, &b); err != nil || filepath.Base(b.File) != b.File {
		return "", fmt.Errorf("%w: %s names no checkpoint", ErrUnusable, path)
	}
	return filepath.Join(Folder(run), b.File), nil
}
