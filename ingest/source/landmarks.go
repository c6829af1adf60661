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
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"facepipe/ingest/align"
	"facepipe/internal/regular"
)

// Landmarks is a text file of landmarks, one photograph a line: the key, then x and y of the
// five points in the order of [align.Landmarks], then perhaps a detector's score. Coordinates
// are pixels of the upright photograph:
//
//	Ann/1.jpg  46.06 62.03  87.79 60.32  68.85 77.66  52.16 99.88  86.45 98.65  0.999
//
// Numbers are separated by spaces, tabs or commas. The key ends at the line's first tab,
// without tabs at its first comma, without either at its first space. Empty lines and lines
// that begin with # are passed over, and so are a number of lines and a header before the first
// key.
//
// Another order of the ten numbers, or a label before them, is recognised by the first lines,
// see [align.Recognise], and told by [Landmarks.Notices].
//
// The whole file is checked when it is opened. 16 bytes a line stay in memory. Methods may be
// called from several goroutines.
type Landmarks struct {
	path   string
	file   *os.File
	digest string
	seed   maphash.Seed
	order  align.Order
	lines  []lineRef // by hash
	// roots are the folders that all absolute keys lie in, the deepest first.
	roots []string
	first string // key
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
func OpenLandmarks(name string) (*Landmarks, error) {
	file, err := regular.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open landmarks: %w", err)
	}
	l := &Landmarks{path: name, file: file, seed: maphash.MakeSeed()}
	if err := l.index(); err != nil {
		return nil, errors.Join(fmt.Errorf("read landmarks %s: %w", name, err), file.Close())
	}
	return l, nil
}

// Digest is the SHA-256 of the file, in hexadecimal.
func (l *Landmarks) Digest() string { return l.digest }

// Close closes the file.
func (l *Landmarks) Close() error { return l.file.Close() }

// Notices say in what order the numbers are, if it is not the usual one.
func (l *Landmarks) Notices() []string { return orderNotice(l.order) }

// orderNotice tells of an order that was recognised.
func orderNotice(o align.Order) []string {
	if o.Usual() {
		return nil
	}
	return []string{"landmarks are taken as " + o.String() + ": so the first ones fit a face"}
}

// Len is the number of lines with landmarks.
func (l *Landmarks) Len() int { return len(l.lines) }

// First is the key of the first line, as it is written.
func (l *Landmarks) First() string { return l.first }

// Lookup is the landmarks and the score (0 if the line has none) of a key. ok is false if the
// file does not name the key. An error means that the file has changed or can no longer be
// read.
//
// The file's key may have a ./ before it or backslashes for slashes. It may be an absolute path,
// if one folder above all absolute ones makes it the key. It may lack the ending .jpg, or another
// of a photograph, unless the file has the key with it, too.
func (l *Landmarks) Lookup(key string) (face align.Landmarks, score float64, ok bool, err error) {
	found, ok, err := l.lookup(key)
	if stem, shorter := withoutEnding(key); !ok && shorter && err == nil {
		found, ok, err = l.lookup(stem)
	}
	if err != nil {
		return face, 0, false, fmt.Errorf("read landmarks %s: %w", l.path, err)
	}
	return found.face, found.score, ok, nil
}

// lookup is the one line of a key in any of its forms.
func (l *Landmarks) lookup(key string) (found landmarkLine, ok bool, err error) {
	hits := 0
	for _, name := range append([]string{key}, l.below(key)...) {
		line, err := l.find(name)
		if err != nil {
			return found, false, err
		}
		if line.key == "" {
			continue
		}
		found = line
		if hits++; name == key {
			break
		}
	}
	return found, hits == 1, nil
}

// below are the absolute paths that a key can have.
func (l *Landmarks) below(key string) (paths []string) {
	for _, root := range l.roots {
		paths = append(paths, root+"/"+key)
	}
	return paths
}

// find is the line of a key, or one without a key.
func (l *Landmarks) find(key string) (landmarkLine, error) {
	hash := l.hash(key)
	i := sort.Search(len(l.lines), func(i int) bool { return l.lines[i].hash >= hash })
	for ; i < len(l.lines) && l.lines[i].hash == hash; i++ {
		line, err := l.readLine(l.lines[i].offset)
		if err != nil {
			return landmarkLine{}, err
		}
		if line.key == key || plainPath(line.key) == key {
			return line, nil
		}
	}
	return landmarkLine{}, nil
}

// hash is the same for all ways of writing a key.
func (l *Landmarks) hash(key string) uint64 { return maphash.String(l.seed, plainPath(key)) }

// plainPath is a path with slashes, without the parts that say nothing.
func plainPath(name string) string {
	name = strings.TrimPrefix(name, "file://")
	return path.Clean(strings.ReplaceAll(name, `\`, "/"))
}

// addRoot narrows the roots to what holds an absolute key, too.
func (l *Landmarks) addRoot(key string) {
	name := plainPath(key)
	if !path.IsAbs(name) && !windowsDrive.MatchString(name) {
		return
	}
	if l.roots == nil {
		for name != "" {
			name = name[:strings.LastIndex(name, "/")+1]
			name = strings.TrimSuffix(name, "/")
			l.roots = append(l.roots, name)
		}
		return
	}
	l.roots = slices.DeleteFunc(l.roots, func(root string) bool { return !strings.HasPrefix(name, root+"/") })
}

// recognise finds the order of the numbers by the first lines. It leaves faults of lines to
// index.
func (l *Landmarks) recognise() (err error) {
	const wholeFile = 1<<63 - 1
	lines := bufio.NewScanner(io.NewSectionReader(l.file, 0, wholeFile))
	var rows [][]float64
	for len(rows) < orderRows && lines.Scan() {
		if len(rows) == 0 && beforeKeys(lines.Text()) {
			continue
		}
		line, err := parseLine(lines.Text())
		if err != nil {
			break
		}
		if line.key != "" {
			rows = append(rows, line.numbers)
		}
	}
	l.order, err = align.Recognise(rows)
	return err
}

// orderRows is how many rows of numbers tell in what order they are.
const orderRows = 100

// index reads the file once.
func (l *Landmarks) index() error {
	if err := l.recognise(); err != nil {
		return err
	}
	sum := sha256.New()
	r := bufio.NewReaderSize(io.TeeReader(l.file, sum), maxLine)
	var offset int64
	var before error // why the first line before all keys is none
	for number := 1; ; number++ {
		text, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return fmt.Errorf("line %d: longer than %d bytes", number, maxLine)
		}
		if err != nil && err != io.EOF {
			return err
		}
		line, parseErr := l.parse(string(text))
		if parseErr != nil {
			parseErr = fmt.Errorf("line %d: %w", number, parseErr)
			if l.first != "" || !beforeKeys(string(text)) {
				return parseErr
			}
			before = cmp.Or(before, parseErr)
		}
		if line.key != "" {
			l.first = cmp.Or(l.first, line.key)
			l.addRoot(line.key)
			l.lines = append(l.lines, lineRef{hash: l.hash(line.key), offset: offset})
		}
		offset += int64(len(text))
		if err == io.EOF {
			break
		}
	}
	if len(l.lines) == 0 && before != nil {
		return before
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
		if plainPath(a.key) == plainPath(b.key) {
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
	return l.parse(text)
}

// parse reads a line in the file's order.
func (l *Landmarks) parse(text string) (landmarkLine, error) {
	line, err := parseLine(text)
	if err != nil || line.key == "" {
		return line, err
	}
	n := l.order.Numbers()
	if len(line.numbers) < n {
		return landmarkLine{}, fmt.Errorf("%d numbers behind the key, other lines have %s", len(line.numbers), l.order)
	}
	line.face, line.score = l.order.Face(line.numbers), 0
	if n < len(line.numbers) {
		line.score = line.numbers[n]
		if !(line.score > 0 && line.score <= 1) {
			return landmarkLine{}, fmt.Errorf("the last number, %g, is no confidence between 0 and 1", line.score)
		}
	}
	return line, nil
}

// landmarkLine is one parsed line; its key is empty if the line holds none.
type landmarkLine struct {
	key     string
	face    align.Landmarks
	score   float64
	numbers []float64 // as they are written
}

// beforeKeys says whether a line is one of those that some files have before the first key: how
// many lines there are, or a header, in which nothing is a number.
func beforeKeys(text string) bool {
	key, rest := cutKey(strings.TrimSpace(strings.TrimPrefix(text, "\ufeff")))
	if rest == "" {
		return number.MatchString(key)
	}
	return !slices.ContainsFunc(landmarkFields(rest), func(f string) bool {
		_, err := strconv.ParseFloat(f, 64)
		return err == nil
	})
}

// landmarkFields are the numbers behind a key.
func landmarkFields(rest string) []string {
	return strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
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
	fields := landmarkFields(rest)
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
	return landmarkLine{
		key: key, face: align.Order{}.Face(values[:]), score: values[coordinates], numbers: values[:len(fields)],
	}, nil
}

// cutKey splits the key off a line. Quotation marks around it are a table's.
func cutKey(text string) (key, rest string) {
	for _, separator := range []string{"\t", ","} {
		if key, rest, ok := strings.Cut(text, separator); ok {
			key = strings.TrimSpace(key)
			if plain, err := strconv.Unquote(key); err == nil && strings.HasPrefix(key, `"`) && !strings.Contains(key, `\`) {
				key = plain
			}
			return key, rest
		}
	}
	key, rest, _ = strings.Cut(strings.TrimLeft(text, " "), " ")
	return key, rest
}
