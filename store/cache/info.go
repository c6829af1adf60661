package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"facepipe/store"
	"facepipe/store/internal/table"
)

// Element types of cached embeddings.
const (
	FP16 = "fp16" // IEEE 754 binary16, rounded to nearest even
	FP32 = "fp32"
)

// maxDim bounds an embedding, so that a row stays far below a record batch.
const maxDim = 1 << 16

// Info describes a teacher cache; it is teacher.json.
type Info struct {
	// Name is the cache's folder under teachers/: letters, digits, '.', '_', '-', at
	// most 64, the first a letter or a digit.
	Name string `json:"name"`
	// ModelFile is the base name of the model's file, for people.
	ModelFile string `json:"model_file"`
	// ModelDigest is the SHA-256 of the model's file, hexadecimal.
	ModelDigest string `json:"model_digest"`
	// Fingerprint covers all that decides an embedding's value: model, preprocessing,
	// flip and element type. Caches of two fingerprints are never mixed.
	Fingerprint string `json:"fingerprint"`
	// Preprocess is how pixels become the model's input, and PreprocessReason why.
	Preprocess       json.RawMessage `json:"preprocess,omitempty"`
	PreprocessReason string          `json:"preprocess_reason,omitempty"`
	// Dim is the length of an embedding.
	Dim int `json:"dim"`
	// DType is [FP16] or [FP32].
	DType string `json:"dtype"`
	// Flip says whether the mirror image of every crop is embedded too.
	Flip bool `json:"flip"`
	// Output is the name of the model's output that was chosen among several embeddings, ""
	// if the model has one.
	Output string `json:"output,omitempty"`
	// NormOutput is the name of the model's output that the norms are from, by which its
	// embeddings of unit length were multiplied; "" if the embeddings are as the model gives
	// them.
	NormOutput string `json:"norm_output,omitempty"`
	// Half says that the model was computed in half precision. The fingerprint covers it;
	// caches of older programs do not say so.
	Half bool `json:"half,omitempty"`
	// TF32 says that a device could round float32 to TF32, which the fingerprint covers, too.
	TF32 bool `json:"tf32,omitempty"`
}

// infoFile is the file that says what a cache holds.
const infoFile = "teacher.json"

// maxName is the length of the longest name.
const maxName = 64

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	noName    = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
)

// SafeName is the name of a cache that is nearest to a text: the text itself if that can be
// one, otherwise with a dash for what cannot stand in it, and cut to the length. "" if the
// text has no letter or digit of ASCII.
func SafeName(text string) string {
	if validName.MatchString(text) {
		return text
	}
	name := strings.TrimLeft(noName.ReplaceAllString(text, "-"), "._-")
	return strings.TrimRight(name[:min(len(name), maxName)], "-")
}

// Validate says what makes the description one of no cache: a name, dimension or element type
// that there cannot be, or no fingerprint. It is for store/plan.
func (t *Info) Validate() error {
	switch {
	case !validName.MatchString(t.Name):
		return fmt.Errorf("name %q is not 1 to 64 of letters, digits, '.', '_', '-'", t.Name)
	case t.Fingerprint == "":
		return errors.New("fingerprint is empty")
	case t.Dim < 1 || t.Dim > maxDim:
		return fmt.Errorf("dim %d is not in 1..%d", t.Dim, maxDim)
	case t.DType != FP16 && t.DType != FP32:
		return fmt.Errorf("dtype %q is neither %s nor %s", t.DType, FP16, FP32)
	}
	return nil
}

// infoDoc is teachers/NAME/teacher.json.
type infoDoc struct {
	table.Header
	Info
}

// readInfo reads and checks folder/teacher.json. A missing one is
// [os.ErrNotExist].
func readInfo(folder, name string) (Info, error) {
	path := filepath.Join(folder, infoFile)
	var doc infoDoc
	if err := table.ReadSealed(path, table.FormatTeacher, &doc); err != nil {
		return Info{}, err
	}
	t := doc.Info
	if err := t.Validate(); err != nil {
		return t, table.AsDamage(path, err)
	}
	if t.Name != name {
		return t, table.Damaged(path, "is of teacher %q", t.Name)
	}
	// The file is indented; hand out what was handed in.
	var compact bytes.Buffer
	if t.Preprocess != nil {
		if err := json.Compact(&compact, t.Preprocess); err != nil {
			return t, table.AsDamage(path, err)
		}
		t.Preprocess = compact.Bytes()
	}
	return t, nil
}

// findInfo is readInfo, and [store.ErrDamaged] where only teacher.json is missing.
func findInfo(folder, name string) (Info, error) {
	info, err := readInfo(folder, name)
	if errors.Is(err, os.ErrNotExist) && outlives(folder) {
		err = table.Damaged(filepath.Join(folder, infoFile), "missing, though there is more of the teacher: run the same precompute-teacher again, which writes it, or drop the teacher")
	}
	return info, err
}

// conflict says what keeps the cache in a folder from holding what another description is
// of: [store.ErrFingerprint].
func (t *Info) conflict(folder string, other Info) error {
	switch {
	case t.Fingerprint != other.Fingerprint:
		return fmt.Errorf("teacher cache %s: %w: it has %s (%s, %s, dim %d, flip %t), this run %s (%s, %s, dim %d, flip %t)",
			folder, store.ErrFingerprint,
			t.Fingerprint, t.ModelFile, t.DType, t.Dim, t.Flip,
			other.Fingerprint, other.ModelFile, other.DType, other.Dim, other.Flip)
	case t.Dim != other.Dim || t.DType != other.DType || t.Flip != other.Flip:
		return fmt.Errorf("teacher cache %s: %w: one fingerprint for %s, dim %d, flip %t and %s, dim %d, flip %t", folder,
			store.ErrFingerprint, t.DType, t.Dim, t.Flip, other.DType, other.Dim, other.Flip)
	}
	return nil
}

// vectorBytes is the size of one stored embedding.
func (t *Info) vectorBytes() int {
	if t.DType == FP16 {
		return 2 * t.Dim
	}
	return 4 * t.Dim
}
