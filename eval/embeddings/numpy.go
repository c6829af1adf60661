package embeddings

import (
	"archive/zip"
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"facepipe/internal/half"
	"facepipe/internal/npy"
)

// readNPY reads a matrix, and its keys beside it.
func (t *Table) readNPY(file *os.File, size int64) error {
	r := bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 1<<20)
	h, err := npy.ReadHeader(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := t.matrix(h, r, size); err != nil {
		return err
	}
	return t.readKeys()
}

// number is an element type.
type number struct {
	bytes int
	read  func(order binary.ByteOrder, b []byte) float32
}

// numberOf is the type of an element description, and its byte order.
func numberOf(descr string) (number, binary.ByteOrder, bool) {
	if descr == "" {
		return number{}, nil, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if descr[0] == '>' {
		order = binary.BigEndian
	}
	switch descr[1:] {
	case "f2":
		return number{2, func(o binary.ByteOrder, b []byte) float32 { return half.ToFloat(o.Uint16(b)) }}, order, true
	case "f4":
		return number{4, func(o binary.ByteOrder, b []byte) float32 { return math.Float32frombits(o.Uint32(b)) }}, order, true
	case "f8":
		return number{8, func(o binary.ByteOrder, b []byte) float32 { return float32(math.Float64frombits(o.Uint64(b))) }}, order, true
	}
	return number{}, nil, false
}

// rows and columns of an array of embeddings; axes of one element beyond the first do not count.
func sides(shape []int) (rows, dim int, ok bool) {
	if len(shape) < 2 {
		return 0, 0, false
	}
	dim = 1
	for _, side := range shape[1:] {
		if side != 1 && dim != 1 {
			return 0, 0, false
		}
		dim *= side
	}
	return shape[0], dim, dim > 0
}

// matrix reads the elements behind a header; available is how many bytes there may be at most.
func (t *Table) matrix(h npy.Header, r io.Reader, available int64) error {
	n, order, ok := numberOf(h.Descr)
	if !ok {
		return elementError(h.Descr)
	}
	rows, dim, ok := sides(h.Shape)
	if !ok {
		return fmt.Errorf("%w: an array of shape %v, want rows of one embedding each", ErrFormat, h.Shape)
	}
	elements, ok := h.Elements()
	if !ok || int64(elements) > available/int64(n.bytes) {
		return fmt.Errorf("%w: it ends before its %d rows of %d numbers do", ErrFormat, rows, dim)
	}
	const part = 1 << 16
	buffer := make([]byte, part*n.bytes)
	for left := elements; left > 0; {
		chunk := buffer[:min(left, part)*n.bytes]
		if _, err := io.ReadFull(r, chunk); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("%w: it ends before its %d rows of %d numbers do", ErrFormat, rows, dim)
			}
			return err
		}
		for at := 0; at < len(chunk); at += n.bytes {
			t.values = append(t.values, n.read(order, chunk[at:]))
		}
		left -= len(chunk) / n.bytes
	}
	t.dim = dim
	if h.Fortran {
		t.values = transposed(t.values, rows, dim)
	}
	if n.bytes == 8 {
		t.note("its numbers of 64 bits are read as 32")
	}
	return nil
}

// transposed makes rows of columns.
func transposed(columns []float32, rows, dim int) []float32 {
	out := make([]float32, len(columns))
	for k := range dim {
		for i := range rows {
			out[i*dim+k] = columns[k*rows+i]
		}
	}
	return out
}

// elementError says what an array is of that is no embeddings.
func elementError(descr string) error {
	if strings.HasSuffix(descr, "O") {
		return fmt.Errorf("%w: it is an array of Python objects, which are never loaded; %s", ErrFormat, saveMatrix)
	}
	return fmt.Errorf("%w: an array of %s, want float16, float32 or float64", ErrFormat, descr)
}

// part is an array of an .npz file.
type part struct {
	file   *zip.File
	name   string
	header npy.Header
}

// open is at the array's first element.
func (p *part) open() (io.ReadCloser, error) {
	r, err := p.file.Open()
	if err != nil {
		return nil, err
	}
	if p.header, err = npy.ReadHeader(r); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// readNPZ picks the matrix out of an archive, and lists of keys and of identities.
func (t *Table) readNPZ(file *os.File, size int64) error {
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	var parts []*part
	var names []string
	for _, f := range archive.File {
		p := &part{file: f, name: strings.TrimSuffix(f.Name, ".npy")}
		names = append(names, p.name)
		r, err := p.open()
		if errors.Is(err, npy.ErrFormat) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: array %s: %w", ErrFormat, p.name, err)
		}
		if err := r.Close(); err != nil {
			return fmt.Errorf("%w: array %s: %w", ErrFormat, p.name, err)
		}
		parts = append(parts, p)
	}
	matrix, err := t.choose(parts, names)
	if err != nil {
		return err
	}
	r, err := matrix.open()
	if err != nil {
		return err
	}
	limit := unpackedLimit(size)
	if claimed := matrix.file.UncompressedSize64; claimed > uint64(limit) {
		err = fmt.Errorf("%w: %s", ErrFormat, tooDense)
	} else {
		err = t.matrix(matrix.header, r, int64(claimed))
	}
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("array %s: %w", matrix.name, err)
	}
	t.note("embeddings are the array %s of %s", matrix.name, strings.Join(names, ", "))
	if err := t.lists(parts, limit); err != nil {
		return err
	}
	if t.Keys == nil {
		return t.readKeys()
	}
	return nil
}

// matrixNames are those of embeddings, the likeliest first.
var matrixNames = []string{"embeddings", "embedding", "embs", "emb", "features", "feats", "feat", "vectors", "x", "arr_0"}

// choose is the array that holds the embeddings.
func (t *Table) choose(parts []*part, names []string) (*part, error) {
	var found []*part
	var objects string
	for _, p := range parts {
		_, dim, ok := sides(p.header.Shape)
		if _, _, number := numberOf(p.header.Descr); number && ok && dim > 1 {
			found = append(found, p)
		} else if strings.HasSuffix(p.header.Descr, "O") && objects == "" {
			objects = p.name
		}
	}
	rank := func(p *part) int {
		if at := slices.Index(matrixNames, strings.ToLower(p.name)); at >= 0 {
			return at
		}
		return len(matrixNames)
	}
	slices.SortStableFunc(found, func(a, b *part) int { return cmp.Compare(rank(a), rank(b)) })
	switch {
	case len(found) == 0 && objects != "":
		return nil, fmt.Errorf("array %s: %w", objects, elementError("|O"))
	case len(found) == 0:
		return nil, fmt.Errorf("%w: none of its arrays %s is a matrix of numbers", ErrFormat, strings.Join(names, ", "))
	case len(found) > 1 && rank(found[0]) == len(matrixNames):
		return nil, fmt.Errorf("%w: %s and %s may both be the embeddings: name one of them embeddings", ErrFormat, found[0].name, found[1].name)
	}
	return found[0], nil
}

// lists takes keys and identities from the lists that are as long as the matrix.
func (t *Table) lists(parts []*part, limit int64) error {
	for _, p := range parts {
		if len(p.header.Shape) != 1 || p.header.Shape[0] != t.Len() {
			continue
		}
		texts, err := p.texts(limit)
		if err != nil {
			return fmt.Errorf("array %s: %w", p.name, err)
		}
		kind := p.header.Descr[1:]
		switch {
		case texts == nil:
		case t.Keys == nil && kind[0] != 'i' && kind[0] != 'u' && repeated(texts) < 0:
			t.Keys = texts
			t.note("keys are the array %s", p.name)
		case t.Identities == nil:
			t.Identities = texts
			t.note("identities are the array %s", p.name)
		}
	}
	return nil
}

// texts are a list's elements as text, of at most so many bytes together; nil if it is neither of text
// nor of whole numbers.
func (p *part) texts(limit int64) ([]string, error) {
	descr := p.header.Descr
	if len(descr) < 3 || !strings.ContainsRune("USiu", rune(descr[1])) {
		if strings.HasSuffix(descr, "O") {
			return nil, elementError(descr)
		}
		return nil, nil
	}
	width, err := strconv.Atoi(descr[2:])
	if err != nil || width < 0 || width > maxText {
		return nil, fmt.Errorf("%w: elements %s", ErrFormat, descr)
	}
	if descr[1] == 'U' {
		width *= 4
	}
	if strings.ContainsRune("iu", rune(descr[1])) && !slices.Contains([]int{1, 2, 4, 8}, width) {
		return nil, fmt.Errorf("%w: elements %s", ErrFormat, descr)
	}
	if int64(p.header.Shape[0])*int64(width) > limit {
		return nil, fmt.Errorf("%w: %s", ErrFormat, tooDense)
	}
	r, err := p.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var texts []string
	element := make([]byte, width)
	in := bufio.NewReader(r)
	for range p.header.Shape[0] {
		if _, err := io.ReadFull(in, element); err != nil {
			return nil, fmt.Errorf("%w: it ends too early: %w", ErrFormat, err)
		}
		texts = append(texts, textOf(descr, element))
	}
	return texts, nil
}

// maxText bounds the length of a text of an array.
const maxText = 1 << 16

// textOf is an element: a text of four bytes a letter or of bytes, filled up with zeros, or a
// whole number.
func textOf(descr string, element []byte) string {
	var order binary.ByteOrder = binary.LittleEndian
	if descr[0] == '>' {
		order = binary.BigEndian
	}
	switch descr[1] {
	case 'S':
		return strings.TrimRight(string(element), "\x00")
	case 'U':
		var text []byte
		for at := 0; at < len(element); at += 4 {
			text = utf8.AppendRune(text, rune(order.Uint32(element[at:])))
		}
		return strings.TrimRight(string(text), "\x00")
	}
	n := uint64(0)
	for k := range element {
		if order == binary.LittleEndian {
			n |= uint64(element[k]) << (8 * k)
		} else {
			n = n<<8 | uint64(element[k])
		}
	}
	if descr[1] == 'i' {
		shift := 64 - 8*len(element)
		return strconv.FormatInt(int64(n<<shift)>>shift, 10)
	}
	return strconv.FormatUint(n, 10)
}
