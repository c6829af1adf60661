package store

import (
	"errors"

	"facepipe/internal/durable"
	"facepipe/store/internal/table"
)

// The kinds of failure a caller may want to tell apart with [errors.Is]. The error
// that wraps one names the file or the key.
var (
	// ErrDamaged: what is on disk is not what was written. Nothing of it was
	// returned. The remedy is a copy of the file, or building it anew.
	ErrDamaged = table.ErrDamaged
	// ErrVersion: the dataset has a format version that this program cannot read.
	ErrVersion = table.ErrVersion
	// ErrLocked: another run writes the same dataset or teacher cache.
	ErrLocked = durable.ErrLocked
	// ErrFingerprint: a teacher cache holds the embeddings of another model,
	// preprocessing or precision than the one at hand. They are never mixed.
	ErrFingerprint = errors.New("another teacher fingerprint")
	// ErrContract: a dataset's crops were made under another [Contract].
	ErrContract = errors.New("another crop contract")
	// ErrNotFound: no such dataset, teacher, key or crop.
	ErrNotFound = errors.New("not found")
	// ErrPlan: a plan, or a part of one, is not the one that is wanted.
	ErrPlan = errors.New("another plan")
	// ErrUnfinished: the ingest that was to make the dataset was interrupted
	// before its end; running it again finishes it.
	ErrUnfinished = errors.New("unfinished ingest")
)
