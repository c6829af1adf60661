package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"facepipe/internal/regular"
	"facepipe/store/internal/table"
)

// datasetDoc is dataset.json: the list of shards that make up the dataset. It is
// written last, so that every manifest it names is durable.
type datasetDoc struct {
	table.Header
	Contract   Contract     `json:"contract"`
	Sources    []SourceInfo `json:"sources"`
	Rows       int          `json:"rows"`
	Identities int          `json:"identities"`
	Duplicates int          `json:"duplicates"`
	Rejects    int          `json:"rejects"`
	// Digest is over the contract and the digests of the shards, in order.
	Digest string     `json:"digest"`
	Shards []shardRef `json:"shards"`
}

// shardRef is a shard in dataset.json. Shard i is crops/NNNNNN with NNNNNN = i.
type shardRef struct {
	Rows   int    `json:"rows"`
	Digest string `json:"digest"`
}

func (d *datasetDoc) contentDigest() (table.Digest, error) {
	h := sha256.New()
	table.WriteFields(h, "facepipe dataset 1", d.Contract.Template, d.Contract.Warp, d.Contract.Decoder)
	table.WriteNumber(h, d.Contract.CropSize)
	for i, s := range d.Shards {
		sum, err := table.ParseDigest(s.Digest)
		if err != nil {
			return table.Digest{}, fmt.Errorf("shard %d: %w", i, err)
		}
		h.Write(sum[:])
	}
	return table.Digest(h.Sum(nil)), nil
}

// setDigest completes the document.
func (d *datasetDoc) setDigest() error {
	sum, err := d.contentDigest()
	d.Digest = hex.EncodeToString(sum[:])
	return err
}

func (d *datasetDoc) validate() error {
	if err := d.Contract.validate(); err != nil {
		return err
	}
	rows := 0
	for _, s := range d.Shards {
		if s.Rows < 0 {
			return fmt.Errorf("lists a shard of %d rows", s.Rows)
		}
		rows += s.Rows
	}
	if rows != d.Rows || d.Identities < 0 || d.Identities > rows {
		return fmt.Errorf("counts %d rows and %d identities, its shards have %d rows", d.Rows, d.Identities, rows)
	}
	return table.MatchDigest(d.contentDigest, d.Digest)
}

// readDatasetDoc reads dir/dataset.json. If it is not there, the error says what dir
// is instead: [ErrUnfinished] or [ErrNotFound].
func readDatasetDoc(dir string) (*datasetDoc, error) {
	path := filepath.Join(dir, datasetFile)
	var doc datasetDoc
	err := table.ReadSealed(path, table.FormatDataset, &doc)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return nil, explainMissing(dir)
	case err != nil:
		return nil, err
	}
	return &doc, table.AsDamage(path, doc.validate())
}

func explainMissing(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("open dataset %s: %w", dir, ErrNotFound)
	}
	if _, err := os.Stat(filepath.Join(dir, cropsFolder)); err == nil {
		return fmt.Errorf("open dataset %s: %w: it has no %s: run the same ingest again to finish it", dir, ErrUnfinished, datasetFile)
	}
	return fmt.Errorf("open dataset %s: %w: the folder has no %s", dir, ErrNotFound, datasetFile)
}

// Lies says whether the folder dir, which has these entries, is a dataset whatever its state:
// its dataset.json says so, or it holds nothing but what a first ingest has begun. Unlike
// [IsDataset] it is for folders that may as well hold photographs.
func Lies(dir string, entries []os.DirEntry) bool {
	names := map[string]bool{}
	begun := true
	for _, e := range entries {
		names[e.Name()] = true
		begun = begun && oursByName(e.Name())
	}
	if !names[datasetFile] {
		return begun && names[cropsFolder] && names[table.LockFile]
	}
	head, err := regular.Head(filepath.Join(dir, datasetFile), 256)
	return err == nil && bytes.Contains(head, []byte(`"`+table.FormatDataset+`"`))
}

// Probe says what keeps dir from being a dataset, by its dataset.json alone: [ErrNotFound],
// [ErrUnfinished], [ErrVersion], [ErrDamaged].
func Probe(dir string) error {
	_, err := readDatasetDoc(dir)
	return err
}
