package pairlist

import (
	"fmt"
	"strings"
)

// plainReader reads [Plain].
type plainReader struct{ *builder }

func readPlain(b *builder) reader { b.list.Format = Plain; return plainReader{b} }

func (r plainReader) take(fields []string) error {
	if len(fields) != 3 {
		return shapeError(fmt.Sprintf("%d columns, want A B 0 or A B 1 (separate columns by tabs if keys contain spaces)", len(fields)))
	}
	if strings.HasSuffix(fields[1], ",") || strings.HasSuffix(fields[1], ";") {
		return shapeError("columns end in commas")
	}
	if len(r.list.Pairs) == 0 && isHeader(fields) {
		return shapeError("the names of columns")
	}
	same, err := r.label(fields[2])
	if err != nil {
		return fmt.Errorf("last column: %w", err)
	}
	return r.pair(Image{name: fields[0]}, Image{name: fields[1]}, same)
}

func (plainReader) end() error { return nil }

// labelFirstReader reads [Plain] with the label in front.
type labelFirstReader struct{ *builder }

func readLabelFirst(b *builder) reader { b.list.Format = Plain; return labelFirstReader{b} }

func (r labelFirstReader) take(fields []string) error {
	if len(fields) != 3 || isNumber(fields[1]) || isNumber(fields[2]) {
		return shapeError("no label and two keys")
	}
	same, err := r.label(fields[0])
	if err != nil {
		return err
	}
	return r.pair(Image{name: fields[1]}, Image{name: fields[2]}, same)
}

func (r labelFirstReader) end() error {
	r.guess("the first column is read as the label")
	return nil
}

// twoLinesReader reads [TwoLines].
type twoLinesReader struct {
	*builder
	first  string // image of a pair whose second line is to come
	label  int    // its label
	labels []int  // of pairs
}

func readTwoLines(b *builder) reader { b.list.Format = TwoLines; return &twoLinesReader{builder: b} }

func (r *twoLinesReader) take(fields []string) error {
	if len(fields) != 2 || strings.Trim(fields[0], "0123456789") == "" {
		return shapeError(fmt.Sprintf("%d columns, want an image and its pair's label", len(fields)))
	}
	label, err := number(fields[1])
	if err != nil {
		return shapeError(err.Error())
	}
	if r.first == "" {
		r.first, r.label = strings.Clone(fields[0]), label
		return nil
	}
	if label != r.label {
		return fmt.Errorf("label %d, but the pair's first line has %d", label, r.label)
	}
	r.labels = append(r.labels, label)
	first := r.first
	r.first = ""
	return r.pair(Image{name: first}, Image{name: fields[0]}, label > 0)
}

func (r *twoLinesReader) end() error {
	if r.first != "" {
		return fmt.Errorf("it has an odd number of lines, and two are a pair: %s is alone", r.first)
	}
	r.guess("two lines are read as a pair: label 0 for two persons")
	return r.numberedSets()
}

// numberedSets takes labels above 1 for same pairs, too, and if they are 1, 2 ... of one size
// for their sets, the different pairs' following one another. There must be as many different
// pairs: a list of photographs and their persons, which looks alike, hardly ever has as many
// lines of its person 0 as of all others.
func (r *twoLinesReader) numberedSets() error {
	count := map[int]int{}
	for _, label := range r.labels {
		count[label]++
	}
	different := count[0]
	delete(count, 0)
	sets := len(count)
	if sets < 2 && count[1] == len(r.labels)-different {
		return nil
	}
	if 2*different != len(r.labels) {
		return fmt.Errorf("labels above 1 would be of same pairs, but those are %d, the different ones %d; if labels are persons, the file lists no pairs",
			len(r.labels)-different, different)
	}
	r.guess("labels above 0 are read as those of same pairs")
	for set := range sets {
		if count[set+1]*sets != different {
			return nil
		}
	}
	r.number(sets)
	return nil
}

// number gives same pairs the set that their label says, and different ones the sets in turn.
func (r *twoLinesReader) number(sets int) {
	next := 0
	for _, label := range r.labels {
		set := label - 1
		if label == 0 {
			set = next * 2 * sets / len(r.labels)
			next++
		}
		r.list.sets = append(r.list.sets, int32(set))
	}
	r.list.Sets = sets
	r.guess("labels 1 to %d are read as the numbers of sets", sets)
}
