package table

import (
	"errors"
	"fmt"
	"os"

	"facepipe/internal/regular"
)

// damageError is damage in one file.
type damageError struct {
	file string
	what error
}

// Damaged says what is wrong with file; errors.Is(err, ErrDamaged) holds.
func Damaged(file, format string, args ...any) error {
	return &damageError{file: file, what: fmt.Errorf(format, args...)}
}

// AsDamage blames file for err, unless err names the damaged file already.
func AsDamage(file string, err error) error {
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	return &damageError{file: file, what: err}
}

func (e *damageError) Error() string { return fmt.Sprintf("%s: %v: %v", e.file, ErrDamaged, e.what) }

func (e *damageError) Is(target error) bool { return target == ErrDamaged }

func (e *damageError) Unwrap() error { return e.what }

// DamageIn is the file that an error blames, and what is wrong with it; ok is false for an
// error that is no damage, or names no file.
func DamageIn(err error) (file string, what error, ok bool) {
	var d *damageError
	if !errors.As(err, &d) {
		return "", nil, false
	}
	return d.file, d.what, true
}

// Unfit makes damage of what stands in the place of a file and cannot be one of ours: a link, a
// pipe, a folder, or far too many bytes.
func Unfit(path string, err error) error {
	if errors.Is(err, regular.ErrIrregular) || errors.Is(err, regular.ErrTooLarge) {
		return AsDamage(path, regular.Reason(err))
	}
	return err
}

// MissingIsDamage makes a file that should be there and is not a case of damage.
func MissingIsDamage(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return Damaged(path, "missing")
	}
	return err
}
