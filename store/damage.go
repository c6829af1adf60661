package store

import (
	"errors"
	"fmt"
)

// damageError is damage in one file.
type damageError struct {
	file string
	what error
}

// damaged says what is wrong with file; errors.Is(err, ErrDamaged) holds.
func damaged(file, format string, args ...any) error {
	return &damageError{file: file, what: fmt.Errorf(format, args...)}
}

// asDamage blames file for err, unless err names the damaged file already.
func asDamage(file string, err error) error {
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	return &damageError{file: file, what: err}
}

func (e *damageError) Error() string { return fmt.Sprintf("%s: %v: %v", e.file, ErrDamaged, e.what) }

func (e *damageError) Is(target error) bool { return target == ErrDamaged }

func (e *damageError) Unwrap() error { return e.what }

// damageIn is the file that an error blames, and what is wrong with it; ok is false for an
// error that is no damage, or names no file.
func damageIn(err error) (file string, what error, ok bool) {
	var d *damageError
	if !errors.As(err, &d) {
		return "", nil, false
	}
	return d.file, d.what, true
}
