package data

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"facepipe/internal/regular"
	"facepipe/store"
)

// Exclusion is what lists take out of the crops that are trained on.
type Exclusion struct {
	// Rows of the dataset that are left out, ascending, each once.
	Rows []int
	// Labels that some of the rows have, by the dataset's numbers.
	Labels map[int32]bool
	// Lists are what was read, in the order given.
	Lists []ExcludeList
}

// ExcludeList is what became of a list.
type ExcludeList struct {
	Path string
	// Names in the list, each once, Keys and Identities of them that the dataset has, and
	// Unknown ones, of which Examples are the first.
	Names, Keys, Identities, Unknown int
	Examples                         []string
}

// Digest identifies the rows, in 64 hexadecimal digits.
func (e *Exclusion) Digest() string {
	h := sha256.New()
	for _, row := range e.Rows {
		_ = binary.Write(h, binary.LittleEndian, int64(row)) // a hash takes anything
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Describe says for people what each list takes out.
func (e *Exclusion) Describe() []string {
	var lines []string
	for _, l := range e.Lists {
		line := fmt.Sprintf("exclude %s: %d identities and %d keys", l.Path, l.Identities, l.Keys)
		if l.Unknown > 0 {
			line = fmt.Sprintf("warning: %s; %d of %d names are not in the dataset: %s", line, l.Unknown, l.Names, quoted(l.Examples, l.Unknown))
		}
		lines = append(lines, line)
	}
	return append(lines, fmt.Sprintf("%d crops of the dataset are excluded", len(e.Rows)))
}

// quoted are examples of n names.
func quoted(examples []string, n int) string {
	var parts []string
	for _, name := range examples {
		parts = append(parts, fmt.Sprintf("%q", name))
	}
	if n > len(examples) {
		parts = append(parts, "...")
	}
	return strings.Join(parts, ", ")
}

// Exclude reads lists of what is not to be trained on, and finds it in a dataset. A list has a
// key or an identity a line; lines that are empty or begin with # say nothing. Or it is CSV,
// separated by commas, semicolons or tabs, whose header has a column train_identity or
// identity, or train_key or key: a row means the identity or, where it has none, the key.
// Whole names are compared, and case counts. A name that the dataset does not have is counted;
// a list that has names and none of them is an error that wraps [ErrOptions], as is what is no
// list, or a name that is a key and an identity at once.
func Exclude(ctx context.Context, ds *store.Dataset, paths []string) (*Exclusion, error) {
	e := &Exclusion{Labels: map[int32]bool{}}
	rows := map[int]bool{}
	for _, path := range paths {
		names, err := readNames(path)
		if err != nil {
			return nil, misfit("exclude %s: %w", path, err)
		}
		list, err := names.find(ctx, ds, rows)
		if err != nil {
			return nil, fmt.Errorf("exclude %s: %w", path, err)
		}
		if list.Path = path; list.Names > 0 && list.Unknown == list.Names {
			return nil, misfit("exclude %s: the dataset %s has none of its %d names as a key or an identity: %s; names are compared as a whole, as pipe check and the dataset's export write them",
				path, ds.Dir(), list.Names, quoted(list.Examples, list.Unknown))
		}
		e.Lists = append(e.Lists, list)
	}
	for row := range rows {
		e.Rows = append(e.Rows, row)
	}
	slices.Sort(e.Rows)
	return e, e.noteLabels(ctx, ds)
}

// noteLabels notes who is on the rows.
func (e *Exclusion) noteLabels(ctx context.Context, ds *store.Dataset) error {
	if len(e.Rows) == 0 {
		return nil
	}
	labels, err := ds.Labels(ctx)
	if err != nil {
		return err
	}
	for _, row := range e.Rows {
		if labels[row] != store.NoLabel {
			e.Labels[labels[row]] = true
		}
	}
	return nil
}

// Kinds of names, which add up.
const (
	maybeKey = 1 << iota
	maybeIdentity
)

// excluded are the names of a list.
type excluded struct {
	order []string
	kinds map[string]int
}

func (x *excluded) add(name string, kind int) error {
	if err := store.ValidKey(name); err != nil {
		return err
	}
	if x.kinds[name] == 0 {
		x.order = append(x.order, name)
	}
	x.kinds[name] |= kind
	return nil
}

// maxLine bounds a line of a list: no name is so long.
const maxLine = 64 << 10

// maxExclude is the longest list, in bytes: names of all crops of the largest sets.
const maxExclude = 8 << 30

// readNames reads a list.
func readNames(path string) (*excluded, error) {
	f, err := regular.OpenUpTo(path, maxExclude)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	x := &excluded{kinds: map[string]int{}}
	in := bufio.NewScanner(f)
	in.Buffer(nil, maxLine)
	first := true
	for line := 1; in.Scan(); line++ {
		text := strings.TrimSuffix(in.Text(), "\r")
		if line == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if first {
			if columns := headerOf(text); columns != nil {
				return x, x.readTable(f, columns)
			}
		}
		first = false
		if err := x.add(text, maybeKey|maybeIdentity); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
	if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("it has a line of more than %d bytes: a list has a name a line", maxLine)
	} else if err != nil {
		return nil, err
	}
	return x, nil
}

// columns are those of a table that are read; -1 for one that it lacks.
type columns struct {
	comma         rune
	key, identity int
}

// headerOf are the columns that a line names, nil if it is no header.
func headerOf(line string) *columns {
	for _, comma := range ",;\t" {
		r := csv.NewReader(strings.NewReader(line))
		r.Comma = comma
		fields, err := r.Read()
		if err != nil {
			continue
		}
		c := columns{comma, -1, -1}
		for _, names := range [][2]string{{"key", "identity"}, {"train_key", "train_identity"}} {
			if at := slices.Index(fields, names[0]); at >= 0 {
				c.key = at
			}
			if at := slices.Index(fields, names[1]); at >= 0 {
				c.identity = at
			}
		}
		if c.key >= 0 || c.identity >= 0 {
			return &c
		}
	}
	return nil
}

// readTable reads a list that is a table, from its beginning.
func (x *excluded) readTable(f io.ReadSeeker, c *columns) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReader(f)
	if mark, err := in.Peek(3); err == nil && bytes.Equal(mark, []byte("\ufeff")) {
		_, _ = in.Discard(3)
	}
	r := csv.NewReader(in)
	r.Comma, r.Comment = c.comma, '#'
	if _, err := r.Read(); err != nil { // the header
		return err
	}
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		switch {
		case c.identity >= 0 && fields[c.identity] != "":
			err = x.add(fields[c.identity], maybeIdentity)
		case c.key >= 0 && fields[c.key] != "":
			err = x.add(fields[c.key], maybeKey)
		default:
			err = errors.New("it names neither a key nor an identity")
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// maxExamples of names keep a message short.
const maxExamples = 3

// find adds the rows that the names mean.
func (x *excluded) find(ctx context.Context, ds *store.Dataset, rows map[int]bool) (list ExcludeList, err error) {
	people, err := x.people(ctx, ds, rows)
	if err != nil {
		return list, err
	}
	list.Names = len(x.order)
	for _, name := range x.order {
		isKey := false
		if x.kinds[name]&maybeKey != 0 {
			at, err := ds.Lookup(name)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return list, err
			}
			if isKey = err == nil; isKey {
				rows[ds.RowOf(at)] = true
				list.Keys++
			}
		}
		switch {
		case people[name] && isKey && x.kinds[name] == maybeKey|maybeIdentity:
			return list, misfit("%q is a key and an identity of the dataset: say which by a CSV list with the columns key,identity", name)
		case people[name]:
			list.Identities++
		case !isKey:
			if list.Unknown++; len(list.Examples) < maxExamples {
				list.Examples = append(list.Examples, name)
			}
		}
	}
	return list, nil
}

// people are the names that are identities of the dataset; their rows are added.
func (x *excluded) people(ctx context.Context, ds *store.Dataset, rows map[int]bool) (map[string]bool, error) {
	people := map[string]bool{}
	row := 0
	for shard := range ds.Shards() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := ds.EachLabel(shard, func(label int32, identity string) {
			if label != store.NoLabel && x.kinds[identity]&maybeIdentity != 0 {
				rows[row] = true
				people[strings.Clone(identity)] = true
			}
			row++
		})
		if err != nil {
			return nil, err
		}
	}
	return people, nil
}

// without are the rows of a split (nil for all n of a dataset) that are not excluded.
func without(split []int, n int, e *Exclusion) []int {
	if split == nil {
		split = make([]int, n)
		for i := range split {
			split[i] = i
		}
	}
	next := 0
	return slices.DeleteFunc(split, func(row int) bool {
		for next < len(e.Rows) && e.Rows[next] < row {
			next++
		}
		return next < len(e.Rows) && e.Rows[next] == row
	})
}
