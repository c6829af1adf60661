package cache

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"

	"facepipe/store"
	"facepipe/store/internal/table"
)

// manifest is teachers/NAME/NNNNNN.json, the commit of one shard of
// embeddings.
type manifest struct {
	table.Header
	Shard       int    `json:"shard"`
	Fingerprint string `json:"fingerprint"`
	// Crops is the digest of the crop shard whose rows were embedded.
	Crops string          `json:"crops"`
	Rows  int             `json:"rows"`
	File  *table.FileInfo `json:"file"`
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
func (m *manifest) contentDigest() (table.Digest, error) {
	crops, err := table.ParseDigest(m.Crops)
	if err != nil {
		return table.Digest{}, err
	}
	if m.File == nil {
		return table.Digest{}, errors.New("describes no file")
	}
	file, err := table.ParseDigest(m.File.SHA256)
	if err != nil {
		return table.Digest{}, err
	}
	h := sha256.New()
	table.WriteFields(h, "facepipe embedding shard 1", m.Fingerprint, string(crops[:]), string(file[:]))
	return table.Digest(h.Sum(nil)), nil
}

// readManifest reads the manifest of a shard and checks it in itself and
// against the crop shard it belongs to. A shard that was not embedded yet is
// [os.ErrNotExist].
func readManifest(folder string, d *store.Dataset, shard int, fingerprint string) (*manifest, error) {
	path := filepath.Join(folder, table.ManifestName(shard))
	var m manifest
	if err := table.ReadSealed(path, table.FormatEmbeddings, &m); err != nil {
		return nil, err
	}
	err := m.belongs(fingerprint, d.ShardDigest(shard))
	if err == nil {
		err = m.validate(shard, d.ShardRows(shard))
	}
	return &m, table.AsDamage(path, err)
}

// belongs says what makes the shard one of another cache.
func (m *manifest) belongs(fingerprint, crops string) error {
	switch {
	case m.Fingerprint != fingerprint:
		return fmt.Errorf("has fingerprint %s, its teacher has %s", m.Fingerprint, fingerprint)
	case m.Crops != crops:
		return errors.New("belongs to another crop shard than the dataset's")
	}
	return nil
}

// Validate checks the manifest in itself, as that of a shard with so many rows.
func (m *manifest) validate(shard, rows int) error {
	switch {
	case m.Shard != shard:
		return fmt.Errorf("is the manifest of shard %d", m.Shard)
	case m.Rows != rows || m.File == nil:
		return fmt.Errorf("has %d rows, the crop shard has %d", m.Rows, rows)
	}
	if err := m.File.Validate(m.Rows); err != nil {
		return err
	}
	for _, v := range m.Invalid {
		if v.Row < 0 || v.Row >= m.Rows {
			return fmt.Errorf("names invalid row %d of %d", v.Row, m.Rows)
		}
	}
	return table.MatchDigest(m.contentDigest, m.Digest)
}
