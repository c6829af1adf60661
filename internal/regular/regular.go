// Package regular opens files to read. Everything that the program reads by a name goes through
// it: a name may stand for a pipe that nobody writes to, a device without end, a link to somewhere
// else, or more bytes than memory holds.
package regular

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrTooLarge marks a file that is larger than its kind ever is.
var ErrTooLarge = errors.New("too large")

// Open opens a file that a user names, to read. It must be a regular one: a pipe, a socket or a
// device is refused, and never waited for. Links are followed. Errors are [*fs.PathError].
func Open(path string) (*os.File, error) { return open(path, 0) }

// OpenOwn opens a file that the program wrote into a folder of its own: a dataset, a run, a plan, a
// study. It is [Open], but a link is refused: in a stranger's folder it could lead anywhere.
func OpenOwn(path string) (*os.File, error) { return open(path, unix.O_NOFOLLOW) }

// Read reads the whole of a file that a user names and that has at most limit bytes: [Open],
// [ErrTooLarge].
func Read(path string, limit int64) ([]byte, error) { return read(path, 0, limit) }

// ReadOwn reads the whole of a file that the program wrote: [OpenOwn], [ErrTooLarge].
func ReadOwn(path string, limit int64) ([]byte, error) { return read(path, unix.O_NOFOLLOW, limit) }

func open(path string, flags int) (*os.File, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for somebody who writes to it.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags, 0)
	if errors.Is(err, unix.ELOOP) && flags&unix.O_NOFOLLOW != 0 {
		return nil, fault(path, errors.New("is a symbolic link, which is not followed here: put the file itself in its place"))
	}
	if errors.Is(err, unix.ENXIO) { // a socket, or a device that is not there
		if info, e := os.Stat(path); e == nil {
			return nil, fault(path, notRegular(info.Mode()))
		}
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault(path, notRegular(info.Mode()))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func read(path string, flags int, limit int64) (data []byte, err error) {
	file, err := open(path, flags)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// The size is not asked twice: a file may grow, and those of /proc say that they are empty.
	buffer := bytes.NewBuffer(make([]byte, 0, min(info.Size(), limit)+bytes.MinRead))
	n, err := buffer.ReadFrom(io.LimitReader(file, limit+1))
	if err == nil && (n > limit || info.Size() > limit) {
		err = fault(path, fmt.Errorf("%w: %d bytes, and a file of its kind has at most %d", ErrTooLarge, max(n, info.Size()), limit))
	}
	if err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

func fault(path string, err error) error { return &fs.PathError{Op: "open", Path: path, Err: err} }

func notRegular(m fs.FileMode) error {
	return fmt.Errorf("not a regular file but %s", DescribeMode(m))
}

// Stat looks at a file that must be a regular one, without opening it. Errors do not name the file.
func Stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, Reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(info.Mode())
	}
	return info, nil
}

// OpenInput is [Open] for data of others, and refuses what stands in for a file that did not
// arrive: see [Stray]. Errors do not name the file.
func OpenInput(path string) (*os.File, fs.FileInfo, error) {
	file, err := Open(path)
	if err != nil {
		return nil, nil, Reason(err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, nil, errors.Join(Reason(err), file.Close())
	}
	head := make([]byte, StrayLen)
	n, _ := file.ReadAt(head, 0)
	if stray := Stray(head[:n]); stray != "" {
		return nil, nil, errors.Join(errors.New("is "+stray), file.Close())
	}
	return file, info, nil
}

// DescribeMode says what a file is that is not a regular one.
func DescribeMode(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return m.Type().String()
}

// Reason strips the path from an operating system error, for who names the file anyway.
func Reason(err error) error {
	var pathErr *fs.PathError
	if !errors.As(err, &pathErr) {
		return err
	}
	var code unix.Errno
	if !errors.As(pathErr.Err, &code) {
		return pathErr.Err // says by itself what was wrong
	}
	return fmt.Errorf("%s: %w", pathErr.Op, pathErr.Err)
}
