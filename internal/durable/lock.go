package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked means that another run holds the lock.
var ErrLocked = errors.New("in use by another run")

// Lock is an exclusive advisory lock (flock) on a file. The kernel drops it when the holder
// exits, however it exits. The file itself stays, or is deleted by its holder along with all
// that it guards. While the lock is held the file tells people who wait who holds it. Nothing
// is decided by that. An unlocked file is empty unless its holder was killed.
type Lock struct{ file *os.File }

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
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		l := &Lock{file: f}
		l.sign()
		return l, nil
	}
	defer f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("lock %s: %w%s", path, ErrLocked, advice(f))
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// sign writes down who holds the lock. If it cannot, that does no harm.
func (l *Lock) sign() {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	_ = l.file.Truncate(0)
	_, _ = fmt.Fprintf(l.file, "%d@%s\n", os.Getpid(), host)
}

// advice is what to do about a lock that somebody else holds.
func advice(f *os.File) string {
	const longest = 300 // a host's name has at most 255 bytes
	text, _ := io.ReadAll(io.LimitReader(f, longest))
	pid, host, signed := strings.Cut(strings.TrimSpace(string(text)), "@")
	if _, err := strconv.ParseUint(pid, 10, 32); err != nil || !signed || strconv.Quote(host) != `"`+host+`"` {
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
	there, err := os.Stat(path)
	return err == nil && os.SameFile(have, there)
}

// Unlock releases the lock. A nil Lock is fine.
func (l *Lock) Unlock() error {
	if l == nil || l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	_ = f.Truncate(0)
	return f.Close()
}
