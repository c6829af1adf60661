package cache

import (
	"facepipe/internal/durable"
	"facepipe/store"
)

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
