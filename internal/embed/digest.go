package embed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"facepipe/internal/filedigest"
	"facepipe/internal/onnx"
)

// Digest is what [Model.Digest] of a file would be. Errors wrap os.ErrNotExist,
// onnx.ErrFormat or [ErrWeights] and name the file.
func Digest(path string) (string, error) {
	m, err := onnx.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("open model: %w", err)
	}
	sum, err := modelDigest(path, m.ExternalFiles())
	if err != nil {
		return "", fmt.Errorf("open model %s: %w", path, err)
	}
	return sum, nil
}

// modelDigest identifies a model's bytes in 64 hexadecimal digits: the SHA-256 of its
// file or, if it keeps weights in files of their own, the SHA-256 over the digests of
// all of them. Otherwise models with other weights would pass for the same.
func modelDigest(path string, external []string) (string, error) {
	sum, err := filedigest.Of(path)
	if err != nil || len(external) == 0 {
		return sum, err
	}
	all := sha256.New()
	fmt.Fprintf(all, "facepipe model v1\n%s\n", sum)
	for _, name := range external {
		beside, err := onnx.Beside(path, name)
		if err == nil {
			sum, err = filedigest.Of(beside)
		}
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrWeights, err)
		}
		fmt.Fprintf(all, "%q %s\n", name, sum)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}
