package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// FormatVersion is the newest version of a file that this package writes.
//
// History:
//
//	1  first
//	2  crop shards have the columns split, attributes and quality
//
// Every file has the version of its own kind: what a change does not concern keeps
// its number. A reader accepts minFormatVersion..newestVersion of a kind. A change
// that an older reader would misunderstand takes a new number; a new optional field
// does not.
const (
	FormatVersion    = 2
	minFormatVersion = 1
)

// newestVersion is the version in which a kind of file is written.
func newestVersion(format string) int {
	switch format {
	case formatDataset, formatCrops:
		return 2
	}
	return 1
}

// header begins every JSON file of a dataset.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

// The kinds of JSON file.
const (
	formatDataset    = "facepipe dataset"
	formatCrops      = "facepipe crop shard"
	formatTeacher    = "facepipe teacher"
	formatEmbeddings = "facepipe embedding shard"
	formatIndex      = "facepipe index"
	formatCentres    = "facepipe class centres"
	formatClassifier = "facepipe classifier"
	formatPlan       = "facepipe plan"
	formatRun        = "facepipe run"
	formatPlanMerge  = "facepipe plan merge"
)

func headerOf(format string) header { return header{Format: format, Version: newestVersion(format)} }

// A sealed file is a JSON object whose last member, "seal", is the SHA-256 of all
// bytes before its value. Text that was altered by a bit would else often still
// parse, and say something else.
const (
	sealLead   = ",\n  \"seal\": \""
	sealTail   = "\"\n}\n"
	sealDigits = 2 * sha256.Size
)

// maxSealedBytes bounds what a reader loads. A manifest holds some hundred bytes
// for each of at most maxShardEvents inputs.
const maxSealedBytes = 1 << 30

// encodeSealed is doc, a struct with at least one field, as a sealed file.
func encodeSealed(doc any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	// Keys are file names: escaping & and < would only make them unreadable.
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	b.Truncate(b.Len() - len("\n}\n"))
	b.WriteString(sealLead)
	sum := sha256.Sum256(b.Bytes())
	b.WriteString(hex.EncodeToString(sum[:]))
	b.WriteString(sealTail)
	return b.Bytes(), nil
}

// decodeSealed reads a sealed file of the given kind into doc. The version is
// looked at first, since a later one may be sealed in another way: [ErrVersion].
func decodeSealed(data []byte, format string, doc any) error {
	var h header
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("parse JSON: %w", err)
	}
	if h.Format != format {
		return fmt.Errorf("format is %q, want %q", h.Format, format)
	}
	if newest := newestVersion(format); h.Version < minFormatVersion || h.Version > newest {
		return fmt.Errorf("%w %d: this program reads %d to %d", ErrVersion, h.Version, minFormatVersion, newest)
	}
	if err := verifySeal(data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, doc); err != nil {
		return fmt.Errorf("parse JSON: %w", err)
	}
	return nil
}

var errSeal = errors.New("contents do not match the seal")

func verifySeal(data []byte) error {
	body, ok := bytes.CutSuffix(data, []byte(sealTail))
	if !ok || len(body) < sealDigits {
		return errSeal
	}
	body, digits := body[:len(body)-sealDigits], body[len(body)-sealDigits:]
	sum := sha256.Sum256(body)
	if !bytes.HasSuffix(body, []byte(sealLead)) || hex.EncodeToString(sum[:]) != string(digits) {
		return errSeal
	}
	return nil
}

// readSealed reads the sealed file at path into doc. A missing file is
// [os.ErrNotExist]; other failures to parse are [ErrVersion] or [ErrDamaged] and
// name the file.
func readSealed(path, format string, doc any) error {
	_, err := loadSealed(path, format, doc)
	return err
}

// loadSealed is readSealed, and the file's bytes.
func loadSealed(path, format string, doc any) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSealedBytes {
		return nil, damaged(path, "%d bytes are more than such a file can have", info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	err = decodeSealed(data, format, doc)
	if errors.Is(err, ErrVersion) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, asDamage(path, err)
}
