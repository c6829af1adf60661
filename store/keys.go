package store

import (
	"context"

	"facepipe/store/internal/table"
)

// EachKey visits all keys, those of duplicates among them, shard by shard. It reads no
// images. A key is good until visit returns: to keep it, clone it.
func (d *Dataset) EachKey(ctx context.Context, visit func(key string) error) error {
	return d.eachEntry(ctx, keyVisitor(visit))
}

// keyVisitor takes entries of an index for their keys.
type keyVisitor func(key string) error

// Crop visits a crop's key.
func (v keyVisitor) Crop(_ int, _ table.ID, key string) error { return v(key) }

// Alias visits a duplicate's key.
func (v keyVisitor) Alias(key string, _ table.ID) error { return v(key) }
