package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"path/filepath"
)

// cropManifest is crops/NNNNNN.json. Its appearance commits the shard: the Arrow
// file that it describes is durable by then.
type cropManifest struct {
	header
	Shard    int      `json:"shard"`
	Contract Contract `json:"contract"`
	Rows     int      `json:"rows"`
	// FirstRow is the number of crops in all earlier shards, Identities that of
	// identities in these and this one.
	FirstRow   int `json:"first_row"`
	Identities int `json:"identities"`
	// File is absent if Rows is 0: then the shard only records events.
	File *fileInfo `json:"file,omitempty"`
	// Sources are those that this shard is the first to know; they are numbered on
	// from those of earlier shards.
	Sources    []SourceInfo `json:"sources,omitempty"`
	Duplicates []duplicate  `json:"duplicates,omitempty"`
	Rejects    []Reject     `json:"rejects,omitempty"`
	// Digest is contentDigest in hexadecimal.
	Digest string `json:"digest"`
}

// duplicate is an input whose pixels are those of a stored crop.
type duplicate struct {
	Source   int    `json:"source"`
	Key      string `json:"key"`
	Of       ID     `json:"of"`
	Identity string `json:"identity,omitempty"`
}

// contentDigest identifies what the shard holds. It does not cover the paths of
// sources and the wording of reasons: the same photos ingested on another machine
// give the same dataset.
func (m *cropManifest) contentDigest() (digest, error) {
	h := sha256.New()
	var file digest
	if m.File != nil {
		var err error
		if file, err = parseDigest(m.File.SHA256); err != nil {
			return digest{}, err
		}
	}
	writeFields(h, "facepipe crop shard 1", string(file[:]))
	writeNumber(h, len(m.Duplicates))
	for _, d := range m.Duplicates {
		writeNumber(h, d.Source)
		writeFields(h, d.Key, string(d.Of[:]), d.Identity)
	}
	writeNumber(h, len(m.Rejects))
	for _, r := range m.Rejects {
		writeNumber(h, r.Source)
		writeFields(h, r.Key, r.Stage)
	}
	return digest(h.Sum(nil)), nil
}

// writeFields writes strings so that no two lists of strings give the same bytes:
// each is preceded by its length.
func writeFields(h hash.Hash, fields ...string) {
	for _, f := range fields {
		writeNumber(h, len(f))
		h.Write([]byte(f))
	}
}

// writeNumber writes 8 bytes, little-endian.
func writeNumber(h hash.Hash, n int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}

// readCropManifest reads and checks the manifest of a shard in itself.
func readCropManifest(folder string, shard int) (*cropManifest, error) {
	path := filepath.Join(folder, manifestName(shard))
	var m cropManifest
	if err := readSealed(path, formatCrops, &m); err != nil {
		return nil, missingIsDamage(path, err)
	}
	return &m, asDamage(path, m.validate(shard))
}

func (m *cropManifest) validate(shard int) error {
	if m.Shard != shard {
		return fmt.Errorf("is the manifest of shard %d", m.Shard)
	}
	if m.Rows < 0 || m.FirstRow < 0 || m.Identities < 0 || (m.Rows > 0) != (m.File != nil) {
		return fmt.Errorf("counts do not fit: %d rows from row %d, %d identities", m.Rows, m.FirstRow, m.Identities)
	}
	if m.File != nil {
		if err := m.File.validate(m.Rows); err != nil {
			return err
		}
	}
	return matchDigest(m.contentDigest, m.Digest)
}

// embeddingManifest is teachers/NAME/NNNNNN.json, the commit of one shard of
// embeddings.
type embeddingManifest struct {
	header
	Shard       int    `json:"shard"`
	Fingerprint string `json:"fingerprint"`
	// Crops is the digest of the crop shard whose rows were embedded.
	Crops string    `json:"crops"`
	Rows  int       `json:"rows"`
	File  *fileInfo `json:"file"`
	// NormMin and NormMax are over the valid embeddings, of mirror images too; both
	// 0 if there is none.
	NormMin float32   `json:"norm_min"`
	NormMax float32   `json:"norm_max"`
	Invalid []invalid `json:"invalid,omitempty"`
	// Digest is contentDigest in hexadecimal.
	Digest string `json:"digest"`
}

// invalid is an embedding that the teacher did not give, or not usably.
type invalid struct {
	Row    int    `json:"row"`
	Mirror bool   `json:"mirror"`
	Reason string `json:"reason"`
}

// contentDigest identifies the embeddings and what they are of.
func (m *embeddingManifest) contentDigest() (digest, error) {
	crops, err := parseDigest(m.Crops)
	if err != nil {
		return digest{}, err
	}
	if m.File == nil {
		return digest{}, errors.New("describes no file")
	}
	file, err := parseDigest(m.File.SHA256)
	if err != nil {
		return digest{}, err
	}
	h := sha256.New()
	writeFields(h, "facepipe embedding shard 1", m.Fingerprint, string(crops[:]), string(file[:]))
	return digest(h.Sum(nil)), nil
}

// readEmbeddingManifest reads the manifest of a shard and checks it in itself and
// against the crop shard it belongs to. A shard that was not embedded yet is
// [os.ErrNotExist].
func readEmbeddingManifest(folder string, d *Dataset, shard int, fingerprint string) (*embeddingManifest, error) {
	path := filepath.Join(folder, manifestName(shard))
	var m embeddingManifest
	if err := readSealed(path, formatEmbeddings, &m); err != nil {
		return nil, err
	}
	err := m.belongs(fingerprint, d.ShardDigest(shard))
	if err == nil {
		err = m.validate(shard, d.ShardRows(shard))
	}
	return &m, asDamage(path, err)
}

// belongs says what makes the shard one of another cache.
func (m *embeddingManifest) belongs(fingerprint, crops string) error {
	switch {
	case m.Fingerprint != fingerprint:
		return fmt.Errorf("has fingerprint %s, its teacher has %s", m.Fingerprint, fingerprint)
	case m.Crops != crops:
		return errors.New("belongs to another crop shard than the dataset's")
	}
	return nil
}

// validate checks the manifest in itself, as that of a shard with so many rows.
func (m *embeddingManifest) validate(shard, rows int) error {
	switch {
	case m.Shard != shard:
		return fmt.Errorf("is the manifest of shard %d", m.Shard)
	case m.Rows != rows || m.File == nil:
		return fmt.Errorf("has %d rows, the crop shard has %d", m.Rows, rows)
	}
	if err := m.File.validate(m.Rows); err != nil {
		return err
	}
	for _, v := range m.Invalid {
		if v.Row < 0 || v.Row >= m.Rows {
			return fmt.Errorf("names invalid row %d of %d", v.Row, m.Rows)
		}
	}
	return matchDigest(m.contentDigest, m.Digest)
}

func matchDigest(compute func() (digest, error), want string) error {
	d, err := compute()
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(d[:]); got != want {
		return fmt.Errorf("digest is %s, its contents give %s", want, got)
	}
	return nil
}
