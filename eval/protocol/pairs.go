package protocol

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"facepipe/eval/pairlist"
	"facepipe/eval/verification"
	"facepipe/store"
)

// Pairs is the verification of pairs of images, as LFW does it. Its folds are those of
// [verification.Rule.Folds], the list's own first. Loading it may also fail with
// [pairlist.ErrFormat] and [verification.ErrTooFew].
var Pairs = Kind{
	Name: "pairs", About: "pairs",
	Help: `LFW's pairs.txt: "NAME 1 2" and "NAME 1 OTHER 3", resolved as NAME/NAME_0001.jpg
a plain list:    "a.jpg b.jpg 1" for the same person, 0 for two, by dataset keys
a table:         names of columns first, as "file_x,file_y,Decision"; by commas or tabs
others:          LFW's without header, Kaggle's CSV, CALFW's and CPLFW's two lines a pair,
                 a folder Split/FF or Split/FP of CFP's protocol
Names that are no keys are matched where only one key is like them: folders in front,
another extension, \ or ./, accents. Guesses are noted in the report.`,
	Load: loadPairs,
}

// pairs is a list of pairs whose images were found in a dataset. Every crop is a template.
type pairs struct {
	description Description
	crops       []store.Location
	names       []string        // of crops, as the list names them first
	identities  []int32         // of crops
	compared    []pairlist.Pair // of crops
	folds       verification.Folds
	rivals      []string // keys that the first missing image may mean
}

func loadPairs(ds *store.Dataset, path string, o Options) (Protocol, error) {
	list, err := pairlist.Read(path)
	if err != nil {
		return nil, err
	}
	p := &pairs{description: Description{
		Path: path, Digest: list.Digest, Format: string(list.Format), Listed: len(list.Pairs), Missing: []string{},
	}}
	for _, guess := range list.Notes {
		p.description.Notes = append(p.description.Notes, Note{"Guess", guess})
	}
	rows, err := p.lookUp(ds, list.Images)
	if err != nil {
		return nil, err
	}
	declared := p.locate(ds, list, rows)
	if d := p.Describe(); len(d.Missing) > 0 && !o.AllowMissing {
		return nil, p.missing(ds, len(list.Images))
	}
	if err := p.chooseFolds(declared, o.Rule); err != nil {
		return nil, fmt.Errorf("pair list %s: %w", path, err)
	}
	if p.identities, err = identities(ds, p.crops); err != nil {
		return nil, err
	}
	if err := p.checkLabels(int32(ds.Identities())); err != nil {
		return nil, fmt.Errorf("pair list %s: %w", path, err)
	}
	return p, nil
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
		p.description.Notes = append(p.description.Notes, Note{"Identities", fmt.Sprintf(
			"the dataset gives two identities to %d of %d same pairs and one to %d of %d different pairs", wrong[1], all[1], wrong[0], all[0])})
	}
	return nil
}

// missing is the error for images that the dataset lacks.
func (p *pairs) missing(ds *store.Dataset, named int) error {
	d := p.Describe()
	near, err := nearest(ds, d.Missing[0])
	if err != nil {
		return err
	}
	return &MissingError{List: d.Path, Dataset: ds.Dir(), Images: d.Missing, Named: named, Pairs: d.MissingPairs, Listed: d.Listed,
		Nearest: near, Rivals: p.rivals, Notes: d.Notes}
}

// absent stands for the row of an image that is not in the dataset.
const absent = -1

// lookUp is the global row of every image, or absent.
func (p *pairs) lookUp(ds *store.Dataset, images []pairlist.Image) ([]int, error) {
	rows := make([]int, len(images))
	lacking := 0
	for i, image := range images {
		var err error
		if rows[i], err = rowOf(ds, image); err != nil {
			return nil, err
		}
		if rows[i] == absent {
			lacking++
		}
	}
	if lacking > 0 {
		return rows, p.guessRows(ds, images, rows, lacking < len(images))
	}
	return rows, nil
}

// guessRows fills in the rows of images whose names are no keys as they stand; found says
// whether some are.
func (p *pairs) guessRows(ds *store.Dataset, images []pairlist.Image, rows []int, found bool) error {
	m := &matcher{ds: ds, images: images, found: found}
	matched, err := m.match()
	if err != nil {
		return err
	}
	for i, image := range images {
		g := matched[i]
		if rows[i] != absent {
			delete(matched, i)
			continue
		}
		if g == nil {
			p.description.Missing = append(p.description.Missing, image.String())
			if len(p.description.Missing) == 1 {
				p.rivals = m.rivals(image)
			}
			continue
		}
		at, err := ds.Lookup(g.key)
		if err != nil {
			return err
		}
		rows[i] = ds.RowOf(at)
	}
	p.description.Notes = append(p.description.Notes, m.describe(matched)...)
	return nil
}

func rowOf(ds *store.Dataset, image pairlist.Image) (int, error) {
	for _, key := range image.Keys() {
		at, err := ds.Lookup(key)
		if err == nil {
			return ds.RowOf(at), nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return 0, err
		}
	}
	return absent, nil
}

// locate keeps the pairs that have both crops, and what crops those need, in the order
// of the dataset: so they are read from one end to the other. rows are those of the
// list's images. It returns the pairs' declared folds, if there are any.
func (p *pairs) locate(ds *store.Dataset, list *pairlist.List, rows []int) (declared []int) {
	nameOf := map[int]string{}
	note := func(image int32) {
		if row := rows[image]; nameOf[row] == "" {
			nameOf[row] = list.Images[image].String()
		}
	}
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
	needed := slices.Sorted(maps.Keys(nameOf))
	for _, row := range needed {
		p.crops = append(p.crops, ds.Locate(row))
		p.names = append(p.names, nameOf[row])
	}
	cropOf := func(image int32) int32 {
		crop, _ := slices.BinarySearch(needed, rows[image])
		return int32(crop)
	}
	for i, pair := range p.compared {
		p.compared[i].A, p.compared[i].B = cropOf(pair.A), cropOf(pair.B)
	}
	return declared
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
	p.folds, err = rule.Folds(same, declared)
	return err
}

// Crops are those that a pair names.
func (p *pairs) Crops() []store.Location { return p.crops }

// Pool takes embeddings as they are.
func (p *pairs) Pool(embeddings [][]float32) Templates {
	return Templates{embeddings, p.names, p.identities}
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
	d.Used, d.Crops = len(p.compared), len(p.crops)
	d.MissingPairs = d.Listed - d.Used
	for _, pair := range p.compared {
		if pair.A == pair.B { // the same key twice, or two photographs with the same pixels
			d.IdenticalPairs++
		}
	}
	return d
}
