package embeddings

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxLine bounds a line of text: 4,096 numbers with room to spare.
const maxLine = 1 << 22

// Names of columns, in small letters.
var (
	keyNames      = []string{"key", "keys", "image", "image_name", "img", "img_path", "image_path", "file", "filename", "file_name", "path", "name"}
	identityNames = []string{"identity", "label", "class", "person", "person_id", "subject", "id", "target"}
	indexNames    = []string{"", "unnamed: 0", "index"}
)

// layout says which columns are what.
type layout struct {
	key, identity int // -1 if there is none
	values        []int
}

// readText reads a table of text, a row a line.
func (t *Table) readText(file *os.File) error {
	lines := bufio.NewScanner(io.NewSectionReader(file, 0, 1<<62))
	lines.Buffer(nil, maxLine)
	var comma rune
	var header []string
	var columns *layout
	line := 0
	for lines.Scan() {
		line++
		text := strings.TrimPrefix(lines.Text(), "\ufeff")
		if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if comma == 0 {
			comma = separator(text)
		}
		fields, err := split(text, comma)
		if err != nil {
			return fmt.Errorf("%w: line %d: %w", ErrFormat, line, err)
		}
		if columns == nil && header == nil && !isVector(fields[len(fields)-1]) {
			header = fields
			continue
		}
		if columns == nil {
			if columns, err = layoutOf(header, fields); err != nil {
				return fmt.Errorf("%w: line %d: %w", ErrFormat, line, err)
			}
		}
		if err := t.addFields(columns, fields); err != nil {
			return fmt.Errorf("%w: line %d: %w", ErrFormat, line, err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("%w: line %d is longer than %d bytes", ErrFormat, line+1, maxLine)
	}
	return lines.Err()
}

// separator is what stands between columns.
func separator(line string) rune {
	for _, comma := range "\t,; " {
		if strings.ContainsRune(line, comma) {
			return comma
		}
	}
	return ','
}

func split(line string, comma rune) ([]string, error) {
	if comma == ' ' {
		return strings.Fields(line), nil
	}
	r := csv.NewReader(strings.NewReader(line))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = comma, true, -1
	fields, err := r.Read()
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fields, err
}

// isNumber says whether a field is a number; nan and inf are.
func isNumber(field string) bool {
	_, err := strconv.ParseFloat(field, 32)
	return err == nil || errors.Is(err, strconv.ErrRange)
}

// isList says whether a field is a whole embedding, as pandas writes lists.
func isList(field string) bool { return strings.HasPrefix(field, "[") && strings.HasSuffix(field, "]") }

func isVector(field string) bool { return isNumber(field) || isList(field) }

// layoutOf reads the columns from their names, if they have any, and the first row.
func layoutOf(header, row []string) (*layout, error) {
	l := &layout{key: -1, identity: -1}
	if header != nil && len(header) != len(row) {
		return nil, fmt.Errorf("%d columns, the first line names %d", len(row), len(header))
	}
	for i, field := range row {
		name := ""
		if header != nil {
			name = strings.ToLower(header[i])
		}
		switch {
		case header != nil && l.key < 0 && slices.Contains(keyNames, name):
			l.key = i
		case header != nil && l.identity < 0 && slices.Contains(identityNames, name):
			l.identity = i
		case header != nil && i == 0 && slices.Contains(indexNames, name): // the number of a row
		case isVector(field) && (i > 0 || header != nil || isFraction(field)):
			l.values = append(l.values, i)
		case l.key < 0:
			l.key = i
		case l.identity < 0:
			l.identity = i
		default:
			return nil, fmt.Errorf("column %d is %.40q, no number", i+1, field)
		}
	}
	if len(l.values) == 0 {
		return nil, errors.New("no column of numbers")
	}
	return l, nil
}

// isFraction tells a number of an embedding from one that is a key.
func isFraction(field string) bool { return strings.ContainsAny(field, ".eEnN[") }

// addFields takes a row.
func (t *Table) addFields(l *layout, fields []string) error {
	if want := max(l.key, l.identity, l.values[len(l.values)-1]) + 1; len(fields) != want {
		return fmt.Errorf("%d columns, the first row has %d", len(fields), want)
	}
	before := len(t.values)
	for _, column := range l.values {
		numbers := fields[column : column+1]
		if isList(fields[column]) {
			numbers = strings.FieldsFunc(strings.Trim(fields[column], "[]"), func(r rune) bool { return r == ',' || r == ' ' })
		}
		for _, number := range numbers {
			v, err := strconv.ParseFloat(number, 32)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return fmt.Errorf("column %d is %.40q, no number", column+1, number)
			}
			t.values = append(t.values, float32(v))
		}
	}
	if dim := len(t.values) - before; t.dim == 0 {
		t.dim = dim
	} else if dim != t.dim {
		return fmt.Errorf("an embedding of %d numbers, the first has %d", dim, t.dim)
	}
	if t.dim == 0 {
		return errors.New("an embedding without numbers")
	}
	if l.key >= 0 {
		t.Keys = append(t.Keys, strings.Clone(fields[l.key]))
	}
	if l.identity >= 0 {
		t.Identities = append(t.Identities, strings.Clone(fields[l.identity]))
	}
	return nil
}
