package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"facepipe/internal/regular"
)

// ErrLocked means that another run holds the lock.
var ErrLocked = errors.New("in use by another run")

// ErrForeignLock means that a lock's file holds what no run has written: it is somebody's data
// under the name of a lock, and is left alone.
var ErrForeignLock = errors.New("not a lock file of pipe")

// Lock is an exclusive advisory lock (flock) on a file. The kernel drops it when the holder
// exits, however it exits. The file itself stays, or is deleted by its holder along with all
// that it guards. While the lock is held the file tells people who wait who holds it. Nothing
// is decided by that. An unlocked file is empty unless its holder was killed.
type Lock struct {
	file   *os.File
	signed bool
}

// TryLock takes the lock on path, creating the file, or fails at once with
// [ErrLocked] if somebody has it.
func TryLock(path string) (*Lock, error) {
	for {
		l, err := lockFile(path)
		if err != nil || l.guards(path) {
			return l, err
		}
		// Its holder deleted the file after we opened it. Others will lock another file of
		// that name.
		_ = l.Unlock()
	}
}

// WaitLock takes the lock on path, creating the file, as soon as its holder unlocks it. It
// ends with ctx, as that may take long.
func WaitLock(ctx context.Context, path string) (*Lock, error) {
	const longest = 200 * time.Millisecond
	for pause := time.Millisecond; ; pause = min(2*pause, longest) {
		l, err := TryLock(path)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

func lockFile(path string) (*Lock, error) {
	f, err := regular.OpenOwnFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	l := &Lock{file: f}
	if err == nil {
		err = l.sign()
	} else if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w%s", ErrLocked, advice(f))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return l, nil
}

// sign writes down who holds the lock, in place of who was killed with it. Anything else in the
// file is [ErrForeignLock]. A file that has a second name, in a snapshot made of links or where
// somebody has put a link, is not written to. If it cannot write, that does no harm.
func (l *Lock) sign() error {
	text, err := io.ReadAll(io.LimitReader(l.file, longestSignature+1))
	if err != nil {
		return err
	}
	zeros := len(text) <= longestSignature && len(bytes.Trim(text, "\x00")) == 0 // none, or those that a power cut leaves
	if _, _, signed := signature(text); !signed && !zeros {
		return fmt.Errorf("%w: it holds something else; move it away", ErrForeignLock)
	}
	var s unix.Stat_t
	if err := unix.Fstat(int(l.file.Fd()), &s); err != nil || s.Nlink > 1 {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	l.signed = true
	_ = l.file.Truncate(0)
	_, _ = l.file.WriteAt(fmt.Appendf(nil, "%d@%s\n", os.Getpid(), host), 0)
	return nil
}

// longestSignature bounds what tells who holds a lock: a host's name has at most 255 bytes.
const longestSignature = 300

// signature is who holds a lock, by the text in its file.
func signature(text []byte) (pid, host string, ok bool) {
	pid, host, ok = strings.Cut(strings.TrimSpace(string(text)), "@")
	_, err := strconv.ParseUint(pid, 10, 32)
	return pid, host, ok && err == nil && len(text) <= longestSignature && strconv.Quote(host) == `"`+host+`"`
}

// advice is what to do about a lock that somebody else holds.
func advice(f *os.File) string {
	text, _ := io.ReadAll(io.LimitReader(f, longestSignature+1))
	pid, host, signed := signature(text)
	if !signed {
		return "; wait for it, or find it with fuser"
	}
	return fmt.Sprintf(" (process %s on %s); wait for it, or stop it", pid, host)
}

// guards says whether the locked file is the one at path.
func (l *Lock) guards(path string) bool {
	have, err := l.file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(have, there)
}

// Unlock releases the lock. A nil Lock is fine.
func (l *Lock) Unlock() error {
	if l == nil || l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	if l.signed {
		_ = f.Truncate(0)
	}
	return f.Close()
}
