// Package derived keeps what is made of a whole teacher cache, or belongs to its teacher: class
// centres with the quality of every crop, the crops nearest to every crop, the rotation to
// another teacher's space, and the classifier that the teacher was trained with.
//
// Each kind is a folder in the cache's with a lock, a manifest and tables of its own. A kind is
// one file of this package and one line in the register of derived.go; package check, and
// dropping a cache, need not know it. A kind that can be derived follows the cache: it says of
// which state of the cache it is, and is made anew when that is another.
//
// It builds on the cache of package cache and on the files of store/internal/table. Damage is
// [store.ErrDamaged] with the file's name, and [os.ErrNotExist] or [store.ErrNotFound] is what
// was never made; a reader that meets a writer sees the old tables or the new.
package derived

import (
	"errors"
	"io"
	"os"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// audits is the register of what lies in a folder of its own beside a cache's shards. A new
// kind is a file, and a line here.
var audits = []func(a *table.Audit, t *cache.Cache) error{
	auditOf("class centres", centresFolder, readCentres),
	auditOf("classifier", classifierFolder, OpenClassifier),
	auditOf("alignment", alignmentFolder, readAlignment),
	auditOf("neighbours", neighboursFolder, func(t *cache.Cache) (*Neighbours, error) { return readNeighbours(t, 0) }),
}

// Audit looks at all that is derived from a cache. It is for store/check.
func Audit(a *table.Audit, t *cache.Cache) error {
	for _, audit := range audits {
		if err := a.Fault(audit(a, t)); err != nil {
			return err
		}
	}
	return nil
}

// inDataset calls derive with a teacher cache of the dataset in dir, open as long as that takes.
func inDataset(dir, teacher string, derive func(t *cache.Cache) error) (err error) {
	d, err := store.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	t, err := cache.Open(d, teacher)
	if err != nil {
		return err
	}
	return derive(t)
}

// opened are the open tables of a kind.
type opened interface {
	io.Closer
	// audit reads all of them.
	audit() error
}

// auditOf looks for damage of a kind, whose tables lie in the folder of a name and open opens. Where all shards are read it
// reads the tables.
func auditOf[T opened](what, name string, open func(*cache.Cache) (T, error)) func(*table.Audit, *cache.Cache) error {
	return func(a *table.Audit, t *cache.Cache) (err error) {
		tables, err := open(t)
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, store.ErrNotFound):
			return folderIn(t, name).noteOrphans(a)
		case errors.Is(err, errStale):
			a.Note("teacher %s: its %s %v and are derived anew when they are needed", t.Info().Name, what, errStale)
			return nil
		case err != nil:
			return err
		}
		defer func() { err = errors.Join(err, tables.Close()) }()
		if !a.ReadsAll() {
			return nil
		}
		return tables.audit()
	}
}
