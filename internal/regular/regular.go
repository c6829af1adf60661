// Package regular opens files. Everything that the program reads by a name goes through it: a
// name may stand for a pipe that nobody writes to, a device without end, a link to somewhere
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

	"facepipe/internal/machine"
)

var (
	// ErrTooLarge marks a file that is larger than its kind ever is.
	ErrTooLarge = errors.New("too large")
	// ErrIrregular marks what is no regular file: a folder, a pipe, a device, or a link where
	// none is followed.
	ErrIrregular = errors.New("not a regular file")
)

// Open opens a file that a user names, to read. It must be a regular one: a pipe, a socket or a
// device is refused, and never waited for. Links are followed. Errors are [*fs.PathError].
func Open(path string) (*os.File, error) { return opened(open(path, os.O_RDONLY, 0)) }

// OpenOwn opens a file that the program wrote into a folder of its own: a dataset, a run, a plan, a
// study. It is [Open], but a link is refused: in a stranger's folder it could lead anywhere.
func OpenOwn(path string) (*os.File, error) { return OpenOwnFile(path, os.O_RDONLY, 0) }

// OpenOwnFile is [os.OpenFile] of what is a regular file, or with [os.O_CREATE] of nothing. A link
// is refused, also one that leads nowhere: nothing is made or changed at its other end.
func OpenOwnFile(path string, flags int, perm os.FileMode) (*os.File, error) {
	return opened(open(path, flags|unix.O_NOFOLLOW, perm))
}

// OpenUpTo is [Open] of a file of at most limit bytes: [ErrTooLarge].
func OpenUpTo(path string, limit int64) (*os.File, error) { return opened(upTo(path, 0, limit)) }

// OpenOwnUpTo is [OpenOwn] of a file of at most limit bytes: [ErrTooLarge].
func OpenOwnUpTo(path string, limit int64) (*os.File, error) {
	return opened(upTo(path, unix.O_NOFOLLOW, limit))
}

// Read reads the whole of a file that a user names and that has at most limit bytes: [Open],
// [ErrTooLarge].
func Read(path string, limit int64) ([]byte, error) { return read(path, 0, limit) }

// ReadOwn reads the whole of a file that the program wrote: [OpenOwn], [ErrTooLarge].
func ReadOwn(path string, limit int64) ([]byte, error) { return read(path, unix.O_NOFOLLOW, limit) }

// Head reads the first bytes of a file that a user names, at most n.
func Head(path string, n int) (head []byte, err error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return io.ReadAll(io.LimitReader(file, int64(n)))
}

// WriteNew writes a file where there is none, into a folder that nobody else writes to. It is not
// made durable: see package durable.
func WriteNew(path string, data []byte, perm os.FileMode) error {
	file, err := OpenOwnFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

func opened(file *os.File, _ fs.FileInfo, err error) (*os.File, error) { return file, err }

// open opens a file that must be a regular one, and says what it is.
func open(path string, flags int, perm os.FileMode) (*os.File, fs.FileInfo, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for whoever is at its other end.
	file, err := os.OpenFile(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY, perm)
	if errors.Is(err, unix.ELOOP) && flags&unix.O_NOFOLLOW != 0 {
		return nil, nil, fault(path, fmt.Errorf("%w but a symbolic link, which is not followed here: put the file itself in its place", ErrIrregular))
	}
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EISDIR) { // a socket, a pipe that nobody reads, a folder to write to
		if info, e := os.Stat(path); e == nil {
			return nil, nil, fault(path, notRegular(info.Mode()))
		}
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault(path, notRegular(info.Mode()))
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// upTo opens a file of at most limit bytes to read it.
func upTo(path string, flags int, limit int64) (*os.File, fs.FileInfo, error) {
	file, info, err := open(path, os.O_RDONLY|flags, 0)
	if err == nil && info.Size() > limit {
		return nil, nil, errors.Join(tooLarge(path, info.Size(), limit), file.Close())
	}
	return file, info, err
}

func read(path string, flags int, limit int64) (data []byte, err error) {
	limit = min(limit, machine.Memory()) // no file is read whole that is larger
	file, info, err := upTo(path, flags, limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	// The size is no promise: a file may grow, and those of /proc say that they are empty.
	buffer := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	n, err := buffer.ReadFrom(io.LimitReader(file, limit+1))
	if err == nil && n > limit {
		err = tooLarge(path, n, limit)
	}
	if err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

func tooLarge(path string, n, limit int64) error {
	return fault(path, fmt.Errorf("%w: %d bytes, where at most %d are read", ErrTooLarge, n, limit))
}

func fault(path string, err error) error { return &fs.PathError{Op: "open", Path: path, Err: err} }

func notRegular(m fs.FileMode) error {
	return fmt.Errorf("%w but %s", ErrIrregular, DescribeMode(m))
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
// arrive: see [Stray], or one that was reserved and never written. Errors do not name the file.
func OpenInput(path string) (*os.File, fs.FileInfo, error) {
	file, info, err := open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, Reason(err)
	}
	if err := refuseStray(file, info.Size()); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// refuseStray refuses what stands in for a file that did not arrive. A large one that begins with
// nothing was reserved and never written: to look for something in a terabyte of zeros takes hours.
func refuseStray(file io.ReaderAt, size int64) error {
	const large = 1 << 20
	head := make([]byte, 1<<16)
	n, _ := file.ReadAt(head, 0)
	if stray := Stray(head[:min(n, StrayLen)]); stray != "" {
		return errors.New("is " + stray)
	}
	if size > large && len(bytes.Trim(head[:n], "\x00")) == 0 {
		return errors.New("begins with zeros, as a file that was never written: copy it again")
	}
	return nil
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
