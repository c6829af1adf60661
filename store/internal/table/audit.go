package table

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/progress"
)

// Audit is one look for damage, which each layer takes at what it owns. It goes on after it
// finds some and changes nothing.
type Audit struct {
	Context context.Context
	// Chosen are the shards whose data are read; nil for manifests and file sizes alone.
	Chosen []bool
	// Fault takes an error that is damage down and returns any other, and nil for nil.
	Fault func(error) error
	// Note takes down what is worth knowing and no damage.
	Note func(format string, args ...any)
	// Bar counts the rows that are read; nil is silent.
	Bar *progress.Bar
}

// Reads is whether the data of a shard are read.
func (a *Audit) Reads(shard int) bool { return shard < len(a.Chosen) && a.Chosen[shard] }

// ReadsAll is whether those of all shards are: then shards are compared with each other, too.
func (a *Audit) ReadsAll() bool {
	return a.Chosen != nil && !slices.Contains(a.Chosen, false)
}

// Interrupted is whether a run may have been cut off while it wrote in a folder: whoever holds the
// folder's lock is at work, or was killed. A lock that was let go of is empty. Where there is none
// nobody can tell.
func Interrupted(folder string) bool {
	info, err := os.Lstat(filepath.Join(folder, LockFile))
	return err != nil || info.Size() > 0
}

// NoteTemps mentions the unfinished files in a folder, whose names begin with one of the
// prefixes.
func (a *Audit) NoteTemps(folder string, prefixes ...string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(e.Name(), p) }) {
			a.Note("%s is unfinished: a run is at work, or was interrupted", filepath.Join(folder, e.Name()))
		}
	}
	return nil
}
