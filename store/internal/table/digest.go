package table

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
)

// CheckFileDigest hashes a mapped file whose batches were verified.
func CheckFileDigest(path string, data []byte, info *FileInfo) error {
	var sum [sha256.Size]byte
	// Pages that were read before may have to be read again, and a disk may fail then.
	if err := Guarded(func() { sum = sha256.Sum256(data) }); err != nil {
		return Damaged(path, "%w", err)
	}
	if got := hex.EncodeToString(sum[:]); got != info.SHA256 {
		return Damaged(path, "SHA-256 is %s, its manifest says %s", got, info.SHA256)
	}
	return nil
}

// Audit reads all of the file, batch by batch and then as a whole.
func (f *File[C]) Audit() error {
	if err := f.verifyAll(); err != nil {
		return err
	}
	return CheckFileDigest(f.Path, f.Data, f.Info)
}

// WriteFields writes strings so that no two lists of strings give the same bytes:
// each is preceded by its length.
func WriteFields(h hash.Hash, fields ...string) {
	for _, f := range fields {
		WriteNumber(h, len(f))
		h.Write([]byte(f))
	}
}

// WriteNumber writes 8 bytes, little-endian.
func WriteNumber(h hash.Hash, n int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}

// MatchDigest wants the digest of a document's contents to be the one that it states, in
// hexadecimal.
func MatchDigest(compute func() (Digest, error), want string) error {
	d, err := compute()
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(d[:]); got != want {
		return fmt.Errorf("digest is %s, its contents give %s", want, got)
	}
	return nil
}
