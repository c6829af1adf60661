package table

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"facepipe/internal/regular"
)

// UnreadableIn is the file that an error says cannot be read, and why: a disk that fails, a folder
// or a pipe in its place, no permission, a version that no program here knows. ok is false for
// an error that names no file, and where the machine or the caller is at fault.
func UnreadableIn(err error) (file string, why error, ok bool) {
	var named *fs.PathError
	if !errors.As(err, &named) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return "", nil, false
	}
	short := []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM}
	if slices.ContainsFunc(short, func(of error) bool { return errors.Is(err, of) }) {
		return "", nil, false
	}
	return named.Path, regular.Reason(named), true
}
