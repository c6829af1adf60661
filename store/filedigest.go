package store

import (
	"crypto/sha256"
	"encoding/hex"
)

// checkFileDigest hashes a mapped file whose batches were verified.
func checkFileDigest(path string, data []byte, info *fileInfo) error {
	var sum [sha256.Size]byte
	// Pages that were read before may have to be read again, and a disk may fail then.
	if err := guarded(func() { sum = sha256.Sum256(data) }); err != nil {
		return damaged(path, "%w", err)
	}
	if got := hex.EncodeToString(sum[:]); got != info.SHA256 {
		return damaged(path, "SHA-256 is %s, its manifest says %s", got, info.SHA256)
	}
	return nil
}

// audit reads all of the file, batch by batch and then as a whole.
func (f *arrowFile[C]) audit() error {
	if err := f.verifyAll(); err != nil {
		return err
	}
	return checkFileDigest(f.path, f.data, f.info)
}
