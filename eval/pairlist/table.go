package pairlist

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// tableReader reads [Table]: columns are known by their names.
type tableReader struct {
	*builder
	columns              int // 0 before the names are known
	first, second, label int
	set                  int            // column, or -1
	numbers              map[string]int // of sets, by what the column says
	lfw                  bool           // NAME I OTHER J before the label
}

func readTable(b *builder) reader { b.list.Format = Table; return &tableReader{builder: b} }

func (r *tableReader) take(fields []string) error {
	if r.columns == 0 {
		return r.header(fields)
	}
	if len(fields) != r.columns {
		return fmt.Errorf("%d columns, the first line names %d", len(fields), r.columns)
	}
	same, err := r.builder.label(fields[r.label])
	if err != nil {
		return err
	}
	if r.set >= 0 {
		r.addSet(fields[r.set])
	}
	if r.lfw {
		return r.lfwRow(fields, same)
	}
	return r.pair(Image{name: fields[r.first]}, Image{name: fields[r.second]}, same)
}

// lfwRow takes "NAME I OTHER J LABEL".
func (r *tableReader) lfwRow(fields []string, same bool) error {
	x, y, err := lfwImages(fields[0], fields[1], fields[2], fields[3])
	if err != nil {
		return err
	}
	if same != (fields[0] == fields[2]) {
		return fmt.Errorf("the label %s contradicts the names %s and %s", fields[r.label], fields[0], fields[2])
	}
	return r.pair(x, y, same)
}

func (r *tableReader) addSet(name string) {
	n, ok := r.numbers[name]
	if !ok {
		n = len(r.numbers)
		r.numbers[strings.Clone(name)] = n
	}
	r.list.sets = append(r.list.sets, int32(n))
	r.list.Sets = len(r.numbers)
}

// labelNames are columns that say whether a pair is of one person, as [plainName] gives
// them.
var labelNames = []string{
	"decision", "label", "labels", "issame", "same", "match", "ismatch", "matched", "target", "y", "groundtruth", "gt", "actual",
	"pairlabel", "sameperson", "issameperson", "sameidentity", "issameidentity", "genuine", "isgenuine",
}

// isHeader says whether a row names the columns of a table with two images and a label.
func isHeader(fields []string) bool { return readTable(newBuilder()).take(fields) == nil }

// header finds out what columns mean.
func (r *tableReader) header(fields []string) error {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = plainName(f)
	}
	if len(fields) < 2 || slices.ContainsFunc(fields, notNamed) {
		return shapeError("no names of columns")
	}
	r.label = slices.IndexFunc(names, func(n string) bool { return slices.Contains(labelNames, n) })
	r.lfw = r.label == 4 && isLFWHeader(fields[:4])
	if r.first, r.second = twins(names); r.first < 0 && !r.lfw {
		return shapeError("no names of columns")
	}
	if r.label < 0 {
		return errors.New("no column says whether a pair is of one person: name it label, is_same or Decision")
	}
	r.set = slices.IndexFunc(names, func(n string) bool { return n == "fold" || n == "foldid" || n == "foldno" })
	r.columns, r.numbers = len(fields), map[string]int{}
	r.noteUse(fields)
	return nil
}

// notNamed says that a field is no column's name: a number, or a file's.
func notNamed(field string) bool { return isNumber(field) || strings.ContainsAny(field, `./\`) }

// noteUse says which columns are taken for what.
func (r *tableReader) noteUse(fields []string) {
	if r.lfw {
		return
	}
	used := fmt.Sprintf("columns %s and %s are read as the images, %s as the label", fields[r.first], fields[r.second], fields[r.label])
	if r.set >= 0 {
		used += ", " + fields[r.set] + " as the set of the cross-validation"
	}
	r.guess("%s", used)
}

func (r *tableReader) end() error { return nil }

// twins are the two columns of images, -1 without any: the first two whose names differ
// in 1 and 2, a and b or the like, of those that speak of images if there are such.
func twins(names []string) (first, second int) {
	for _, words := range [][]string{{"file", "image", "img", "photo", "path", "face"}, {""}} {
		for i, name := range names {
			if j := twinName(names, name); j >= 0 && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(name, w) }) {
				return i, j
			}
		}
	}
	return -1, -1
}

// twinName is the column that is named as another one but for 2 in the place of 1, or
// the like; -1 if there is none.
func twinName(names []string, name string) int {
	for _, pair := range [][2]string{{"1", "2"}, {"a", "b"}, {"x", "y"}, {"left", "right"}, {"first", "second"}, {"0", "1"}} {
		for k := range name {
			if rest, ok := strings.CutPrefix(name[k:], pair[0]); ok {
				if j := slices.Index(names, name[:k]+pair[1]+rest); j >= 0 {
					return j
				}
			}
		}
	}
	return -1
}

// plainName is a column's name in small letters and digits alone.
func plainName(name string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToLower(c)
		}
		return -1
	}, name)
}

// hasWord says whether a column's name has a word in it.
func hasWord(name, word string) bool { return strings.Contains(plainName(name), word) }
