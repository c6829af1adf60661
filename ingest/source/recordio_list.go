package source

import (
	"errors"
	"fmt"
	"io"
	"os"

	"facepipe/internal/recordio"
	"facepipe/internal/regular"
)

// listCursor reads a .lst file in step with a walk over the records: a .rec is packed in the
// order of its .lst.
type listCursor struct {
	file    *os.File
	lines   *recordio.ListReader
	next    recordio.ListEntry // the entry that was read last
	pending bool               // it is still to be used
	ended   bool
	// fault is why the rest of the file is not used.
	fault error
}

// listWindow is how many lines may lie between those of neighbouring records, for images that
// could not be packed.
const listWindow = 4096

func openList(path string) (*listCursor, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, regular.Reason(err)
	}
	return &listCursor{file: file, lines: recordio.NewListReader(file)}, nil
}

func (c *listCursor) close() { _ = c.file.Close() } // it was only read

// entry is the entry of a key. Its label must be the record's.
func (c *listCursor) entry(key uint64, label float32) (recordio.ListEntry, bool) {
	for range listWindow {
		if c.ended || !c.pending && !c.read() {
			return recordio.ListEntry{}, false
		}
		if c.next.Key == key {
			c.pending = false
			if float32(c.next.Label) != label {
				c.stop(fmt.Errorf("it has the label %v for key %d, the record has %v", c.next.Label, key, label))
				return recordio.ListEntry{}, false
			}
			return c.next, true
		}
		if c.lines.Counted() && c.next.Key > key {
			return recordio.ListEntry{}, false
		}
		c.pending = false
	}
	c.stop(fmt.Errorf("no line for key %d within %d lines", key, listWindow))
	return recordio.ListEntry{}, false
}

func (c *listCursor) read() bool {
	var err error
	if c.next, err = c.lines.Next(); err != nil {
		c.ended = true
		if !errors.Is(err, io.EOF) {
			c.stop(regular.Reason(err))
		}
		return false
	}
	c.pending = true
	return true
}

func (c *listCursor) stop(why error) { c.ended, c.fault = true, why }
