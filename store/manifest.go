package store

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"

	"facepipe/store/internal/table"
)

// cropManifest is crops/NNNNNN.json. Its appearance commits the shard: the Arrow
// file that it describes is durable by then.
type cropManifest struct {
	table.Header
	Shard    int      `json:"shard"`
	Contract Contract `json:"contract"`
	Rows     int      `json:"rows"`
	// FirstRow is the number of crops in all earlier shards, Identities that of
	// identities in these and this one.
	FirstRow   int `json:"first_row"`
	Identities int `json:"identities"`
	// File is absent if Rows is 0: then the shard only records events.
	File *table.FileInfo `json:"file,omitempty"`
	// Sources are those that this shard is the first to know; they are numbered on
	// from those of earlier shards.
	Sources    []SourceInfo `json:"sources,omitempty"`
	Duplicates []duplicate  `json:"duplicates,omitempty"`
	Rejects    []Reject     `json:"rejects,omitempty"`
	// Superseded are the rejects of earlier shards that count no more: the inputs were looked at
	// again, and this shard says what has become of them.
	Superseded []inputRef `json:"superseded,omitempty"`
	// Stamps are those of all inputs that the shard records: of its rows, then its duplicates, then
	// its rejects, see [Stamp]. They are absent if none is known.
	Stamps []byte `json:"stamps,omitempty"`
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

// inputRef names an input.
type inputRef struct {
	Source int    `json:"source"`
	Key    string `json:"key"`
}

// contentDigest identifies what the shard holds. It does not cover the paths of
// sources and the wording of reasons: the same photos ingested on another machine
// give the same dataset.
func (m *cropManifest) contentDigest() (table.Digest, error) {
	h := sha256.New()
	var file table.Digest
	if m.File != nil {
		var err error
		if file, err = table.ParseDigest(m.File.SHA256); err != nil {
			return table.Digest{}, err
		}
	}
	table.WriteFields(h, "facepipe crop shard 1", string(file[:]))
	table.WriteNumber(h, len(m.Duplicates))
	for _, d := range m.Duplicates {
		table.WriteNumber(h, d.Source)
		table.WriteFields(h, d.Key, string(d.Of[:]), d.Identity)
	}
	table.WriteNumber(h, len(m.Rejects))
	for _, r := range m.Rejects {
		table.WriteNumber(h, r.Source)
		table.WriteFields(h, r.Key, r.Stage)
	}
	return table.Digest(h.Sum(nil)), nil
}

// readCropManifest reads and checks the manifest of a shard in itself.
func readCropManifest(folder string, shard int) (*cropManifest, error) {
	path := filepath.Join(folder, table.ManifestName(shard))
	var m cropManifest
	if err := table.ReadSealed(path, table.FormatCrops, &m); err != nil {
		return nil, table.MissingIsDamage(path, err)
	}
	return &m, table.AsDamage(path, m.validate(shard))
}

func (m *cropManifest) validate(shard int) error {
	if m.Shard != shard {
		return fmt.Errorf("is the manifest of shard %d", m.Shard)
	}
	if m.Rows < 0 || m.FirstRow < 0 || m.Identities < 0 || (m.Rows > 0) != (m.File != nil) {
		return fmt.Errorf("counts do not fit: %d rows from row %d, %d identities", m.Rows, m.FirstRow, m.Identities)
	}
	if m.File != nil {
		if err := m.File.Validate(m.Rows); err != nil {
			return err
		}
		if n := len(m.File.Batch); m.Rows > n*table.MaxBatchRows {
			return fmt.Errorf("lists %d rows in %d record batches of %d at most", m.Rows, n, table.MaxBatchRows)
		}
	}
	if n := len(m.Stamps); n != 0 && n != stampBytes*(m.Rows+len(m.Duplicates)+len(m.Rejects)) {
		return fmt.Errorf("has %d bytes of stamps", n)
	}
	return table.MatchDigest(m.contentDigest, m.Digest)
}
