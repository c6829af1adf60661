package source

import (
	"fmt"

	"facepipe/internal/recordio"
)

// recordName is what a record is called.
type recordName struct {
	text  string
	key   uint64 // the number that text is, if known
	known bool
	// inside are entries of the index that lead into the record, where none begins.
	inside []recordio.Entry
}

// recordKeys names records. It must see all records and all damage in their order.
type recordKeys interface {
	// record names a record; metadata says that it is one of insightface's without an image.
	record(r recordio.Record, h recordio.Header, metadata bool) recordName
	// damaged names the records, at least one, that were lost in a stretch of the file.
	damaged(from, to int64) []string
	// behind are the entries of an index that lead beyond the end of the file.
	behind() []recordio.Entry
}

func newKeys(s *recordIO) recordKeys {
	if s.index != nil {
		return &indexKeys{rest: s.index}
	}
	return &positionKeys{next: s.first, images: s.images}
}

// indexKeys are the keys of a .idx file. A record that the index does not know is called @ and
// its offset.
type indexKeys struct {
	rest []recordio.Entry // those of what is still to come
}

// take removes the entries with an offset below end.
func (k *indexKeys) take(end int64) []recordio.Entry {
	n := 0
	for n < len(k.rest) && k.rest[n].Offset < end {
		n++
	}
	taken := k.rest[:n:n]
	k.rest = k.rest[n:]
	return taken
}

func (k *indexKeys) record(r recordio.Record, _ recordio.Header, _ bool) recordName {
	entries := k.take(r.End)
	if len(entries) > 0 && entries[0].Offset == r.Offset {
		key := entries[0].Key
		return recordName{text: formatKey(key), key: key, known: true, inside: entries[1:]}
	}
	return recordName{text: keyAt(r.Offset), inside: entries}
}

func (k *indexKeys) damaged(from, to int64) []string {
	entries := k.take(to)
	if len(entries) == 0 {
		return []string{keyAt(from)}
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = formatKey(e.Key)
	}
	return names
}

func (k *indexKeys) behind() []recordio.Entry { return k.rest }

func keyAt(offset int64) string { return fmt.Sprintf("@%d", offset) }

// positionKeys number records by their place in the file. insightface's records without an image
// count only in front, where record 0 is. Damage counts as one record. As long as the images'
// own ids are the keys, they say how many records were lost.
type positionKeys struct {
	next    uint64
	images  uint64 // insightface's: keys of images are below; 0 if not known
	trusted bool   // there were images, and their ids were the keys
	begun   bool   // there were images
	lost    int64  // bytes of damage since the last record
	damage  bool   // there was damage, ever
}

func (k *positionKeys) record(r recordio.Record, h recordio.Header, metadata bool) recordName {
	switch {
	case metadata && r.Offset == 0:
		k.next = 1
		return recordName{text: formatKey(0), known: true}
	case metadata && (k.damage || k.next >= k.images):
		return recordName{text: keyAt(r.Offset)}
	}
	// Believe an id no further than the damage has room for lost records: ids may be damaged,
	// too.
	if k.trusted && h.ID > k.next && h.ID-k.next <= uint64(k.lost/recordio.MinRecordSize) {
		k.next = h.ID
	}
	key := k.next
	k.trusted = h.ID == key && (k.trusted || !k.begun)
	k.begun, k.lost = true, 0
	k.next++
	return recordName{text: formatKey(key), key: key, known: true}
}

func (k *positionKeys) damaged(from, to int64) []string {
	k.damage = true
	k.lost += to - from
	k.next++
	return []string{formatKey(k.next - 1)}
}

func (k *positionKeys) behind() []recordio.Entry { return nil }
