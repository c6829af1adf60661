package cache

import (
	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// What tests of this folder look at from outside.
type (
	InfoDoc  = infoDoc
	Invalid  = invalid
	Manifest = manifest
)

var (
	DropOn       = drop
	ParseColumns = parseColumns
	ReadInfo     = readInfo
	SchemaOf     = schemaOf
)

// Validate is what readers ask of a manifest.
func (m *manifest) Validate(shard, rows int) error { return m.validate(shard, rows) }

// ContentDigest is what a manifest's digest is of.
func (m *manifest) ContentDigest() (table.Digest, error) { return m.contentDigest() }

// PartsAt are the parts in a folder, which need not be there.
func PartsAt(d *store.Dataset, info Info, dir string) *Parts {
	return &Parts{dataset: d, info: info, dir: dir, disk: d.Disk()}
}

// On are the parts, written to another disk.
func (p *Parts) On(fs durable.FS) *Parts {
	other := *p
	other.disk.FS = fs
	return &other
}

// Dataset is the one whose crops are embedded.
func (p *Parts) Dataset() *store.Dataset { return p.dataset }

// Dir is the folder.
func (p *Parts) Dir() string { return p.dir }

// File is the path of a part's table.
func (p *Parts) File(shard int) (string, error) {
	_, path, err := p.find(shard)
	return path, err
}
