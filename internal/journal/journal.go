// Package journal has the form of metrics.jsonl, in which a training run notes its figures: one JSON
// object a line. A line ends with a seal, of the line and of the seal before it. So each can be
// believed as soon as it is written, and none can be altered, left out, moved, or be another run's
// without being found. Journals of before there were seals have lines without.
package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"facepipe/internal/regular"
	"facepipe/internal/seal"
)

// MaxBytes is the longest journal that is read: a line takes some hundred bytes.
const MaxBytes = 4 << 30

// Path is where a run's folder has its journal.
func Path(run string) string { return filepath.Join(run, "metrics.jsonl") }

// Open opens a run's journal to read it.
func Open(run string) (*os.File, error) { return regular.OpenOwnUpTo(Path(run), MaxBytes) }

// A seal stands between lead and tail, of half as many bytes as its digits: enough for accidents.
const (
	lead   = `,"seal":"`
	tail   = `"}`
	digits = 16
)

// Chain is what seals a journal's lines, and verifies them, one after another.
type Chain struct {
	before string // seal of the line before; of the first, its run
	known  bool   // whether that is known
	sealed bool   // whether a line had a seal
}

// Of begins the journal of a run, of which it gets the id; with "" the first line is believed.
func Of(run string) *Chain { return &Chain{before: run, known: run != ""} }

// Seal is a line: an object with members, its seal, and the break.
func (c *Chain) Seal(object []byte) []byte {
	body := object[:len(object)-len("}")]
	c.before = c.next(body)
	line := make([]byte, 0, len(body)+len(lead)+digits+len(tail)+1)
	return append(append(append(append(append(line, body...), lead...), c.before...), tail...), '\n')
}

// Read is the object of the next line: [seal.ErrSeal] if that, or the one before it, is not what was
// written. The lines after it are judged anew.
func (c *Chain) Read(line []byte) (object []byte, err error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	head, found := bytes.CutSuffix(line, []byte(tail)) // without a seal its members are numbers
	if !found && !c.sealed {
		return line, nil
	}
	at := len(head) - digits - len(lead)
	if !found || at < 0 || string(head[at:at+len(lead)]) != lead {
		c.known = false // the line after it cannot be compared
		return nil, seal.ErrSeal
	}
	body, said := head[:at], string(head[at+len(lead):])
	sound := !c.known || said == c.next(body)
	c.before, c.known, c.sealed = said, true, true
	if !sound {
		return nil, seal.ErrSeal
	}
	return append(bytes.Clone(body), '}'), nil
}

// Sealed is whether a line that was read had a seal.
func (c *Chain) Sealed() bool { return c.sealed }

func (c *Chain) next(body []byte) string {
	h := sha256.New()
	h.Write([]byte(c.before))
	h.Write([]byte{'\n'})
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil)[:digits/2])
}
