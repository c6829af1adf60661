package ingest

import (
	"errors"
	"fmt"
	"syscall"

	"facepipe/ingest/align"
	"facepipe/internal/imgcodec"
)

// Stages at which an input can be refused. They are recorded.
const (
	stageRead   = "read"
	stageDecode = "decode"
	stageDetect = "detect"
	stageAlign  = "align"
	// stageQuality is that of faces that are aligned, but not good enough.
	stageQuality = "quality"
	stageStore   = "store"
)

// Why an input was refused, beyond what [imgcodec] and [align] say.
var (
	errUnreadable  = errors.New("unreadable")
	errNoFace      = errors.New("no face found")
	errNoMatch     = errors.New("no face in the given box")
	errFaceCount   = errors.New("not exactly one face")
	errNoLandmarks = errors.New("no landmarks")
	errOutside     = errors.New("landmarks outside the photograph")
	errSize        = errors.New("not an aligned crop")
	errStore       = errors.New("cannot be stored")
	errConflict    = errors.New("key taken by another source")
	errMemory      = errors.New("takes more than --memory allows")

	errSmall   = errors.New("face too small")
	errBlurred = errors.New("face too blurred")
	errYaw     = errors.New("face turned too far")
	errPitch   = errors.New("face looks too far up or down")
	errRoll    = errors.New("head leans too far")
)

// refusalKinds are the reasons that a summary counts; every refusal wraps one.
var refusalKinds = []error{
	errUnreadable, errNoFace, errNoMatch, errFaceCount, errNoLandmarks, errOutside, errSize, errStore, errConflict, errMemory,
	errSmall, errBlurred, errYaw, errPitch, errRoll,
	imgcodec.ErrEmpty, imgcodec.ErrNotImage, imgcodec.ErrUnsupported, imgcodec.ErrAnimated,
	imgcodec.ErrTooLarge, imgcodec.ErrTruncated, imgcodec.ErrCorrupt,
	align.ErrDegenerate,
}

// refusal is the error of an input that is rejected. It stops nothing else. Any other error
// stops the run.
type refusal struct {
	stage string
	err   error
}

func (r *refusal) Error() string { return r.stage + ": " + r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// isRefusal says whether an error rejects an input.
func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

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

// machineFault says whether reading failed because of a disk, a network or a limit of this
// machine, and not because of the file. What is refused stays refused until its file changes, so a
// network drive that is away for a minute must not cost the faces on it.
func machineFault(err error) bool {
	for _, fault := range []syscall.Errno{
		syscall.EIO, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ESTALE,
		syscall.ETIMEDOUT, syscall.ENOTCONN, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENETUNREACH,
	} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// RejectRateError says that a run refused more of its inputs than allowed. The dataset is
// complete without them.
type RejectRateError struct {
	// Rejected of the Seen inputs were refused.
	Rejected, Seen int
	// Max is the allowed fraction.
	Max float64
}

func (e *RejectRateError) Error() string {
	return fmt.Sprintf("%d of %d inputs were refused (%.2f %%), more than the allowed %.2f %%; rejects.jsonl in the dataset says why",
		e.Rejected, e.Seen, 100*float64(e.Rejected)/float64(e.Seen), 100*e.Max)
}
