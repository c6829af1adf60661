package ingest

import (
	"errors"
	"fmt"

	"facepipe/ingest/align"
	"facepipe/internal/imgcodec"
)

// Stages at which an input can be refused, as they are recorded.
const (
	stageRead   = "read"
	stageDecode = "decode"
	stageDetect = "detect"
	stageAlign  = "align"
	stageStore  = "store"
)

// Why an input was refused, beyond what [imgcodec] and [align] say.
var (
	errUnreadable  = errors.New("unreadable")
	errNoFace      = errors.New("no face found")
	errNoMatch     = errors.New("no face in the given box")
	errNoLandmarks = errors.New("no landmarks")
	errSize        = errors.New("not an aligned crop")
	errStore       = errors.New("cannot be stored")
	errConflict    = errors.New("key taken by another source")
)

// refusalKinds are the reasons that a summary counts; every refusal wraps one.
var refusalKinds = []error{
	errUnreadable, errNoFace, errNoMatch, errNoLandmarks, errSize, errStore, errConflict,
	imgcodec.ErrEmpty, imgcodec.ErrNotImage, imgcodec.ErrUnsupported, imgcodec.ErrAnimated,
	imgcodec.ErrTooLarge, imgcodec.ErrTruncated, imgcodec.ErrCorrupt,
	align.ErrDegenerate,
}

// refusal is the error of an input that is rejected, which stops nothing else. Any
// other error stops the run.
type refusal struct {
	stage string
	err   error
}

func (r *refusal) Error() string { return r.stage + ": " + r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(stage string, err error) error { return &refusal{stage: stage, err: err} }

// kind is the reason without its details, as "stage: reason".
func (r *refusal) kind() string {
	for _, k := range refusalKinds {
		if errors.Is(r.err, k) {
			return r.stage + ": " + k.Error()
		}
	}
	return r.stage
}

// RejectRateError says that a run refused more of its inputs than it was allowed to.
// The dataset is complete all the same, without them.
type RejectRateError struct {
	// Rejected of the Seen inputs were refused.
	Rejected, Seen int
	// Max is the share that was allowed.
	Max float64
}

func (e *RejectRateError) Error() string {
	return fmt.Sprintf("%d of %d inputs were refused (%.2f %%), more than the allowed %.2f %%; rejects.jsonl in the dataset says why",
		e.Rejected, e.Seen, 100*float64(e.Rejected)/float64(e.Seen), 100*e.Max)
}
