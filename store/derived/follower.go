package derived

import (
	"context"
	"errors"
	"fmt"
	"os"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// errStale is of tables that were good until the cache grew.
var errStale = errors.New("are of another state of the cache")

// follower is a kind that is derived from a whole cache, and anew from another state of it. M is
// a pointer to its manifest.
type follower[M manifest] struct {
	what   string // for people: class centres
	folder string
	format string
	empty  func() M
}

// manifest is what a follower writes down.
type manifest interface {
	// madeOf is the beginning of every such manifest, which embeds it.
	madeOf() *made
	// validate checks the rest.
	validate() error
	// files are those of the tables, by the tables' names; nil for one that has no rows.
	files() map[string]*table.FileInfo
}

// made says what the tables are made of.
type made struct {
	table.Header
	Fingerprint string `json:"fingerprint"`
	// Cache is the digest of the teacher cache that the tables are derived from. It
	// covers the crops with their identities, too.
	Cache string `json:"cache"`
}

func (m *made) madeOf() *made { return m }

// read reads the manifest and compares it with the cache and with the sizes of its files.
// [os.ErrNotExist] without one, errStale with it if the cache is another by now or is
// incomplete.
func (k *follower[M]) read(t *cache.Cache) (M, error) {
	return twice(func() (M, error) { return k.look(t) })
}

// look is read where the folder may be replaced on the way.
func (k *follower[M]) look(t *cache.Cache) (M, error) {
	m, f := k.empty(), folderIn(t, k.folder)
	if err := table.ReadSealed(f.manifest(), k.format, m); err != nil {
		return m, err
	}
	if err := table.AsDamage(f.manifest(), validate(m, t)); err != nil {
		return m, err
	}
	for name, file := range m.files() {
		if file == nil {
			continue
		}
		if err := table.CheckSize(f.table(name, m.madeOf().Cache), file.Bytes); err != nil {
			return m, err
		}
	}
	digest, err := t.Digest()
	if err != nil || digest != m.madeOf().Cache {
		return m, fmt.Errorf("%s %w", f.dir, errStale)
	}
	return m, nil
}

func validate(m manifest, t *cache.Cache) error {
	of := m.madeOf()
	if of.Fingerprint != t.Info().Fingerprint {
		return fmt.Errorf("has fingerprint %s, its teacher has %s", of.Fingerprint, t.Info().Fingerprint)
	}
	if _, err := table.ParseDigest(of.Cache); err != nil {
		return err
	}
	return m.validate()
}

// tables are the paths that the manifest refers to, whatever state of the cache it is of.
func (k *follower[M]) tables(f folder) (paths []string, err error) {
	m := k.empty()
	if err := table.ReadSealed(f.manifest(), k.format, m); err != nil {
		return nil, err
	}
	if _, err := table.ParseDigest(m.madeOf().Cache); err != nil {
		return nil, table.AsDamage(f.manifest(), err)
	}
	for name := range m.files() {
		paths = append(paths, f.table(name, m.madeOf().Cache))
	}
	return paths, nil
}

// state says what is known of the tables without reading them: current, outdated, missing or
// damaged; and their size.
func (k *follower[M]) state(t *cache.Cache) (state string, bytes int64) {
	m, err := k.read(t)
	for _, file := range m.files() {
		if file != nil {
			bytes += file.Bytes
		}
	}
	switch {
	case err == nil:
		return "current", bytes
	case errors.Is(err, os.ErrNotExist):
		return "missing", 0
	case errors.Is(err, errStale):
		return "outdated", bytes
	}
	return "damaged", 0
}

// ensure makes the tables unless they are there and will do. derive writes them and commits the
// manifest, which says already what it is made of. One process does; others wait and then find
// it done.
func (k *follower[M]) ensure(ctx context.Context, t *cache.Cache, willDo func(m M) bool, derive func(f folder, m M) error) (m M, reused bool, err error) {
	f, log := folderIn(t, k.folder), t.Dataset().Logger()
	if m, err = k.read(t); err == nil && willDo(m) {
		if err := f.tidy(func() ([]string, error) { return k.tables(f) }); err != nil {
			log.Warn("old "+k.what+" cannot be removed", "teacher", t.Folder(), "cause", err)
		}
		return m, true, nil
	}
	source, err := t.Digest()
	if err != nil {
		return m, false, fmt.Errorf("derive %s: %w: run precompute-teacher again", k.what, err)
	}
	fail := func(err error) (M, bool, error) {
		return m, false, fmt.Errorf("derive %s of teacher %s: %w", k.what, t.Info().Name, err)
	}
	lock, err := f.claim(func(path string) (*durable.Lock, error) { return durable.WaitLock(ctx, path) })
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	switch m, err = k.read(t); {
	case err == nil && willDo(m):
		return m, true, nil
	case errors.Is(err, store.ErrDamaged):
		log.Warn("damaged "+k.what+" are derived again", "teacher", t.Folder(), "cause", err)
	case errors.Is(err, store.ErrVersion):
		return fail(err)
	}
	m = k.empty()
	*m.madeOf() = made{Header: table.HeaderOf(k.format), Fingerprint: t.Info().Fingerprint, Cache: source}
	if err := derive(f, m); err != nil {
		return fail(err)
	}
	return m, false, nil
}
