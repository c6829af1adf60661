package table

import (
	"errors"

	"facepipe/internal/seal"
)

// ErrDamaged: what is on disk is not what was written. Nothing of it was
// returned. The remedy is a copy of the file, or building it anew.
var ErrDamaged = seal.ErrDamaged

// ErrVersion: the dataset has a format version that this program cannot read.
var ErrVersion = errors.New("unknown format version")
