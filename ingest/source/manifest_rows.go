package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxRecord is the longest accepted row of a table in bytes, with all lines that its quoted
// cells span. It bounds what an unclosed quotation mark can cost.
const maxRecord = 64 << 10

// record is the text of one row, or of a line that is no row.
type record struct {
	text  []byte // with its line break; valid until the next record is read
	line  int    // that it begins at, counted from 1
	fault error  // nil for a row
}

// recordReader splits a table into records. If text is no record it gives the first line, with
// the fault, and goes on behind that line: one stray quotation mark must not swallow the rows
// that follow it.
type recordReader struct {
	r         *bufio.Reader
	delimiter byte // 0 if there are no quoted cells
	line      int  // of the next record
	consumed  int  // bytes of the window that the last record took
	inLongRow bool // the window begins within a line that is too long
}

func newRecordReader(r io.Reader, delimiter byte) *recordReader {
	// Some records fit, so that the window seldom has to be moved to the front.
	const records = 8
	return &recordReader{r: bufio.NewReaderSize(r, records*maxRecord), delimiter: delimiter, line: 1}
}

// next returns the next record, or io.EOF.
func (r *recordReader) next() (record, error) {
	for {
		window, err := r.window()
		if err != nil {
			return record{}, err
		}
		atEnd := len(window) < maxRecord
		firstLine := bytes.IndexByte(window, '\n') + 1
		if firstLine == 0 {
			firstLine = len(window)
		}
		if r.inLongRow {
			r.inLongRow = !atEnd && window[firstLine-1] != '\n'
			r.take(window[:firstLine])
			continue
		}
		rec := record{line: r.line}
		end, fault := r.end(window, atEnd)
		if fault != nil {
			rec.fault, end = fault, firstLine
			r.inLongRow = !atEnd && window[end-1] != '\n'
		}
		rec.text = window[:end]
		r.take(rec.text)
		return rec, nil
	}
}

// window is the text behind the last record, as far as a record may reach. It has less than
// maxRecord bytes only at the end of the file.
func (r *recordReader) window() ([]byte, error) {
	if _, err := r.r.Discard(r.consumed); err != nil {
		return nil, err
	}
	r.consumed = 0
	window, err := r.r.Peek(maxRecord)
	if err != nil && (err != io.EOF || len(window) == 0) {
		return nil, err
	}
	return window, nil
}

func (r *recordReader) take(text []byte) {
	r.consumed = len(text)
	r.line += bytes.Count(text, []byte{'\n'})
}

// Faults of text that should have been a record.
var (
	errOpenQuote   = fmt.Errorf("a quoted cell does not end within %d bytes", maxRecord)
	errBehindQuote = errors.New("text behind a quoted cell")
	errLongRow     = fmt.Errorf("is longer than %d bytes", maxRecord)
)

// end is where the record at the beginning of text ends: behind the first line break that is not
// within a quoted cell (RFC 4180, 2.6). A quotation mark within a cell that does not begin with
// one is text, as in most programs.
func (r *recordReader) end(text []byte, atEnd bool) (int, error) {
	const (
		cellStart = iota
		inCell
		inQuotes
		afterQuote // the end of a quoted cell, or the first of two quotation marks
	)
	state := cellStart
	for i, b := range text {
		switch {
		case state == inQuotes:
			if b == '"' {
				state = afterQuote
			}
		case b == '\n':
			return i + 1, nil
		case r.delimiter == 0:
		case b == '"' && (state == cellStart || state == afterQuote):
			state = inQuotes
		case b == r.delimiter:
			state = cellStart
		case state == afterQuote && b != '\r':
			return 0, errBehindQuote
		case state == cellStart:
			state = inCell
		}
	}
	switch {
	case state == inQuotes:
		return 0, errOpenQuote
	case !atEnd:
		return 0, errLongRow
	}
	return len(text), nil
}

// splitCells splits a record into its cells.
func splitCells(text []byte, delimiter byte) ([]string, error) {
	rest := string(bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r")))
	var cells []string
	for {
		var cell string
		var err error
		if strings.HasPrefix(rest, `"`) {
			cell, rest, err = quotedCell(rest)
		} else {
			end := strings.IndexByte(rest, delimiter)
			if end < 0 {
				end = len(rest)
			}
			cell, rest = rest[:end], rest[end:]
		}
		if err != nil {
			return nil, err
		}
		cells = append(cells, cell)
		if rest == "" {
			return cells, nil
		}
		if rest[0] != delimiter {
			return nil, errBehindQuote
		}
		rest = rest[1:]
	}
}

// quotedCell reads the cell in quotation marks that text begins with.
func quotedCell(text string) (cell, rest string, err error) {
	var b strings.Builder
	for text = text[1:]; ; {
		end := strings.IndexByte(text, '"')
		if end < 0 {
			return "", "", errOpenQuote
		}
		b.WriteString(text[:end])
		text = text[end+1:]
		if !strings.HasPrefix(text, `"`) {
			return b.String(), text, nil
		}
		b.WriteByte('"')
		text = text[1:]
	}
}
