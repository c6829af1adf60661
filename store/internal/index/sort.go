package index

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
)

// entrySorter puts index entries in the order of their keys in bounded memory, however
// many there are: what fills the memory is sorted and appended to a file, a run, and
// the runs are merged at the end. Of entries with one key, which must have one value,
// one remains.
type entrySorter struct {
	folder string // of the file
	limit  int    // bytes of entries in memory
	arena  []byte
	refs   []entryRef
	bytes  int64    // of all entries
	file   *os.File // nil until there is a run
	ends   []int64  // of the runs in the file
}

// entryRef is an entry in the arena: a key and after it a value.
type entryRef struct {
	lead  uint64 // the first bytes of the key, big-endian: they mostly decide
	start uint32
	key   uint16
	value uint16
}

// runBuffer is the memory through which a run is written and read.
const runBuffer = 64 << 10

func newEntrySorter(folder string, limit int) *entrySorter {
	return &entrySorter{folder: folder, limit: limit}
}

// add takes an entry, copying it. A key has at most 65,535 bytes, as has a value.
func (s *entrySorter) add(key, value []byte) error {
	if len(key) > math.MaxUint16 || len(value) > math.MaxUint16 {
		return fmt.Errorf("index entry of %d and %d bytes", len(key), len(value))
	}
	if len(s.refs) > 0 && len(s.arena)+len(key)+len(value) > s.limit {
		if err := s.spill(); err != nil {
			return err
		}
	}
	r := entryRef{start: uint32(len(s.arena)), key: uint16(len(key)), value: uint16(len(value))}
	var lead [8]byte
	copy(lead[:], key)
	r.lead = binary.BigEndian.Uint64(lead[:])
	s.arena = append(append(s.arena, key...), value...)
	s.refs = append(s.refs, r)
	s.bytes += int64(len(key) + len(value))
	return nil
}

func (s *entrySorter) keyOf(r entryRef) []byte { return s.arena[r.start:][:r.key] }

func (s *entrySorter) valueOf(r entryRef) []byte { return s.arena[r.start+uint32(r.key):][:r.value] }

// sort orders what is in memory.
func (s *entrySorter) sort() {
	slices.SortFunc(s.refs, func(a, b entryRef) int {
		if c := cmp.Compare(a.lead, b.lead); c != 0 {
			return c
		}
		return bytes.Compare(s.keyOf(a), s.keyOf(b))
	})
}

// spill appends what is in memory to the file as a run.
func (s *entrySorter) spill() error {
	s.sort()
	if s.file == nil {
		var err error
		if s.file, err = os.CreateTemp(s.folder, "sort-*"); err != nil {
			return err
		}
	}
	w := bufio.NewWriterSize(s.file, runBuffer)
	size := int64(0)
	var head [4]byte
	for _, r := range s.refs {
		binary.LittleEndian.PutUint16(head[:], r.key)
		binary.LittleEndian.PutUint16(head[2:], r.value)
		// Errors of a bufio.Writer stick and come out of Flush.
		_, _ = w.Write(head[:])
		_, _ = w.Write(s.keyOf(r))
		_, _ = w.Write(s.valueOf(r))
		size += int64(len(head)) + int64(r.key) + int64(r.value)
	}
	if n := len(s.ends); n > 0 {
		size += s.ends[n-1]
	}
	s.ends = append(s.ends, size)
	s.arena, s.refs = s.arena[:0], s.refs[:0]
	return w.Flush()
}

// each calls visit with every entry in the order of keys. Key and value are valid until
// visit returns. It can be called once, and is the end of add.
func (s *entrySorter) each(visit func(key, value []byte) error) error {
	s.sort()
	merge := entryMerge{&memoryRun{sorter: s}}
	begin := int64(0)
	for _, end := range s.ends {
		part := io.NewSectionReader(s.file, begin, end-begin)
		merge = append(merge, &fileRun{r: bufio.NewReaderSize(part, runBuffer), left: end - begin})
		begin = end
	}
	return merge.each(visit)
}

// close deletes the file.
func (s *entrySorter) close() error {
	s.arena, s.refs = nil, nil
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Close(), os.Remove(s.file.Name()))
	s.file = nil
	return err
}

// entryRun is a sorted sequence of entries.
type entryRun interface {
	// next goes to the next entry, at first to the first; [io.EOF] after the last.
	next() error
	key() []byte
	value() []byte
}

// memoryRun is what a sorter has in memory, sorted.
type memoryRun struct {
	sorter *entrySorter
	after  int // number of entries that next has gone to
}

func (m *memoryRun) next() error {
	if m.after == len(m.sorter.refs) {
		return io.EOF
	}
	m.after++
	return nil
}

func (m *memoryRun) key() []byte { return m.sorter.keyOf(m.sorter.refs[m.after-1]) }

func (m *memoryRun) value() []byte { return m.sorter.valueOf(m.sorter.refs[m.after-1]) }

// fileRun is a run on disk.
type fileRun struct {
	r     *bufio.Reader
	left  int64 // bytes still to be read
	entry []byte
	split int // length of the key
}

func (f *fileRun) next() error {
	if f.left == 0 {
		return io.EOF
	}
	var head [4]byte
	_, err := io.ReadFull(f.r, head[:])
	f.split = int(binary.LittleEndian.Uint16(head[:]))
	n := f.split + int(binary.LittleEndian.Uint16(head[2:]))
	f.entry = slices.Grow(f.entry[:0], n)[:n]
	if err == nil {
		_, err = io.ReadFull(f.r, f.entry)
	}
	if err != nil {
		// Not wrapped: an end of the file is no end of the run.
		return fmt.Errorf("read sorted index entries: %v", err)
	}
	f.left -= int64(len(head) + n)
	return nil
}

func (f *fileRun) key() []byte { return f.entry[:f.split] }

func (f *fileRun) value() []byte { return f.entry[f.split:] }

// entryMerge is a heap of runs, the one with the least key on top.
type entryMerge []entryRun

// Len is part of [heap.Interface], as the rest is.
func (m entryMerge) Len() int           { return len(m) }
func (m entryMerge) Less(i, j int) bool { return bytes.Compare(m[i].key(), m[j].key()) < 0 }
func (m entryMerge) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }

// Push is never used: runs only end.
func (m *entryMerge) Push(any) { panic("store: a run was added to a merge") }

// Pop removes the last element.
func (m *entryMerge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// each visits the entries of all runs in the order of keys, one of each key.
func (m *entryMerge) each(visit func(key, value []byte) error) error {
	started := (*m)[:0]
	for _, run := range *m {
		switch err := run.next(); {
		case err == nil:
			started = append(started, run)
		case !errors.Is(err, io.EOF):
			return err
		}
	}
	*m = started
	heap.Init(m)
	var last []byte
	for first := true; len(*m) > 0; first = false {
		top := (*m)[0]
		if first || !bytes.Equal(last, top.key()) {
			if err := visit(top.key(), top.value()); err != nil {
				return err
			}
			last = append(last[:0], top.key()...)
		}
		switch err := top.next(); {
		case err == nil:
			heap.Fix(m, 0)
		case errors.Is(err, io.EOF):
			heap.Pop(m)
		default:
			return err
		}
	}
	return nil
}
