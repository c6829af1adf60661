package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/dgraph-io/badger/v4/fb"

	"facepipe/store/internal/table"
)

// sorted is one of Badger's tables, mapped: entries in the order of their keys, in blocks, and a
// list of the blocks. Whoever opens a database of a stranger's with Badger can be ended by it: the
// library panics in goroutines of its own, and ends the process itself where an assertion does not
// hold. Looking an entry up in sorted tables is a binary search, which is done here instead. What
// points out of a table panics, in the goroutine that looks up.
//
//	blocks | list of blocks (a FlatBuffer) | its length | checksum | length of the checksum
//
// and a block is
//
//	entries | offset of each, 4 bytes, little-endian | number of entries | checksum | its length
//
// where lengths and numbers are 4 bytes, big-endian. Badger's table/builder.go writes them.
type sorted struct {
	path string
	data []byte // the mapping
	list *fb.TableIndex
}

// openSorted maps one of Badger's tables, which must be as it was built.
func openSorted(path string, built builtFile) (*sorted, error) {
	data, err := table.MapVerified(path, built.Bytes, built.Checksum)
	if err != nil {
		return nil, err
	}
	s := &sorted{path: path, data: data}
	if err := s.readList(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// readList finds the list of blocks, of which there is one at least.
func (s *sorted) readList() error {
	err := table.Guarded(func() {
		_, rest := cutLast(s.data)
		list, _ := cutLast(rest)
		s.list = fb.GetRootAsTableIndex(list, 0)
		s.first(0)
	})
	if err != nil {
		return table.Damaged(s.path, "%w", err)
	}
	return nil
}

// cutLast takes what stands before its length at the end of data.
func cutLast(data []byte) (last, rest []byte) {
	at := len(data) - 4
	n := int(binary.BigEndian.Uint32(data[at:]))
	return data[at-n : at], data[:at-n]
}

func (s *sorted) close() error { return table.Unmap(s.path, s.data) }

// first is the key of the first entry of a block.
func (s *sorted) first(block int) []byte {
	var of fb.BlockOffset
	if !s.list.Offsets(&of, block) {
		panic("block is missing")
	}
	return withoutVersion(of.KeyBytes())
}

// versionBytes are at the end of each of Badger's keys: there is one version of each.
const versionBytes = 8

func withoutVersion(key []byte) []byte { return key[:len(key)-versionBytes] }

// block opens a block.
func (s *sorted) block(i int) entryBlock {
	var of fb.BlockOffset
	if !s.list.Offsets(&of, i) {
		panic("block is missing")
	}
	_, rest := cutLast(s.data[of.Offset():][:of.Len()])
	at := len(rest) - 4
	n := int(binary.BigEndian.Uint32(rest[at:]))
	return entryBlock{entries: rest[:at-4*n], offsets: rest[at-4*n : at]}
}

// find is the value of an entry; nil if the table does not have it.
func (s *sorted) find(key []byte) []byte {
	after := sort.Search(s.list.OffsetsLength(), func(i int) bool { return bytes.Compare(s.first(i), key) > 0 })
	if after == 0 {
		return nil
	}
	b := s.block(after - 1)
	at, found := sort.Find(b.len(), func(i int) int { return b.entry(i).compare(key) })
	if !found {
		return nil
	}
	return b.entry(at).value()
}

// entryBlock is a block. The key of an entry is so many bytes of the first one's and then its own:
//
//	bytes of the first key | bytes of its own, 2 bytes each, little-endian | its own | value
type entryBlock struct{ entries, offsets []byte }

func (b entryBlock) len() int { return len(b.offsets) / 4 }

func (b entryBlock) at(i int) []byte { return b.entries[binary.LittleEndian.Uint32(b.offsets[4*i:]):] }

// keyHeader is the length of the two lengths before a key.
const keyHeader = 4

// entry is an entry: its key is shared and then own, its value is stored after marks of Badger's.
type entry struct{ shared, own, stored []byte }

func (b entryBlock) entry(i int) entry {
	e := b.at(i)
	if i+1 < b.len() {
		e = e[:len(e)-len(b.at(i+1))]
	}
	shared, own := binary.LittleEndian.Uint16(e), keyHeader+int(binary.LittleEndian.Uint16(e[2:]))
	parts := entry{b.entries[keyHeader:][:shared], e[keyHeader:own], e[own:]}
	if n := len(parts.own); n < versionBytes {
		parts.shared, parts.own = parts.shared[:int(shared)+n-versionBytes], nil
	} else {
		parts.own = parts.own[:n-versionBytes]
	}
	return parts
}

// compare compares a key with that of the entry.
func (e entry) compare(key []byte) int {
	n := min(len(key), len(e.shared))
	if c := bytes.Compare(key[:n], e.shared); c != 0 {
		return c
	}
	return bytes.Compare(key[n:], e.own)
}

// appendKey appends the key.
func (e entry) appendKey(b []byte) []byte { return append(append(b, e.shared...), e.own...) }

// value is what was stored of a value: marks of Badger's and an end of its life precede it, and are
// 0 in an index.
func (e entry) value() []byte {
	const marks = 3
	if e.stored[0] != 0 || e.stored[1] != 0 || e.stored[2] != 0 {
		panic("a value is marked")
	}
	return e.stored[marks:]
}

// tables are those of an index, in the order of their keys.
type tables []*sorted

// sort puts the tables in order.
func (t tables) sort() {
	sort.Slice(t, func(i, j int) bool { return bytes.Compare(t[i].first(0), t[j].first(0)) < 0 })
}

// find is the value of an entry; nil if there is none.
func (t tables) find(key []byte) []byte {
	after := sort.Search(len(t), func(i int) bool { return bytes.Compare(t[i].first(0), key) > 0 })
	if after == 0 {
		return nil
	}
	return t[after-1].find(key)
}

// each visits all entries, which must be in the order of their keys, each once. What visit is given
// is valid until it returns.
func (t tables) each(ctx context.Context, visit func(key, value []byte) error) error {
	var last, scratch []byte
	for _, s := range t {
		for i := range s.list.OffsetsLength() {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := s.block(i)
			for k := range b.len() {
				e := b.entry(k)
				key := e.appendKey(scratch[:0])
				if last != nil && bytes.Compare(last, key) >= 0 {
					return table.Damaged(s.path, "entry %.40q does not come after %.40q", key, last)
				}
				if err := visit(key, e.value()); err != nil {
					return err
				}
				last, scratch = key, last
			}
		}
	}
	return nil
}

func (t tables) close() error {
	var err error
	for _, s := range t {
		err = errors.Join(err, s.close())
	}
	return err
}

// Badger is the index on disk, opened for reading. Its entries:
//
//	"i" id (16 bytes)                  -> shard, row (4 bytes each, big-endian)
//	"k" key                            -> id
//	"n" identity 00 global row         -> nothing; of older programs, and not read
//
// There is no entry for embeddings: row i of every teacher's shard is row i of the
// crop shard, so that a crop's location is that of its embeddings.
type Badger struct {
	folder string
	tables tables
}

// Open opens the index of the dataset in dir if it is whole and of the snapshot with that digest. A
// missing one is [os.ErrNotExist]. Its look-ups are those that its builder wrote, whoever that
// was: they are not compared with the shards.
func Open(dir, digest string) (*Badger, error) {
	folder, doc, err := readBuilt(dir)
	if err != nil {
		return nil, err
	}
	if doc.Dataset != digest {
		return nil, fmt.Errorf("%s %w", folder, errStaleIndex)
	}
	b := &Badger{folder: folder}
	if b.tables, err = openBuilt(folder, doc); err != nil {
		return nil, errors.Join(err, b.tables.close())
	}
	b.tables.sort()
	return b, nil
}

// get copies the value of an entry, which must be as long as it.
func (b *Badger) get(entry, value []byte) (ok bool, err error) {
	fault := table.Guarded(func() {
		found := b.tables.find(entry)
		if ok = found != nil; ok && len(found) != len(value) {
			err = errEntry
		}
		copy(value, found)
	})
	if fault != nil {
		err = table.Damaged(b.folder, "%w", fault)
	}
	return ok && err == nil, err
}

var errEntry = fmt.Errorf("index: %w: entry of a wrong length", table.ErrDamaged)

// ByID is part of [Index].
func (b *Badger) ByID(id table.ID) (table.Location, bool, error) {
	var l [locationBytes]byte
	ok, err := b.get(appendIDEntry(nil, id), l[:])
	return parseLocation(l[:]), ok, err
}

// ByKey is part of [Index].
func (b *Badger) ByKey(key string) (table.Location, bool, error) {
	var id table.ID
	ok, err := b.get(appendKeyEntry(nil, key), id[:])
	if !ok {
		return table.Location{}, false, err
	}
	return b.ByID(id)
}

// each calls visit with all entries in the order of keys; what it is given is valid
// until it returns.
func (b *Badger) each(ctx context.Context, visit func(entry, value []byte) error) (err error) {
	if e := table.Guarded(func() { err = b.tables.each(ctx, visit) }); e != nil {
		return table.Damaged(b.folder, "%w", e)
	}
	return err
}

// Close lets go of the files.
func (b *Badger) Close() error {
	t := b.tables
	b.tables = nil
	return t.close()
}
