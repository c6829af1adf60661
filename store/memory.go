package store

import (
	"fmt"

	"facepipe/store/internal/table"
)

// known is what a writer remembers of every input that a dataset has met, in about
// 60 bytes a crop: which crops are stored, whose the keys are, and what was seen.
type known struct {
	// crops numbers the stored crops as their global rows.
	crops table.KeyTable
	// keys are those that lead to a crop; owner i belongs to key i.
	keys   table.KeyTable
	owners table.Chunks[keyOwner]
	// events are inputs (source, key) that were rejected, or that found their key
	// taken by another source.
	events table.KeyTable
	// identities numbers the names as their labels.
	identities table.KeyTable
}

// keyOwner is the crop that a key leads to and the source that brought the key.
type keyOwner struct {
	row    uint32
	source uint32
}

// seen says whether a source's key was met.
func (n *known) seen(source int, key string) bool {
	if k, ok := n.keys.Find(table.HashName(key)); ok && n.owners.At(int(k)).source == uint32(source) {
		return true
	}
	return n.refused(source, key)
}

// refused says whether a source's key was met and led to no crop.
func (n *known) refused(source int, key string) bool {
	_, ok := n.events.Find(hashEvent(source, key))
	return ok
}

// owner is the source that brought a key, and the row it leads to.
func (n *known) owner(key string) (keyOwner, bool) {
	k, ok := n.keys.Find(table.HashName(key))
	if !ok {
		return keyOwner{}, false
	}
	return *n.owners.At(int(k)), true
}

// stored says whether a crop is.
func (n *known) stored(id ID) bool {
	_, ok := n.crops.Find(table.Key128(id))
	return ok
}

// leads says whether a key leads to a crop.
func (n *known) leads(key string, id ID) bool {
	owner, taken := n.owner(key)
	row, stored := n.crops.Find(table.Key128(id))
	return taken && stored && owner.row == row
}

// claim gives a key to a row. It reports false, and records the input as an event,
// if the key was given away before.
func (n *known) claim(source int, key string, row uint32) bool {
	if _, added := n.keys.Insert(table.HashName(key)); added {
		n.owners.Append(keyOwner{row: row, source: uint32(source)})
		return true
	}
	n.event(source, key)
	return false
}

// event records that an input was met; false if it was already.
func (n *known) event(source int, key string) bool {
	_, added := n.events.Insert(hashEvent(source, key))
	return added
}

// label is the label of an identity, a new one if the name is new.
func (n *known) label(identity string) int32 {
	if identity == "" {
		return NoLabel
	}
	l, _ := n.identities.Insert(table.HashName(identity))
	return int32(l)
}

// loadRows takes up a batch of committed crops and checks that they are what a
// writer would have stored.
func (n *known) loadRows(c *cropColumns) error {
	for k := range c.rows() {
		key := c.key.Value(k)
		row, added := n.crops.Insert(c.idAt(k))
		if !added {
			return fmt.Errorf("crop %v is stored twice, the second time as %q", c.idAt(k), key)
		}
		if !n.claim(int(c.source.Value(k)), key, row) {
			return fmt.Errorf("key %q is stored twice", key)
		}
		if label := n.label(c.identity.Value(k)); label != c.label.Value(k) {
			return fmt.Errorf("crop %q has label %d, its identity has %d", key, c.label.Value(k), label)
		}
	}
	return nil
}

// loadEvents takes up a committed shard's duplicates and rejects, after its rows.
func (n *known) loadEvents(m *cropManifest) error {
	for _, d := range m.Duplicates {
		row, ok := n.crops.Find(table.Key128(d.Of))
		if !ok {
			return fmt.Errorf("duplicate %q is of crop %v, which is not stored", d.Key, d.Of)
		}
		n.claim(d.Source, d.Key, row)
	}
	for _, r := range m.Rejects {
		n.event(r.Source, r.Key)
	}
	return nil
}
