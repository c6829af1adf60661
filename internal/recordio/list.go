package recordio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// ListEntry is a line of a .lst file: one image that a .rec was packed from.
type ListEntry struct {
	// Key is the key of the image's record. im2rec writes it. insightface counts its lines
	// from 1, without those that it passes over.
	Key uint64
	// Path is where the image was.
	Path string
	// Label is the first label.
	Label float64
	// Aligned says that the image is an aligned crop (insightface only).
	Aligned bool
	// Corners are left, top, right and bottom of the face in pixels of the image that
	// was packed, before insightface aligned it; nil if there are none.
	Corners *[4]float64
	// Landmarks are x and y of the image-left and image-right eye, the nose and the
	// mouth's corners, in the same pixels; nil if there are none.
	Landmarks *[5][2]float64
}

// maxListLine is the longest line of a .lst file in bytes.
const maxListLine = 64 << 10

// ListReader reads a .lst file of one of two kinds, told apart by the first line. A line of
// MXNet's im2rec is an index, one or more labels and a path. A line of insightface's is a 0 or
// 1 for aligned, a path, an integer label and perhaps a box (4 numbers) and landmarks (the x
// of all 5, then the y). Tabs separate both.
type ListReader struct {
	lines  *bufio.Reader
	parse  func(fields []string) (ListEntry, error)
	number int    // of the line
	count  uint64 // of insightface's images
}

// NewListReader reads from r.
func NewListReader(r io.Reader) *ListReader {
	return &ListReader{lines: bufio.NewReaderSize(r, maxListLine)}
}

// Next returns the next line's entry, io.EOF behind the last. The error of a line that is no
// entry names the line.
func (l *ListReader) Next() (ListEntry, error) {
	for {
		fields, err := l.line()
		if err != nil {
			return ListEntry{}, err
		}
		if l.parse == nil {
			l.parse = parserOf(fields)
		}
		e, err := l.parse(fields)
		if err != nil {
			return ListEntry{}, fmt.Errorf("line %d: %w", l.number, err)
		}
		if e.Key == counted {
			// insightface gives no record to what it cannot align.
			if !e.Aligned && e.Landmarks == nil {
				continue
			}
			l.count++
			e.Key = l.count
		}
		return e, nil
	}
}

// Counted says whether keys are counted, so that they ascend, and not written in the lines in
// any order. It is known after the first entry.
func (l *ListReader) Counted() bool { return l.count > 0 }

// counted stands for the key of an image that is numbered by its line.
const counted = math.MaxUint64

// line returns the fields of the next line that is not empty.
func (l *ListReader) line() ([]string, error) {
	for {
		l.number++
		text, err := l.lines.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return nil, fmt.Errorf("line %d: longer than %d bytes", l.number, maxListLine)
		}
		if err != nil && (err != io.EOF || len(text) == 0) {
			return nil, err
		}
		line := strings.TrimPrefix(strings.TrimRight(string(text), "\r\n"), "\ufeff")
		if strings.TrimSpace(line) != "" {
			return strings.Split(line, "\t"), nil
		}
	}
}

// parserOf finds the kind of a file by the fields of its first line: im2rec has a label where
// insightface has a path.
func parserOf(fields []string) func([]string) (ListEntry, error) {
	if len(fields) > 1 {
		if _, err := parseFinite(fields[1]); err != nil {
			return parseInsightface
		}
	}
	return parseIm2rec
}

func parseIm2rec(fields []string) (e ListEntry, err error) {
	if len(fields) < 3 {
		return e, fmt.Errorf("%d fields, want an index, labels and a path", len(fields))
	}
	if e.Key, err = strconv.ParseUint(strings.TrimSpace(fields[0]), 10, 63); err != nil {
		return e, fmt.Errorf("index %q is not a number", fields[0])
	}
	for i, f := range fields[1 : len(fields)-1] {
		label, err := parseFinite(f)
		if err != nil {
			return e, fmt.Errorf("label %q is not a number", f)
		}
		if i == 0 {
			e.Label = label
		}
	}
	e.Path = fields[len(fields)-1]
	return e, nil
}

func parseInsightface(fields []string) (e ListEntry, err error) {
	const plain, box, face = 3, 7, 17
	if n := len(fields); n != plain && n != box && n != face {
		return e, fmt.Errorf("%d fields, want %d, %d with a box or %d with landmarks", n, plain, box, face)
	}
	switch fields[0] {
	case "0", "1":
		e.Aligned = fields[0] == "1"
	default:
		return e, fmt.Errorf("%q is neither 0 nor 1", fields[0])
	}
	e.Key, e.Path = counted, fields[1]
	numbers := make([]float64, 0, face-2)
	for _, f := range fields[2:] {
		v, err := parseFinite(f)
		if err != nil {
			return e, fmt.Errorf("%q is not a number", f)
		}
		numbers = append(numbers, v)
	}
	e.Label = numbers[0]
	if len(fields) >= box {
		e.Corners = (*[4]float64)(numbers[1:5])
	}
	if len(fields) == face {
		e.Landmarks = new([5][2]float64)
		for i := range e.Landmarks {
			e.Landmarks[i] = [2]float64{numbers[5+i], numbers[10+i]}
		}
	}
	return e, nil
}

func parseFinite(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = errors.New("not finite")
	}
	return v, err
}
