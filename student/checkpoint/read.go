package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"facepipe/internal/regular"
	"facepipe/internal/safetensors"
	"facepipe/internal/seal"
)

// Is reports whether a safetensors file says of itself that it is a checkpoint.
func Is(f safetensors.File) bool { return f.Metadata[positionKey] != "" || f.Metadata[sealKey] != "" }

// MaxBytes bounds a checkpoint: 512 numbers of each of two million people, with their momentum and
// their average, are below.
const MaxBytes = 16 << 30

// Read reads and verifies a file.
//
// Errors: [ErrUnusable]; [seal.ErrDamaged] of a file that is not what was written, or lies where
// another was.
func Read(path string) (map[string]safetensors.Tensor, Position, error) {
	read := regular.Read
	if _, named := stepOf(path); named {
		read = regular.ReadOwn
	}
	data, err := read(path, MaxBytes)
	if err != nil {
		return nil, Position{}, err
	}
	return Parse(path, data)
}

// Parse verifies the content of the file at path: in itself, against the step that its name tells
// and, in a run's folder, against run.json.
//
// Errors: those of [Read].
func Parse(path string, data []byte) (map[string]safetensors.Tensor, Position, error) {
	tensors, at, err := parse(path, data)
	if err == nil {
		err = atItsPlace(path, at)
	}
	if err != nil {
		return nil, at, err
	}
	return tensors, at, nil
}

// parse verifies the content in itself.
func parse(path string, data []byte) (map[string]safetensors.Tensor, Position, error) {
	var at Position
	f, err := safetensors.Unmarshal(data)
	_, named := stepOf(path)
	text := f.Metadata[positionKey]
	switch {
	case errors.Is(err, safetensors.ErrTruncated), err != nil && named:
		return nil, at, damaged(path, "%w", err)
	case err != nil:
		return nil, at, fmt.Errorf("%w: %s is no checkpoint: %w", ErrUnusable, path, err)
	case text == "" && (named || f.Metadata[sealKey] != ""):
		return nil, at, damaged(path, "it does not say of which step of a run it is")
	case text == "":
		return nil, at, fmt.Errorf("%w: %s is no checkpoint: it does not say of which step of a run it is", ErrUnusable, path)
	}
	unsound := json.Unmarshal([]byte(text), &at)
	if said := f.Metadata[sealKey]; said != "" || at.Run != "" { // older versions have neither
		if said != seal.Digits([]byte(text)) {
			return nil, at, damaged(path, "what it says of its run does not match its digest")
		}
	}
	if unsound != nil {
		return nil, at, damaged(path, "what it says of its run does not parse: %w", unsound)
	}
	if at.Version > Version {
		return nil, at, fmt.Errorf("%w: %s: written by a newer pipe (version %d, this one reads up to %d)", ErrUnusable, path, at.Version, Version)
	}
	if sum, err := digest(safetensors.Sources(f.Tensors)); err != nil || sum != at.Digest {
		return nil, at, damaged(path, "its tensors do not match its digest")
	}
	return f.Tensors, at, nil
}

// atItsPlace compares a checkpoint with its name, and with the run in whose folder it lies. A file
// of another name, or in another folder, is the user's own affair.
func atItsPlace(path string, at Position) error {
	if step, named := stepOf(path); named && step != at.Step {
		return damaged(path, "it is of step %d: it was copied over another, or renamed", at.Step)
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil || filepath.Base(folder) != checkpointsFolder {
		return err
	}
	run, err := readRun(filepath.Dir(folder))
	if err != nil || run == nil {
		return err
	}
	if what := run.differs(at); what != "" {
		return damaged(path, "it is of another run than %s, and one of the two was copied here: %s", RunFile(filepath.Dir(filepath.Dir(path))), what)
	}
	return nil
}

// damage is what is wrong with a checkpoint that was another when it was written.
type damage struct{ error }

func (d damage) Unwrap() error { return d.error }

func damaged(path, format string, args ...any) error {
	return damage{fmt.Errorf("%w: %s: %w: %w", ErrUnusable, path, seal.ErrDamaged, fmt.Errorf(format, args...))}
}

// WithRemedy adds to an error of [Read], where the file is damaged, how its run can go on
// without it. Nothing does that by itself: an older checkpoint that is taken in silence would
// hide the loss.
func WithRemedy(err error, path string) error {
	if !errors.As(err, new(damage)) {
		return err
	}
	switch before, listErr := before(path); {
	case listErr != nil:
		return fmt.Errorf("%w; delete it", err)
	case before != "":
		return fmt.Errorf("%w; delete it to go on from the one before, %s", err, filepath.Base(before))
	}
	return fmt.Errorf("%w; there is none before it: delete it to begin anew", err)
}

// WithAlternative is [WithRemedy] for who only reads a run: it names the checkpoint that may be
// taken in the place of a damaged one.
func WithAlternative(err error, path string) error {
	if !errors.As(err, new(damage)) {
		return err
	}
	if before, listErr := before(path); listErr == nil && before != "" {
		return fmt.Errorf("%w; the one before is %s", err, before)
	}
	return fmt.Errorf("%w; take it from a copy, or another one", err)
}

// before is the checkpoint before another of its run; "" if there is none.
func before(path string) (string, error) {
	files, err := List(filepath.Dir(filepath.Dir(path)))
	for _, f := range files {
		if f < path {
			return f, err
		}
	}
	return "", err
}

// BestOf is the best checkpoint of a run that keeps it, as the newest one knows it: best.json is
// for people.
//
// Errors: those of [Read].
func BestOf(run string) (string, error) {
	newest, err := Newest(run)
	if err != nil {
		return "", err
	}
	_, at, err := Read(newest)
	if err != nil {
		return "", WithAlternative(err, newest)
	}
	if at.Best == nil {
		return "", fmt.Errorf("%w: %s keeps no best checkpoint (distill --keep-best)", ErrUnusable, run)
	}
	return filepath.Join(Folder(run), Name(at.Best.Step)), nil
}
