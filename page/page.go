package page

import (
	"html/template"
	"slices"
)

// Page is what is shown, as one file.
type Page struct {
	// Title is that of the window.
	Title string
	Parts []Part
	// Command is the command line that made the page, Pipe the program and its version.
	Command string
	Pipe    string
	// Refresh is after how many seconds a browser asks again; 0 for never.
	Refresh int
}

// Part is about one subject.
type Part struct {
	// Kind is the name of one of [Kinds], Path where the subject lies.
	Kind, Path string
	Title      string
	// Answer is the sentence that comes first.
	Answer string
	// Live says that what is shown is not finished and may be going on.
	Live bool
	// Warnings are what must not be overlooked.
	Warnings []string
	Sections []Section
	// Data is what programs find in the page; nil for nothing.
	Data any
}

// Section is one question and its evidence.
type Section struct {
	// ID is the anchor, Title the heading.
	ID, Title string
	// Lead says in a sentence or two what is to be seen.
	Lead string
	// Folded sections show their heading until they are opened.
	Folded bool
	Blocks []Block
}

// Block is one thing in a section. It has one of the fields, under a Title that may be
// empty.
type Block struct {
	Title string
	Text  string
	// Code is a command to copy.
	Code  string
	Table *Table
	Facts []Fact
	// MoreFacts there are that are not shown.
	MoreFacts int
	Charts    []Chart
	// Faces are a contact sheet, Pairs two faces a row.
	Faces []Face
	Pairs []Pair
}

// Table has a heading cell in every row.
type Table struct {
	// Head is the title above the heading cells.
	Head    string
	Columns []Column
	Rows    []Row
	// More rows there are that are not shown.
	More int
}

// Column of a table.
type Column struct {
	Title string
	// Define names an entry of the glossary; "" for none.
	Define string
	// Words are left-aligned; other columns hold numbers.
	Words bool
}

// Row of a table.
type Row struct {
	Head string
	// Note stands below the heading in small.
	Note  string
	Cells []Cell
}

// Cell of a table.
type Cell struct {
	Text string
	// Note stands below in small: an interval, a count.
	Note string
	// Best marks the best of a column, Faint what rests on too little.
	Best, Faint bool
	// Shade is how dark the cell is, 0 to 5. The number in it says the same.
	Shade int
}

// Fact is a term and what is so.
type Fact struct{ About, Is string }

// Chart is a picture of figures.
type Chart struct {
	// Source is the picture as a data: URL, Words what it says to those who do not see it.
	Source template.URL
	Words  string
	// Wide charts scroll in their box where the window is small.
	Wide bool
}

// Face is a picture of a face with its key.
type Face struct {
	// Source is the picture as a data: URL; "" if there is none.
	Source template.URL
	Key    string
	Note   string
}

// Pair is a comparison of two faces, and what each model said.
type Pair struct {
	First, Second Face
	Opinions      []Opinion
}

// Opinion is a model's of a pair.
type Opinion struct {
	Model string
	// Cosine is what it saw, Says its decision in a word.
	Cosine, Says string
	// Wrong says that the decision is not the truth.
	Wrong bool
}

// cells are plain cells.
func cells(texts ...string) []Cell {
	made := make([]Cell, len(texts))
	for i, text := range texts {
		made[i].Text = text
	}
	return made
}

// maxRows are the rows of a table that are shown, and the facts of a list.
const maxRows = 200

// cut keeps a table within its bounds.
func (t *Table) cut() *Table {
	short := t.to(maxRows)
	return &short
}

// to is the table with so many rows at most.
func (t *Table) to(rows int) Table {
	short := *t
	if n := len(short.Rows); n > rows {
		short.More += n - rows
		short.Rows = short.Rows[:rows]
	}
	return short
}

// to is the block with so many rows or facts at most.
func (b Block) to(rows int) Block {
	if b.Table != nil {
		t := b.Table.to(rows)
		b.Table = &t
	}
	if n := len(b.Facts); n > rows {
		b.MoreFacts = n - rows
		b.Facts = b.Facts[:rows]
	}
	b.Pairs = slices.Clone(b.Pairs[:min(len(b.Pairs), rows)])
	for i, p := range b.Pairs {
		b.Pairs[i].Opinions = p.Opinions[:min(len(p.Opinions), rows)]
	}
	return b
}

// to is the section with blocks of so many rows at most, and a quarter as many blocks.
func (s Section) to(rows int) Section {
	const fewest = 6
	most := max(rows/4, fewest)
	blocks := s.Blocks
	s.Blocks = nil
	for _, b := range blocks[:min(len(blocks), most)] {
		s.Blocks = append(s.Blocks, b.to(rows))
	}
	if n := len(blocks) - most; n > 0 {
		s.Blocks = append(s.Blocks, Block{Text: "and " + count(n) + " more, in the files themselves"})
	}
	return s
}
