// Package protocol says what is compared when a model is measured.
//
// A [Protocol] names the crops that it needs, pools their embeddings into templates and
// lists the comparisons of templates; [Score] and [Evaluate] do the rest, alike for all.
// To add one, write a file with a [Kind] and give it a line in [Kinds].
package protocol

import (
	"fmt"
	"io"
	"iter"
	"strings"

	"facepipe/eval/verification"
	"facepipe/store"
)

// Protocol is a way of measuring a model on the crops of a dataset.
type Protocol interface {
	// Crops are what a model has to embed, each once, in the order of the dataset. The
	// caller must not change them.
	Crops() []store.Location
	// Persons are up to n pairs of places in Crops. Each shows one person, who is in no other.
	Persons(n int) [][2]int
	// Pool makes templates of embeddings, one for each of Crops. It leaves them as they are.
	Pool(embeddings [][]float32) Templates
	// Comparisons are what is compared, in an order that does not change.
	Comparisons() iter.Seq[Comparison]
	// Folds are those of Comparisons; their Count is 0 without a cross-validation.
	Folds() verification.Folds
	// Describe says what was compared.
	Describe() Description
}

// Templates stand for what is compared: a crop each, or several crops of a person.
type Templates struct {
	// Vectors are of one dimension and any length: only directions count.
	Vectors [][]float32
	// Names are for messages.
	Names []string
	// Identities number the persons.
	Identities []int32
}

// Comparison is a pair of templates.
type Comparison struct {
	First, Second int32
	// Same says whether they show one person.
	Same bool
	// Fold is the part of the cross-validation, 0 without one.
	Fold int32
}

// Description says which comparisons were made.
type Description struct {
	// Path is the file that lists them, Digest its SHA-256.
	Path   string `json:"path"`
	Digest string `json:"digest"`
	Format string `json:"format"`
	// Listed pairs are those of the file; MissingPairs of them were left out for one
	// of the images in Missing, Used remain and need Crops crops.
	Listed       int      `json:"listed"`
	Used         int      `json:"used"`
	Crops        int      `json:"crops"`
	MissingPairs int      `json:"missing_pairs"`
	Missing      []string `json:"missing"`
	// IdenticalPairs compare a crop with itself.
	IdenticalPairs int `json:"identical_pairs"`
	// Notes are what else readers of a figure should know.
	Notes []Note `json:"notes,omitempty"`
}

// Note is a line of a description.
type Note struct {
	About string `json:"about"`
	Text  string `json:"text"`
}

// PrintNotes writes the notes to w, if any and if w is not nil.
func (d Description) PrintNotes(w io.Writer) {
	for _, n := range d.Notes {
		if w != nil {
			fmt.Fprintf(w, "note: pair list %s: %s: %s\n", d.Path, strings.ToLower(n.About), n.Text)
		}
	}
}

// Options are the settings of all protocols.
type Options struct {
	// AllowMissing leaves out comparisons that need images which the dataset lacks.
	AllowMissing bool
	// Rule deals comparisons out to folds.
	Rule verification.Rule
}

// Kind is a protocol that can be asked for by its name.
type Kind struct {
	// Name is also that of the flag that takes the file.
	Name string
	// About says in a few words what the file holds, and Help in some lines how it is
	// written.
	About, Help string
	// Load reads the file at path and finds its images in ds. It gives a [*MissingError]
	// for images that are not there, unless they may be missing.
	Load func(ds *store.Dataset, path string, o Options) (Protocol, error)
}

// Kinds are all protocols.
func Kinds() []Kind {
	return []Kind{
		Pairs,
	}
}
