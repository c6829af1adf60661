package store

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Stamp tells one state of an input's file from another. The zero value says nothing: the input
// has no file of its own, or an older program met it.
type Stamp struct {
	// File is of the file's size and modification time, Bytes of what is in it: 0 if the file
	// could not be read.
	File, Bytes uint32
}

// Known says whether the stamp says anything.
func (s Stamp) Known() bool { return s != Stamp{} }

// StampOfFile is [Stamp.File] of a file.
func StampOfFile(size int64, modified time.Time) uint32 {
	b := binary.LittleEndian.AppendUint64(nil, uint64(size))
	return StampOfBytes(binary.LittleEndian.AppendUint64(b, uint64(modified.UnixNano())))
}

// StampOfBytes is [Stamp.Bytes] of a file's contents.
func StampOfBytes(data []byte) uint32 {
	sum := sha256.Sum256(data)
	return max(1, binary.LittleEndian.Uint32(sum[:]))
}

// stampBytes is the length of a stamp in a manifest.
const stampBytes = 8

// stamps are those of a shard in flight, by what they are of.
type stamps struct{ rows, duplicates, rejects []Stamp }

// encode gives the stamps in their order, nil if all are unknown.
func (s *stamps) encode() []byte {
	var data []byte
	known := false
	for _, list := range [][]Stamp{s.rows, s.duplicates, s.rejects} {
		for _, stamp := range list {
			known = known || stamp.Known()
			data = binary.LittleEndian.AppendUint32(data, stamp.File)
			data = binary.LittleEndian.AppendUint32(data, stamp.Bytes)
		}
	}
	if !known {
		return nil
	}
	return data
}

// stamps are those of the shard's inputs in their order, nil if none is known.
func (m *cropManifest) stamps() []Stamp {
	if len(m.Stamps) == 0 {
		return nil
	}
	list := make([]Stamp, len(m.Stamps)/stampBytes)
	for i := range list {
		at := m.Stamps[i*stampBytes:]
		list[i] = Stamp{File: binary.LittleEndian.Uint32(at), Bytes: binary.LittleEndian.Uint32(at[4:])}
	}
	return list
}

// EachInput visits all inputs of the dataset, with their stamps where these are known.
func (d *Dataset) EachInput(visit func(source int, key string, s Stamp)) error {
	for i := range d.shards {
		m, err := d.readManifest(i)
		if err != nil {
			return err
		}
		list := m.stamps()
		if list == nil {
			continue
		}
		f, err := d.openCrops(i)
		if err != nil {
			return err
		}
		next := func(source int, key string) {
			visit(source, key, list[0])
			list = list[1:]
		}
		err = f.eachColumns(func(c *cropColumns) error {
			for k := range c.rows() {
				next(int(c.source.Value(k)), c.key.Value(k))
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, dup := range m.Duplicates {
			next(dup.Source, dup.Key)
		}
		for _, r := range m.Rejects {
			next(r.Source, r.Key)
		}
	}
	return nil
}
