package table

import (
	"crypto/sha256"
	"encoding/binary"
)

// Key128 is a crop ID or the first 16 bytes of the SHA-256 of a longer key. At 128
// bits, a chance collision among billions does not happen.
type Key128 = [16]byte

// KeyTable is a set of 128-bit keys that numbers them 0, 1, 2 ... in the order of
// insertion. It takes about 24 bytes a key and no pointers, so that the garbage
// collector passes over it: a dataset may have tens of millions.
//
// Open addressing with linear probing over slots that hold number+1; keys are
// digests, so their own bits are the hash.
type KeyTable struct {
	keys  Chunks[Key128]
	slots []uint32
}

// Find returns a key's number.
func (t *KeyTable) Find(k Key128) (uint32, bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	s := t.slots[t.probe(k)]
	return s - 1, s != 0
}

// Insert returns the key's number and whether it is new.
func (t *KeyTable) Insert(k Key128) (n uint32, added bool) {
	if 4*(t.keys.n+1) > 3*len(t.slots) {
		t.grow()
	}
	at := t.probe(k)
	if s := t.slots[at]; s != 0 {
		return s - 1, false
	}
	t.keys.Append(k)
	t.slots[at] = uint32(t.keys.n)
	return uint32(t.keys.n - 1), true
}

// Len is the number of keys.
func (t *KeyTable) Len() int { return t.keys.n }

// probe is the slot of k, or the empty one where it belongs.
func (t *KeyTable) probe(k Key128) int {
	mask := len(t.slots) - 1
	at := int(binary.LittleEndian.Uint64(k[:8])) & mask
	for {
		s := t.slots[at]
		if s == 0 || *t.keys.At(int(s - 1)) == k {
			return at
		}
		at = (at + 1) & mask
	}
}

func (t *KeyTable) grow() {
	t.slots = make([]uint32, max(16, 2*len(t.slots)))
	for i := range t.keys.n {
		t.slots[t.probe(*t.keys.At(i))] = uint32(i + 1)
	}
}

// Chunks is a list that grows without being copied: of a list of many million keys
// that doubles, the old one is garbage for a while, as large as all that is in use.
type Chunks[T any] struct {
	parts [][]T
	n     int
}

const chunkLen = 1 << 14

// At is element i; the pointer stays good.
func (c *Chunks[T]) At(i int) *T { return &c.parts[i/chunkLen][i%chunkLen] }

// Append adds an element at the end.
func (c *Chunks[T]) Append(v T) {
	if c.n == len(c.parts)*chunkLen {
		c.parts = append(c.parts, make([]T, chunkLen))
	}
	*c.At(c.n) = v
	c.n++
}

// HashName is the 128-bit stand-in of a key or an identity.
func HashName(s string) Key128 {
	sum := sha256.Sum256([]byte(s))
	return Key128(sum[:16])
}
