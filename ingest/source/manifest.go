package source

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"facepipe/ingest/align"
	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
)

// manifest is a table with one photograph a row: where its file is and what is known of it. It
// is CSV, TSV or JSONL (a JSON object a line). The names of the columns say what they hold, see
// [resolveColumns].
//
// Paths are relative to the manifest's folder, or absolute, or file URLs. An item's key is the path as it is
// written, cleaned of "." and doubled slashes. A relative path that leads out of the folder is
// refused: a manifest from elsewhere reaches what was unpacked with it, and other files only
// if it names them openly. An identity that is a mere number goes behind the source's
// [Namespace]; a negative number is no identity.
//
// A row that cannot be understood is an item whose reading fails with the number of the line.
// Its key is its path. A row without a path, or with the path of an earlier row, has a key that
// ends in "//line" and its number, as no cleaned path does.
type manifest struct {
	path      string
	folder    string
	namespace string
	file      *os.File
	format    tableFormat
	digest    string
	count     int // of rows
	repeats   repeats
	order     align.Order // of the numbers of five landmarks
}

var manifestKind = kind{
	name:     "manifest",
	argument: "FILE",
	about: `CSV, TSV or JSONL, one photograph a row: path (relative to FILE's
folder), identity, a box, 5 or 68 landmarks, split; other columns
are attributes. docs/manifest.md names the columns. With a box and
a detector the face in the box is taken`,
	open:           openManifest,
	numberedPeople: true,
	sharedFolder:   true,
}

func openManifest(ctx context.Context, path string) (Source, error) {
	file, _, err := regular.OpenInput(path)
	if err != nil {
		return nil, err
	}
	m := &manifest{path: path, folder: filepath.Dir(path), namespace: Namespace(path), file: file}
	if err := m.index(ctx); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return m, nil
}

// Notices say in what order the landmarks are, if it is not the usual one.
func (m *manifest) Notices() []string { return orderNotice(m.order) }

// Stat looks at the file of a key.
func (m *manifest) Stat(key string) (fs.FileInfo, error) { return os.Stat(m.reach(unescapeName(key))) }

func (m *manifest) Digest() string { return m.digest }
func (m *manifest) Close() error   { return m.file.Close() }

// index reads the file once, for its digest and for the paths that repeat. It is an error if no
// row leads to an image.
func (m *manifest) index(ctx context.Context) (err error) {
	if m.format, err = sniffTable(m.path, m.file); err != nil {
		return err
	}
	var keys keyLines
	var firstFault error
	var firstPath string
	var points [][]float64
	rows, found := 0, false
	digest, err := m.scan(ctx, func(r tableRow) error {
		rows++
		if int64(r.line) > math.MaxUint32 {
			return fmt.Errorf("has more than %d lines", uint32(math.MaxUint32))
		}
		photo, err := m.photograph(r)
		if photo.key != "" {
			keys.add(photo.key, r.line)
			firstPath = cmp.Or(firstPath, photo.file)
		}
		if err != nil && firstFault == nil {
			firstFault = r.fault(err)
		}
		if photo.landmarks != nil && photo.five && len(points) < orderRows {
			points = append(points, photo.landmarks.Numbers())
		}
		found = found || err == nil && isRegular(photo.file) && startsLikeImage(photo.file)
		return nil
	})
	switch {
	case err != nil:
		return err
	case rows == 0:
		return errors.New("no rows in it")
	case !found && firstFault != nil:
		return fmt.Errorf("none of its %d rows leads to an image; %w", rows, firstFault)
	case !found:
		return fmt.Errorf("none of its %d rows leads to an image below %s: the first leads to %s", rows, m.folder, firstPath)
	}
	m.digest, m.count, m.repeats = digest, rows, keys.repeats()
	if m.order, err = align.Recognise(points); err != nil {
		return fmt.Errorf("its landmarks: %w", err)
	}
	return nil
}

func (m *manifest) Walk(ctx context.Context, visit func(Item) error) error {
	digest, err := m.scan(ctx, func(r tableRow) error { return visit(m.item(r)) })
	if err == nil && digest != m.digest {
		return errors.New("the manifest changed while it was read")
	}
	return err
}

// scan calls visit for every row and returns the digest of the whole file.
func (m *manifest) scan(ctx context.Context, visit func(tableRow) error) (digest string, err error) {
	sum := sha256.New()
	rows, err := m.format.rows(m.hashed(sum))
	if err != nil {
		return "", err
	}
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		row, err := rows.next()
		if err == io.EOF {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", regular.Reason(err)
		}
		if err := visit(row); err != nil {
			return "", err
		}
	}
}

// hashed reads the file from its beginning and adds all bytes to sum.
func (m *manifest) hashed(sum hash.Hash) io.Reader {
	const wholeFile = 1<<63 - 1
	return io.TeeReader(io.NewSectionReader(m.file, 0, wholeFile), sum)
}

// photograph is what a row says.
type photograph struct {
	// key is empty if the row names no file.
	key, file string
	entry
}

// photograph reads a row. The key may be known in spite of an error.
func (m *manifest) photograph(r tableRow) (photograph, error) {
	if r.err != nil {
		return photograph{}, r.err
	}
	name := m.localPath(r.columns.path(r.cells))
	switch {
	case name == "":
		return photograph{}, errors.New("names no file")
	case strings.ContainsRune(name, 0):
		return photograph{}, errors.New("the path holds a NUL byte")
	}
	name = path.Clean(name)
	p := photograph{key: escapeName(name), file: name}
	if name == ".." || strings.HasPrefix(name, "../") {
		return p, errors.New("the path leads out of the manifest's folder")
	}
	p.file = m.reach(name)
	if windowsDrive.MatchString(name) && !isRegular(p.file) {
		return p, errors.New("is the path of a Windows computer: write it relative to the manifest's folder")
	}
	var err error
	if p.entry, err = r.columns.entry(r.cells); err != nil {
		return p, err
	}
	p.identity = personOf(p.identity, m.namespace)
	return p, nil
}

// reach is the file that a cleaned path leads to.
func (m *manifest) reach(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return filepath.Join(m.folder, name)
}

// windowsDrive is what an absolute path of Windows begins with.
var windowsDrive = regexp.MustCompile(`^[A-Za-z]:[/\\]`)

// localPath is the path that a cell means. A file URL is the path in it. Backslashes are slashes,
// and an ending of photographs is left out, if the file is found so, and not as it is written.
func (m *manifest) localPath(name string) string {
	if rest, ok := strings.CutPrefix(name, "file://"); ok {
		if plain, err := url.PathUnescape(rest); err == nil {
			rest = plain
		}
		return strings.TrimPrefix(rest, "localhost")
	}
	slashed := strings.ReplaceAll(name, `\`, "/")
	if slashed != name && !m.has(name) && m.has(slashed) {
		return slashed
	}
	return m.complete(name)
}

// has says whether a path leads to a file.
func (m *manifest) has(name string) bool { return isRegular(m.reach(path.Clean(name))) }

// complete gives a path that leads to no file the ending with which it leads to one. If there are
// several it stays as it is.
func (m *manifest) complete(name string) string {
	if _, complete := withoutEnding(name); complete || name == "" || m.has(name) {
		return name
	}
	found := name
	for _, ending := range photoEndings {
		if !m.has(name + ending) {
			continue
		}
		if found != name {
			return name
		}
		found = name + ending
	}
	return found
}

// item is the item that a row describes.
func (m *manifest) item(r tableRow) Item {
	p, err := m.photograph(r)
	first, repeated := m.repeats.of(r.line)
	switch {
	case p.key == "":
		p.key = r.key("")
	case repeated:
		p.key = r.key(p.key)
		err = fmt.Errorf("repeats the path of line %d", first)
	}
	item := Item{Key: p.key}
	if err != nil {
		err = r.fault(err)
		item.Read = fails(err)
		return item
	}
	item.Identity, item.Split, item.Attributes = p.identity, p.split, p.attributes
	item.Landmarks, item.Box = p.landmarks, p.box
	if p.landmarks != nil && p.five {
		face := m.order.Face(p.landmarks.Numbers())
		item.Landmarks = &face
	}
	item.Read = func(admit imgcodec.Admit) ([]byte, error) {
		if _, err := regular.Stat(p.file); err != nil {
			return nil, err
		}
		return imgcodec.ReadFile(p.file, admit)
	}
	return item
}

// tableRow is one row of a table, or why a part of the file is not a row.
type tableRow struct {
	line    int // that it begins at, counted from 1
	columns *columns
	cells   []string
	err     error
}

// fault says which row an error is about.
func (r tableRow) fault(err error) error { return fmt.Errorf("line %d: %w", r.line, err) }

// key names a row that has no path of its own.
func (r tableRow) key(path string) string { return fmt.Sprintf("%s//line %d", path, r.line) }

// tableFormat is how a manifest is written.
type tableFormat struct {
	// skip is the number of bytes before the text: of a byte order mark.
	skip int
	// delimiter separates the cells of a row; 0 for JSONL.
	delimiter byte
}

// sniffTable finds the format by the name's ending and the first line. Spreadsheets write
// semicolons to CSV files in countries where the comma is part of numbers.
func sniffTable(path string, file io.ReaderAt) (tableFormat, error) {
	head := make([]byte, maxRecord)
	n, err := file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return tableFormat{}, regular.Reason(err)
	}
	head = head[:n]
	var f tableFormat
	const mark = "\ufeff"
	if bytes.HasPrefix(head, []byte(mark)) {
		f.skip, head = len(mark), head[len(mark):]
	}
	header, _, _ := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte("\n"))
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return f, errors.New("is UTF-16 text, convert it to UTF-8")
	case bytes.IndexByte(header, 0) >= 0:
		return f, errors.New("not a text file")
	}
	candidates := "\t,;"
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson", ".json":
		return f, nil
	case ".csv":
		candidates = ",;\t"
	case ".tsv", ".tab":
		candidates = "\t"
	}
	if bytes.HasPrefix(bytes.TrimSpace(header), []byte("{")) {
		return f, nil
	}
	f.delimiter = candidates[0]
	for i := range len(candidates) {
		if bytes.IndexByte(header, candidates[i]) >= 0 {
			f.delimiter = candidates[i]
			break
		}
	}
	return f, nil
}

// rows reads a table's rows; a header that cannot be understood is an error.
func (f tableFormat) rows(r io.Reader) (*rowReader, error) {
	if _, err := io.CopyN(io.Discard, r, int64(f.skip)); err != nil {
		return nil, regular.Reason(err)
	}
	rows := &rowReader{records: newRecordReader(r, f.delimiter)}
	if f.delimiter == 0 {
		return rows, nil
	}
	header, err := rows.next()
	switch {
	case err == io.EOF:
		return nil, errors.New("has no header")
	case err != nil:
		return nil, regular.Reason(err)
	case header.err != nil:
		return nil, fmt.Errorf("header: %w", header.err)
	}
	if rows.columns, err = resolveColumns(header.cells); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return rows, nil
}

// rowReader reads the rows of a table one by one.
type rowReader struct {
	records *recordReader
	// columns are the header's. In JSONL they are those of the row before: each row has its
	// own, which are nearly always the same.
	columns *columns
}

// next returns the next row that is not blank, or io.EOF.
func (r *rowReader) next() (tableRow, error) {
	for {
		rec, err := r.records.next()
		if err != nil {
			return tableRow{}, err
		}
		row := tableRow{line: rec.line, columns: r.columns, err: rec.fault}
		if rec.fault == nil && len(bytes.TrimSpace(rec.text)) == 0 {
			continue
		}
		switch {
		case rec.fault != nil:
		case r.records.delimiter == 0:
			r.object(&row, rec.text)
		default:
			row.cells, row.err = splitCells(rec.text, r.records.delimiter)
			if row.err == nil && r.columns != nil {
				row.err = r.columns.fit(row.cells)
			}
		}
		if row.err == nil && strings.Join(row.cells, "") == "" {
			continue
		}
		return row, nil
	}
}

// object reads a row of JSONL.
func (r *rowReader) object(row *tableRow, text []byte) {
	names, cells, err := objectCells(text)
	if err == nil && (r.columns == nil || !r.columns.named(names)) {
		var c *columns
		if c, err = resolveColumns(names); err == nil {
			r.columns = c
		}
	}
	row.columns, row.cells, row.err = r.columns, cells, err
}
