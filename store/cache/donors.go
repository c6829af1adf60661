package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/durable"
	"facepipe/store"
)

// Donors are teacher caches of other datasets, of one fingerprint, from which a cache
// takes embeddings that it would else have to compute: a crop with the same id has the
// same embedding. They are only read. For one goroutine.
type Donors struct {
	info     Info
	datasets []*store.Dataset
	copier   copier
	// of[i] is the place in datasets of the cache copier.from[i].
	of     []int
	report []Donor
	notes  []string
}

// Donor is one of the caches, and what was taken from it.
type Donor struct {
	Dataset string `json:"dataset"`
	Teacher string `json:"teacher"`
	// Copied is the number of crops.
	Copied int `json:"copied"`
}

// DonorRow is where the embedding of a crop lies; see [Donors.Find].
type DonorRow struct{ at inputRow }

// OpenDonors opens the caches of the datasets in dirs that are of info's fingerprint,
// whatever their names. Earlier ones are preferred. d's own cache of info's name is none
// of them. A dataset without such a cache is noted; see [Donors.Notes]. Errors:
// [store.ErrFingerprint] if it has one of info's name that is another teacher's,
// [store.ErrNotFound] if it is no dataset, [store.ErrDamaged], [store.ErrVersion],
// [store.ErrUnfinished].
func OpenDonors(d *store.Dataset, info Info, dirs []string) (*Donors, error) {
	s := &Donors{info: info}
	for i, dir := range dirs {
		if slices.ContainsFunc(dirs[:i], func(earlier string) bool { return durable.SameFile(earlier, dir) }) {
			continue
		}
		if err := s.add(d, dir); err != nil {
			return nil, errors.Join(fmt.Errorf("reuse embeddings of %s: %w", dir, err), s.Close())
		}
	}
	return s, nil
}

// add opens what the dataset in dir has.
func (s *Donors) add(to *store.Dataset, dir string) error {
	d, err := store.Open(dir, store.WithLogger(to.Logger()), store.WithContext(to.Context()))
	if err != nil {
		return err
	}
	s.datasets = append(s.datasets, d)
	names, err := Names(d)
	if err != nil {
		return err
	}
	if durable.SameFile(to.Dir(), dir) {
		names = slices.DeleteFunc(names, func(name string) bool { return name == s.info.Name })
	}
	found := false
	for _, name := range names {
		taken, err := s.addCache(d, name)
		if err != nil {
			return err
		}
		found = found || taken
	}
	switch {
	case found:
	case slices.Contains(names, s.info.Name):
		return s.foreign(d)
	case len(names) == 0:
		s.note("%s has no teacher cache to reuse", dir)
	default:
		s.note("%s has no cache of fingerprint %.12s… to reuse, only %s", dir, s.info.Fingerprint, strings.Join(names, ", "))
	}
	return nil
}

// addCache takes a cache up if it is of the fingerprint.
func (s *Donors) addCache(d *store.Dataset, name string) (taken bool, err error) {
	folder := folderOf(d, name)
	info, err := findInfo(folder, name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // dropped since it was listed
	}
	if err != nil || info.Fingerprint != s.info.Fingerprint {
		return false, err
	}
	if err := sameTeacher(d.Dir(), info, "this run", s.info); err != nil {
		return false, err
	}
	t, err := Open(d, name)
	if err != nil {
		return false, err
	}
	if missing := t.MissingShards(); len(missing) > 0 {
		s.note("teacher %s of %s lacks %d of %d shards", name, d.Dir(), len(missing), d.Shards())
	}
	s.copier.from = append(s.copier.from, t)
	s.of = append(s.of, len(s.datasets)-1)
	s.report = append(s.report, Donor{Dataset: d.Dir(), Teacher: name})
	return true, nil
}

// foreign is about a cache of the name in which nothing is of use.
func (s *Donors) foreign(d *store.Dataset) error {
	folder := folderOf(d, s.info.Name)
	info, err := readInfo(folder, s.info.Name)
	if err != nil {
		return err
	}
	return sameTeacher(folder, info, "this run", s.info)
}

func (s *Donors) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// Notes say which of the datasets are of no use, or not of full use, and why.
func (s *Donors) Notes() []string { return s.notes }

// Report lists the caches in the order in which they are asked.
func (s *Donors) Report() []Donor { return slices.Clone(s.report) }

// Find looks a crop up in the datasets' indexes. false if no cache has its embedding.
func (s *Donors) Find(id store.ID) (DonorRow, bool, error) {
	for i, t := range s.copier.from {
		l, err := s.datasets[s.of[i]].LookupID(id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return DonorRow{}, false, err
		}
		if t.shards[l.Shard] != nil {
			return DonorRow{inputRow{inputShard{uint32(i), l.Shard}, l.Row}}, true, nil
		}
	}
	return DonorRow{}, false, nil
}

// Close lets go of the datasets.
func (s *Donors) Close() error {
	err := s.copier.close()
	for _, d := range s.datasets {
		err = errors.Join(err, d.Close())
	}
	s.datasets = nil
	return err
}

// Copy adds the embedding of the next row, bit for bit as a donor has it. Where [Donors.Find]
// has led to another crop's embedding, the donor's file is [store.ErrDamaged].
func (w *ShardWriter) Copy(s *Donors, from DonorRow) error {
	if err := sameTeacher(filepath.Dir(w.out.Path), w.info, "the donors", s.info); err != nil {
		return err
	}
	if err := s.copier.copy(w, from.at); err != nil {
		return err
	}
	s.report[from.at.input].Copied++
	return nil
}
