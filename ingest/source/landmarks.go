package source

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	"facepipe/ingest/align"
)

// Landmarks is a text file of landmarks, one photograph a line: the key, then x and y of the
// five points in the order of [align.Landmarks], then perhaps a detector's score. Coordinates
// are pixels of the upright photograph:
//
//	Ann/1.jpg  46.06 62.03  87.79 60.32  68.85 77.66  52.16 99.88  86.45 98.65  0.999
//
// Numbers are separated by spaces, tabs or commas. The key ends at the line's first tab,
// without tabs at its first comma, without either at its first space. Empty lines and lines
// that begin with # are passed over.
//
// The whole file is checked when it is opened. 16 bytes a line stay in memory. Methods may be
// called from several goroutines.
type Landmarks struct {
	path   string
	file   *os.File
	digest string
	seed   maphash.Seed
	lines  []lineRef // by hash
}

// lineRef leads from the hash of a key to the line that has it.
type lineRef struct {
	hash   uint64
	offset int64
}

// maxLine is the longest accepted line in bytes.
const maxLine = 64 << 10

// OpenLandmarks checks and opens a landmark file. The error of a faulty line names
// the file and the line.
func OpenLandmarks(path string) (*Landmarks, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open landmarks: %w", err)
	}
	l := &Landmarks{path: path, file: file, seed: maphash.MakeSeed()}
	if err := l.index(); err != nil {
		return nil, errors.Join(fmt.Errorf("read landmarks %s: %w", path, err), file.Close())
	}
	return l, nil
}

// Digest is the SHA-256 of the file, in hexadecimal.
func (l *Landmarks) Digest() string { return l.digest }

// Close closes the file.
func (l *Landmarks) Close() error { return l.file.Close() }

// Lookup is the landmarks and the score (0 if the line has none) of a key. ok is false if the
// file does not name the key. An error means that the file has changed or can no longer be
// read.
func (l *Landmarks) Lookup(key string) (face align.Landmarks, score float64, ok bool, err error) {
	hash := maphash.String(l.seed, key)
	i := sort.Search(len(l.lines), func(i int) bool { return l.lines[i].hash >= hash })
	for ; i < len(l.lines) && l.lines[i].hash == hash; i++ {
		line, err := l.readLine(l.lines[i].offset)
		if err != nil {
			return face, 0, false, fmt.Errorf("read landmarks %s: %w", l.path, err)
		}
		if line.key == key {
			return line.face, line.score, true, nil
		}
	}
	return face, 0, false, nil
}

// index reads the file once.
func (l *Landmarks) index() error {
	sum := sha256.New()
	r := bufio.NewReaderSize(io.TeeReader(l.file, sum), maxLine)
	var offset int64
	for number := 1; ; number++ {
		text, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return fmt.Errorf("line %d: longer than %d bytes", number, maxLine)
		}
		if err != nil && err != io.EOF {
			return err
		}
		line, parseErr := parseLine(string(text))
		if parseErr != nil {
			return fmt.Errorf("line %d: %w", number, parseErr)
		}
		if line.key != "" {
			l.lines = append(l.lines, lineRef{hash: maphash.String(l.seed, line.key), offset: offset})
		}
		offset += int64(len(text))
		if err == io.EOF {
			break
		}
	}
	if len(l.lines) == 0 {
		return errors.New("no landmarks in it")
	}
	l.digest = hex.EncodeToString(sum.Sum(nil))
	slices.SortFunc(l.lines, func(a, b lineRef) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.offset, b.offset))
	})
	return l.refuseRepeats()
}

// refuseRepeats is an error if a key is on two lines.
func (l *Landmarks) refuseRepeats() error {
	for i := 1; i < len(l.lines); i++ {
		if l.lines[i].hash != l.lines[i-1].hash {
			continue
		}
		a, err := l.readLine(l.lines[i-1].offset)
		if err != nil {
			return err
		}
		b, err := l.readLine(l.lines[i].offset)
		if err != nil {
			return err
		}
		if a.key == b.key {
			return fmt.Errorf("key %q is on two lines", a.key)
		}
	}
	return nil
}

func (l *Landmarks) readLine(offset int64) (landmarkLine, error) {
	text, err := bufio.NewReaderSize(io.NewSectionReader(l.file, offset, maxLine), 256).ReadString('\n')
	if err != nil && err != io.EOF {
		return landmarkLine{}, err
	}
	return parseLine(text)
}

// landmarkLine is one parsed line; its key is empty if the line holds none.
type landmarkLine struct {
	key   string
	face  align.Landmarks
	score float64
}

func parseLine(text string) (landmarkLine, error) {
	text = strings.TrimPrefix(strings.TrimRight(text, "\r\n"), "\ufeff")
	if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#") {
		return landmarkLine{}, nil
	}
	key, rest := cutKey(text)
	if key == "" {
		return landmarkLine{}, errors.New("no key")
	}
	fields := strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	const coordinates = 2 * len(landmarkLine{}.face)
	if len(fields) != coordinates && len(fields) != coordinates+1 {
		return landmarkLine{}, fmt.Errorf("%d numbers behind the key, want %d, or %d with a score",
			len(fields), coordinates, coordinates+1)
	}
	var values [coordinates + 1]float64
	for i, f := range fields {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return landmarkLine{}, fmt.Errorf("%q is not a number", f)
		}
		values[i] = v
	}
	line := landmarkLine{key: key, score: values[coordinates]}
	for i := range line.face {
		line.face[i] = align.Point{X: values[2*i], Y: values[2*i+1]}
	}
	return line, nil
}

// cutKey splits the key off a line.
func cutKey(text string) (key, rest string) {
	for _, separator := range []string{"\t", ","} {
		if key, rest, ok := strings.Cut(text, separator); ok {
			return strings.TrimSpace(key), rest
		}
	}
	key, rest, _ = strings.Cut(strings.TrimLeft(text, " "), " ")
	return key, rest
}
