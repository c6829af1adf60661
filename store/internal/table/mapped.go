package table

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"

	"facepipe/internal/regular"
)

// Checksum is a CRC-32C (Castagnoli), written as 8 hexadecimal digits. It finds
// accidents, at memory speed; identity is the business of SHA-256.
type Checksum uint32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksumOf(parts ...[]byte) Checksum {
	var c Checksum
	for _, p := range parts {
		c = c.Extend(p)
	}
	return c
}

// Extend is the checksum of the bytes c stands for, followed by p.
func (c Checksum) Extend(p []byte) Checksum {
	return Checksum(crc32.Update(uint32(c), castagnoli, p))
}

// MarshalText writes 8 hexadecimal digits.
func (c Checksum) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%08x", uint32(c)), nil }

// UnmarshalText reads 8 hexadecimal digits.
func (c *Checksum) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 16, 32)
	if err != nil || len(text) != 8 {
		return fmt.Errorf("parse checksum %q: want 8 hexadecimal digits", text)
	}
	*c = Checksum(v)
	return nil
}

// verify compares the checksum of parts, which lie in a mapped file. A page that
// the disk cannot deliver, or that a truncation took away, is an error here and not
// a crash later: every byte is touched, with faults turned into panics.
func (c Checksum) verify(parts ...[]byte) error {
	var got Checksum
	if err := Guarded(func() { got = checksumOf(parts...) }); err != nil {
		return err
	}
	if got != c {
		return fmt.Errorf("checksum is %08x, want %08x", uint32(got), uint32(c))
	}
	return nil
}

// Guarded calls read, in which a page of a mapped file that cannot be read is an error and
// not the end of the process.
func Guarded(read func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read mapped file: %v", r)
		}
	}()
	read()
	return nil
}

// mapFile maps a whole file of the given size for reading. The descriptor is closed
// again: a dataset may have more shards than a process may have files open.
func mapFile(path string, size int64) ([]byte, error) {
	f, err := regular.OpenOwn(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, Damaged(path, "missing")
	}
	if err != nil {
		return nil, Unfit(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != size {
		return nil, Damaged(path, "has %d bytes, its manifest says %d", info.Size(), size)
	}
	if size == 0 || size > math.MaxInt {
		return nil, Damaged(path, "%d bytes cannot be mapped", size)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, &fs.PathError{Op: "map", Path: path, Err: err}
	}
	return data, nil
}

// MapVerified maps a whole file that was built with a size and a checksum, to be unmapped by [Unmap].
func MapVerified(path string, size int64, sum Checksum) ([]byte, error) {
	if info, err := os.Lstat(path); err == nil && info.Size() != size {
		return nil, Damaged(path, "is not what was built: has %d bytes, not %d", info.Size(), size)
	}
	data, err := mapFile(path, size)
	if err != nil {
		return nil, err
	}
	if err := sum.verify(data); err != nil {
		return nil, errors.Join(Damaged(path, "is not what was built: %w", err), Unmap(path, data))
	}
	return data, nil
}

// Unmap ends what mapping a file began.
func Unmap(path string, data []byte) error { return unmapFile(path, data) }

func unmapFile(path string, data []byte) error {
	if err := unix.Munmap(data); err != nil {
		return fmt.Errorf("unmap %s: %w", path, err)
	}
	return nil
}

// CheckSize wants a file of a size, which its manifest says; it reads nothing.
func CheckSize(path string, size int64) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return Damaged(path, "missing")
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return Damaged(path, "%w but %s", regular.ErrIrregular, regular.DescribeMode(info.Mode()))
	}
	if info.Size() != size {
		return Damaged(path, "has %d bytes, its manifest says %d", info.Size(), size)
	}
	return nil
}
