// Package protocol says what is compared when a model is measured.
//
// A [Protocol] names the faces that it needs and computes figures of their embeddings. One that
// is a [Verification] pools embeddings into templates and lists the comparisons of these;
// [Verify] does the rest, alike for all. To add a protocol, write a file with a [Kind]
// and give it a line in [Kinds].
package protocol

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"facepipe/eval/faces"
	"facepipe/eval/identification"
	"facepipe/eval/verification"
	"facepipe/internal/nearest"
	"facepipe/internal/plain"
)

// Protocol is a way of measuring a model on the faces of a set.
type Protocol interface {
	// Faces are the places in the set of what a model has to embed, each once, ascending. The
	// caller must not change them.
	Faces() []int
	// Persons are up to n pairs of indices of Faces. Each shows one person, who is in no other.
	Persons(n int) [][2]int
	// Evaluate computes the figures of embeddings, one for each of Faces. What the embeddings
	// are at fault for is [*UnusableError] or [verification.ErrTooFew].
	Evaluate(ctx context.Context, e Embeddings, s Settings) (Result, error)
	// Describe says what was compared.
	Describe() Description
}

// Verification is a protocol that compares templates, two at a time.
type Verification interface {
	Protocol
	// Pool makes templates of embeddings, one for each of Faces. It leaves them as they are.
	Pool(embeddings [][]float32) Templates
	// Comparisons are what is compared, in an order that does not change.
	Comparisons() iter.Seq[Comparison]
	// Folds are those of Comparisons; their Count is 0 without a cross-validation.
	Folds() verification.Folds
}

// Embeddings are those of a protocol's faces as they are: of any length, mirror images added if
// they are to be. One that is not there is taken as one without a direction.
type Embeddings = nearest.Vectors

// Rows are embeddings in memory, all of one length.
type Rows [][]float32

// Len is the number of embeddings.
func (r Rows) Len() int { return len(r) }

// Dim is the length of an embedding, 0 without any.
func (r Rows) Dim() int {
	if len(r) == 0 {
		return 0
	}
	return len(r[0])
}

// Row copies an embedding.
func (r Rows) Row(i int, dst []float32) (bool, error) {
	copy(dst, r[i])
	return true, nil
}

// InMemory are embeddings as rows; a row is all zeros where there is no embedding.
func InMemory(e Embeddings) (Rows, error) {
	if rows, ok := e.(Rows); ok {
		return rows, nil
	}
	rows := make(Rows, e.Len())
	for i := range rows {
		row := make([]float32, e.Dim())
		ok, err := e.Row(i, row)
		if err != nil {
			return nil, err
		}
		if !ok {
			clear(row)
		}
		rows[i] = row
	}
	return rows, nil
}

// Settings say which figures are wanted.
type Settings struct {
	// FAR are the false accept rates at which true accept rates are told.
	FAR []float64
	// Rule is the way of computing them; it should be the one that the protocol was loaded with.
	Rule verification.Rule
	// Distances asks for [Result].Distances.
	Distances bool
	// Flip says, for the record, that the embeddings of mirror images were added.
	Flip bool
	// Progress receives bars; nil is silent.
	Progress io.Writer
}

// Result is what a protocol finds about a model.
type Result struct {
	// Verification are the figures of comparisons; nil where a protocol makes none.
	Verification *verification.Result
	// Identification are the figures of protocols with many comparisons; nil of others.
	Identification *identification.Result
	// Scores are the comparisons themselves, for intervals and for the comparison of models.
	Scores *verification.Scores
	// Distances are those of Comparisons, in their order, where [Settings] ask for them.
	Distances []float64
}

// Templates stand for what is compared: a crop each, or several crops of a person.
type Templates struct {
	// Vectors are of one dimension and any length: only directions count.
	Vectors [][]float32
	// Names are for messages.
	Names []string
	// Identities number the persons.
	Identities []int32
	// Shown are indices of Faces, one for each template, by which people see what it stands
	// for; nil where template i is face i.
	Shown []int32
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

// PrintNotes says to w, unless it is nil, what was left out and the notes.
func (d Description) PrintNotes(w io.Writer) {
	if w == nil {
		return
	}
	if d.MissingPairs > 0 {
		fmt.Fprintf(w, "%d of %d pairs are left out: %d images are not in the dataset\n", d.MissingPairs, d.Listed, len(d.Missing))
	}
	for _, n := range d.Notes {
		plain.Fprintf(w, "note: pair list %s: %s: %s\n", d.Path, strings.ToLower(n.About), n.Text)
	}
}

// Options are the settings of all protocols.
type Options struct {
	// AllowMissing leaves out comparisons that need images which the dataset lacks.
	AllowMissing bool
	// Rule deals comparisons out to folds, and is the way of computing figures.
	Rule verification.Rule
	// IJB are the switches of [IJB]; the zero value takes [UsualIJB].
	IJB IJBOptions
}

// Kind is a protocol that can be asked for by its name.
type Kind struct {
	// Name is also that of the flag that takes the file.
	Name string
	// About says in a few words what the flag takes, a `file` or a `folder`, and Help in some
	// lines how it is written.
	About, Help string
	// WholeSet says that all of a set, or nearly, is to be embedded: embeddings are then kept
	// in the dataset's cache, and are read from it.
	WholeSet bool
	// Load reads the file at path and finds its images in a set. It gives a [*MissingError]
	// for images that are not there, unless they may be missing.
	Load func(ctx context.Context, set faces.Set, path string, o Options) (Protocol, error)
}

// Kinds are all protocols.
func Kinds() []Kind {
	return []Kind{
		Pairs,
		IJB,
		AllPairs,
		MegaFace,
	}
}
