package eval

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"facepipe/eval/pairlist"
	"facepipe/eval/verification"
	"facepipe/store"
)

// PairSet is a list of pairs whose images were found in a dataset.
type PairSet struct {
	list      *pairlist.List
	path      string
	locations []store.Location
	names     []string // of locations, as the list names them first
	pairs     []locatedPair
	folds     verification.Folds
	missing   []string
}

// locatedPair is a pair of the list with both crops there.
type locatedPair struct {
	listed int // number in the list
	a, b   int // into locations
	same   bool
}

// LoadPairs reads the list at path and finds its images in ds by their keys. Without
// allowMissing an image that is not there is a [*MissingError]; with it, the pairs
// that name one are left out. Folds are then chosen by [verification.ChooseFolds],
// the list's own first. Other errors: [pairlist.ErrFormat], [verification.ErrTooFew],
// those of the store and of the file.
func LoadPairs(ds *store.Dataset, path string, allowMissing bool) (*PairSet, error) {
	list, err := pairlist.Read(path)
	if err != nil {
		return nil, err
	}
	s := &PairSet{list: list, path: path}
	rows, err := s.lookUp(ds)
	if err != nil {
		return nil, err
	}
	s.locate(ds, rows)
	if len(s.missing) > 0 && !allowMissing {
		return nil, &MissingError{List: path, Dataset: ds.Dir(), Images: s.missing, Named: len(list.Images),
			Pairs: s.MissingPairs(), Listed: len(list.Pairs)}
	}
	if err := s.chooseFolds(); err != nil {
		return nil, fmt.Errorf("pair list %s: %w", path, err)
	}
	return s, nil
}

// absent stands for the row of an image that is not in the dataset.
const absent = -1

// lookUp is the global row of every image of the list, or absent.
func (s *PairSet) lookUp(ds *store.Dataset) ([]int, error) {
	rows := make([]int, len(s.list.Images))
	for i, image := range s.list.Images {
		var err error
		if rows[i], err = rowOf(ds, image); err != nil {
			return nil, err
		}
		if rows[i] == absent {
			s.missing = append(s.missing, image.String())
		}
	}
	return rows, nil
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
// list's images.
func (s *PairSet) locate(ds *store.Dataset, rows []int) {
	nameOf := map[int]string{}
	note := func(image int32) {
		if row := rows[image]; nameOf[row] == "" {
			nameOf[row] = s.list.Images[image].String()
		}
	}
	for i, p := range s.list.Pairs {
		if rows[p.A] != absent && rows[p.B] != absent {
			s.pairs = append(s.pairs, locatedPair{i, rows[p.A], rows[p.B], p.Same})
			note(p.A)
			note(p.B)
		}
	}
	needed := slices.Sorted(maps.Keys(nameOf))
	for _, row := range needed {
		s.locations = append(s.locations, ds.Locate(row))
		s.names = append(s.names, nameOf[row])
	}
	for i := range s.pairs {
		p := &s.pairs[i]
		p.a, _ = slices.BinarySearch(needed, p.a)
		p.b, _ = slices.BinarySearch(needed, p.b)
	}
}

func (s *PairSet) chooseFolds() error {
	same := make([]bool, len(s.pairs))
	var declared []int
	for i, p := range s.pairs {
		same[i] = p.same
		if s.list.Sets > 1 {
			declared = append(declared, s.list.Set(p.listed))
		}
	}
	if err := verification.CheckKinds(same); err != nil {
		return err
	}
	s.folds = verification.ChooseFolds(same, declared)
	return nil
}

// Locations are the crops that the pairs need, each once, in the order of the data
// set. [PairSet.Verify] takes their embeddings in this order. The caller must not
// change them.
func (s *PairSet) Locations() []store.Location { return s.locations }

// Pairs is the number of pairs whose images are all there.
func (s *PairSet) Pairs() int { return len(s.pairs) }

// Missing are the images that the dataset lacks, in the order of the list.
func (s *PairSet) Missing() []string { return s.missing }

// MissingPairs is the number of pairs that were left out for a missing image.
func (s *PairSet) MissingPairs() int { return len(s.list.Pairs) - len(s.pairs) }

// identicalPairs counts pairs whose two images are one crop: the same key twice, or
// two photographs with the same pixels.
func (s *PairSet) identicalPairs() int {
	n := 0
	for _, p := range s.pairs {
		if p.a == p.b {
			n++
		}
	}
	return n
}
