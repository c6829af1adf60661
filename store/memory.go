package store

import (
	"fmt"

	"facepipe/store/internal/table"
)

// known is what a writer remembers of every input that a dataset has met, in about
// 70 bytes a crop: which crops are stored, whose the keys are, and what was seen.
type known struct {
	// crops numbers the stored crops as their global rows.
	crops table.KeyTable
	// keys are those that lead to a crop; owner i belongs to key i.
	keys   table.KeyTable
	owners table.Chunks[keyOwner]
	// events are inputs (source, key) that were rejected, or that found their key
	// taken by another source; refusals i belongs to event i.
	events   table.KeyTable
	refusals table.Chunks[refusal]
	// rowKeys are the keys of rows, by their places among keys.
	rowKeys table.Chunks[uint32]
	// identities numbers the names as their labels.
	identities table.KeyTable
}

// keyOwner is the crop that a key leads to and the source that brought the key.
type keyOwner struct {
	row    uint32
	source uint32
	stamp  Stamp
}

// refusal is what became of an input that led to no crop at first.
type refusal struct {
	stamp Stamp
	why   uint32 // stands for stage and reason
	state refusalState
}

// refusalState is how far an input has come that led to no crop at first.
type refusalState uint8

const (
	// keyTaken: it is a duplicate without a key of its own.
	keyTaken refusalState = iota
	// rejected: by an earlier run, which is the only state that it can be looked at again from.
	rejected
	// rejectedNow: by this run.
	rejectedNow
	// again: it was rejected and is looked at again.
	again
	// mended: it was rejected and has led to a crop since.
	mended
)

// seen says whether a source's key was met.
func (n *known) seen(source int, key string) bool {
	if k, ok := n.keys.Find(table.HashName(key)); ok && n.owners.At(int(k)).source == uint32(source) {
		return true
	}
	r := n.refusal(source, key)
	return r != nil && r.state != again
}

// refused says whether a source's key was met and led to no crop.
func (n *known) refused(source int, key string) bool {
	r := n.refusal(source, key)
	return r != nil && r.state != mended
}

// refusal is that of an input; nil without one.
func (n *known) refusal(source int, key string) *refusal {
	i, ok := n.events.Find(hashEvent(source, key))
	if !ok {
		return nil
	}
	return n.refusals.At(int(i))
}

// stamp is the stamp of an input that was met.
func (n *known) stamp(source int, key string) Stamp {
	if owner, ok := n.owner(key); ok && owner.source == uint32(source) {
		return owner.stamp
	}
	if r := n.refusal(source, key); r != nil {
		return r.stamp
	}
	return Stamp{}
}

// setStamp gives an input that was met its stamp.
func (n *known) setStamp(source int, key string, s Stamp) {
	if k, ok := n.keys.Find(table.HashName(key)); ok {
		if owner := n.owners.At(int(k)); owner.source == uint32(source) {
			owner.stamp = s
			return
		}
	}
	if r := n.refusal(source, key); r != nil {
		r.stamp = s
	}
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
	if added {
		n.refusals.Append(refusal{state: keyTaken})
	}
	return added
}

// mend notes that an input has led to a crop that was rejected before. It reports whether that
// was so.
func (n *known) mend(source int, key string, from refusalState) bool {
	r := n.refusal(source, key)
	if r == nil || r.state != from {
		return false
	}
	r.state = mended
	return true
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
		n.rowKeys.Append(uint32(n.keys.Len() - 1))
		if label := n.label(c.identity.Value(k)); label != c.label.Value(k) {
			return fmt.Errorf("crop %q has label %d, its identity has %d", key, c.label.Value(k), label)
		}
	}
	return nil
}

// loadEvents takes up a committed shard's duplicates and rejects, after its rows.
func (n *known) loadEvents(m *cropManifest) error {
	for _, input := range m.Superseded {
		if !n.mend(input.Source, input.Key, rejected) {
			return fmt.Errorf("supersedes a reject of %q, and there is none", input.Key)
		}
	}
	for _, d := range m.Duplicates {
		row, ok := n.crops.Find(table.Key128(d.Of))
		if !ok {
			return fmt.Errorf("duplicate %q is of crop %v, which is not stored", d.Key, d.Of)
		}
		n.claim(d.Source, d.Key, row)
	}
	for _, r := range m.Rejects {
		n.event(r.Source, r.Key)
		*n.refusal(r.Source, r.Key) = refusal{why: r.why(), state: rejected}
	}
	return nil
}

// loadStamps takes up the stamps of a committed shard, after all else.
func (n *known) loadStamps(m *cropManifest) {
	stamps := m.stamps()
	if stamps == nil {
		return
	}
	for i := range m.Rows {
		n.owners.At(int(*n.rowKeys.At(m.FirstRow + i))).stamp = stamps[i]
	}
	stamps = stamps[m.Rows:]
	for i, d := range m.Duplicates {
		n.setStamp(d.Source, d.Key, stamps[i])
	}
	stamps = stamps[len(m.Duplicates):]
	for i, r := range m.Rejects {
		n.setStamp(r.Source, r.Key, stamps[i])
	}
}
