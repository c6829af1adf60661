package protocol

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"facepipe/eval/faces"
	"facepipe/eval/pairlist"
	"facepipe/eval/verification"
)

// Pairs is the verification of pairs of images, as LFW does it. Its folds are those of
// [verification.Rule.Folds], the list's own first. Loading it may also fail with
// [pairlist.ErrFormat] and [verification.ErrTooFew].
var Pairs = Kind{
	Name: "pairs", About: "`file` of pairs, or auto: drawn from the dataset's identities",
	Help: `LFW's pairs.txt: "NAME 1 2" and "NAME 1 OTHER 3", resolved as NAME/NAME_0001.jpg
a plain list:    "a.jpg b.jpg 1" for the same person, 0 for two, by dataset keys
a table:         names of columns first, as "file_x,file_y,Decision"; by commas or tabs
others:          LFW's without header, Kaggle's CSV, CALFW's and CPLFW's two lines a pair,
                 a folder Split/FF or Split/FP of CFP's protocol
Names that are no keys are matched where only one key is like them: folders in front,
another extension, \ or ./, accents. Guesses are noted in the report.`,
	Load: loadPairs,
}

// pairs is a list of pairs whose images were found in a set. Every crop is a template.
type pairs struct {
	description Description
	faces       []int           // places in the set
	names       []string        // of faces, as the list names them first
	identities  []int32         // of faces
	compared    []pairlist.Pair // of faces
	folds       verification.Folds
	rivals      []string // keys that the first missing image may mean
}

func loadPairs(ctx context.Context, set faces.Set, path string, o Options) (Protocol, error) {
	list, err := pairlist.Read(path)
	if err != nil {
		return nil, err
	}
	return Listed(ctx, set, path, list, o)
}

// Listed is [Pairs] of a list that was read from path, or made.
func Listed(ctx context.Context, set faces.Set, path string, list *pairlist.List, o Options) (Verification, error) {
	p := &pairs{description: Description{
		Path: path, Digest: list.Digest, Format: string(list.Format), Listed: len(list.Pairs), Missing: []string{},
	}}
	about := map[pairlist.Format]string{pairlist.Auto: "Drawn", pairlist.Bin: "Persons"}
	for _, note := range list.Notes {
		p.note(cmp.Or(about[list.Format], "Guess"), "%s", note)
	}
	found, err := resolve(ctx, set, list.Images)
	if err != nil {
		return nil, err
	}
	p.description.Notes = append(p.description.Notes, found.notes...)
	if len(found.missing) > 0 {
		p.description.Missing, p.rivals = found.missing, found.rivals
	}
	declared := p.locate(list, found.places)
	if d := p.Describe(); len(d.Missing) > 0 && !o.AllowMissing {
		return nil, p.missing(ctx, set, len(list.Images))
	}
	if err := p.chooseFolds(declared, o.Rule); err != nil {
		return nil, fmt.Errorf("pair list %s: %w", path, err)
	}
	if p.identities, err = faces.Numbers(set, p.faces); err != nil {
		return nil, err
	}
	if err := p.checkLabels(int32(set.Identities())); err != nil {
		return nil, fmt.Errorf("pair list %s: %w", path, err)
	}
	return p, nil
}

// note adds to what readers of a figure should know.
func (p *pairs) note(about, format string, args ...any) {
	p.description.Notes = append(p.description.Notes, Note{about, fmt.Sprintf(format, args...)})
}

// checkLabels holds the list's labels against the dataset's identities, those below known.
// Labels that say the opposite are an error, others that differ are noted.
func (p *pairs) checkLabels(known int32) error {
	var all, wrong [2]int // different, same
	for _, pair := range p.compared {
		a, b := p.identities[pair.A], p.identities[pair.B]
		if a >= known || b >= known {
			continue
		}
		kind := 0
		if pair.Same {
			kind = 1
		}
		all[kind]++
		if pair.Same != (a == b) {
			wrong[kind]++
		}
	}
	if 2*wrong[0] > all[0] && 2*wrong[1] > all[1] {
		return fmt.Errorf("%w: the labels mean the opposite, or its lines are no pairs: of %d same pairs %d have two identities in the dataset, of %d different ones %d have one",
			pairlist.ErrFormat, all[1], wrong[1], all[0], wrong[0])
	}
	if wrong[0]+wrong[1] > 0 {
		p.note("Identities", "the dataset gives two identities to %d of %d same pairs and one to %d of %d different pairs", wrong[1], all[1], wrong[0], all[0])
	}
	return nil
}

// missing is the error for images that the dataset lacks.
func (p *pairs) missing(ctx context.Context, set faces.Set, named int) error {
	d := p.Describe()
	near, err := nearestKey(ctx, set, d.Missing[0])
	if err != nil {
		return err
	}
	return &MissingError{List: d.Path, Dataset: set.Describe().Path, Images: d.Missing, Named: named, Pairs: d.MissingPairs, Listed: d.Listed,
		Nearest: near, Rivals: p.rivals, Notes: d.Notes}
}

// locate keeps the pairs that have both crops, and what faces those need, in the order
// of the set: so they are read from one end to the other. rows are those of the
// list's images. It returns the pairs' declared folds, if there are any.
func (p *pairs) locate(list *pairlist.List, rows []int) (declared []int) {
	nameOf := map[int]string{}
	note := func(image int32) {
		if row := rows[image]; nameOf[row] == "" {
			nameOf[row] = list.Images[image].String()
		}
	}
	p.noteAliases(list, rows)
	for i, pair := range list.Pairs {
		if rows[pair.A] == absent || rows[pair.B] == absent {
			continue
		}
		p.compared = append(p.compared, pair)
		note(pair.A)
		note(pair.B)
		if list.Sets > 1 {
			declared = append(declared, list.Set(i))
		}
	}
	p.faces = slices.Sorted(maps.Keys(nameOf))
	for _, row := range p.faces {
		p.names = append(p.names, nameOf[row])
	}
	cropOf := func(image int32) int32 {
		crop, _ := slices.BinarySearch(p.faces, rows[image])
		return int32(crop)
	}
	for i, pair := range p.compared {
		p.compared[i].A, p.compared[i].B = cropOf(pair.A), cropOf(pair.B)
	}
	return declared
}

// noteAliases says which images have several names: the same photograph twice, or two with the
// same pixels. A .bin file has no names.
func (p *pairs) noteAliases(list *pairlist.List, places []int) {
	if list.Format == pairlist.Bin {
		return
	}
	first := map[int]int{}
	count, example := 0, ""
	for i, place := range places {
		if place == absent {
			continue
		}
		if other, met := first[place]; !met {
			first[place] = i
		} else if count++; count == 1 {
			example = fmt.Sprintf("%s and %s", list.Images[other], list.Images[i])
		}
	}
	if count > 0 {
		p.note("Same image", "%d of %d names are second names of one image: %s", count, len(places), example)
	}
}

func (p *pairs) chooseFolds(declared []int, rule verification.Rule) (err error) {
	same := make([]bool, len(p.compared))
	n := 0
	for i, pair := range p.compared {
		if same[i] = pair.Same; pair.Same {
			n++
		}
	}
	if err := verification.CheckKinds(n, len(same)-n); err != nil {
		return err
	}
	if p.folds, err = rule.Folds(same, declared); err != nil {
		return err
	}
	if lacks := oneKind(same, declared); lacks != "" && p.folds.Rule != verification.Declared {
		p.note("Folds", "the list's own folds are not used, as %s: %s ones are taken", lacks, p.folds.Rule)
	}
	return nil
}

// oneKind says which fold has trials of one kind only, "" if none has.
func oneKind(same []bool, folds []int) string {
	if folds == nil {
		return ""
	}
	count := make([][2]int, slices.Max(folds)+1) // different, same
	for i, fold := range folds {
		if same[i] {
			count[fold][1]++
		} else {
			count[fold][0]++
		}
	}
	for fold, n := range count {
		if n[0] == 0 || n[1] == 0 {
			return fmt.Sprintf("number %d has %d same and %d different pairs", fold+1, n[1], n[0])
		}
	}
	return ""
}

// Faces are those that a pair names.
func (p *pairs) Faces() []int { return p.faces }

// Evaluate compares the pairs.
func (p *pairs) Evaluate(_ context.Context, e Embeddings, s Settings) (Result, error) {
	return Verify(p, e, s)
}

// Pool takes embeddings as they are.
func (p *pairs) Pool(embeddings [][]float32) Templates {
	return Templates{Vectors: embeddings, Names: p.names, Identities: p.identities}
}

// Comparisons are the pairs whose images are all there, in the order of the list.
func (p *pairs) Comparisons() iter.Seq[Comparison] {
	return func(yield func(Comparison) bool) {
		for i, pair := range p.compared {
			if !yield(Comparison{First: pair.A, Second: pair.B, Same: pair.Same, Fold: int32(p.folds.Of[i])}) {
				return
			}
		}
	}
}

// Folds are the list's own, or those that it was dealt out to.
func (p *pairs) Folds() verification.Folds { return p.folds }

// Describe counts what the list has.
func (p *pairs) Describe() Description {
	d := p.description
	d.Used, d.Crops = len(p.compared), len(p.faces)
	d.MissingPairs = d.Listed - d.Used
	for _, pair := range p.compared {
		if pair.A == pair.B { // the same key twice, or two photographs with the same pixels
			d.IdenticalPairs++
		}
	}
	return d
}
