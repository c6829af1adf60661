package main

import (
	"context"
	"errors"
	"fmt"

	"facepipe/ingest"
	"facepipe/internal/launch"
	"facepipe/store"
	"facepipe/store/merge"
	"facepipe/student"
	"facepipe/student/export"
	"facepipe/study"
	"facepipe/teacher"
)

// Exit statuses, as scripts rely on them.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRejects = 3
	exitDamaged = 4
	exitStopped = 75 // EX_TEMPFAIL of sysexits.h: try again
)

// errUsage marks a command line that cannot be run.
var errUsage = errors.New("wrong usage")

// usageError is a message with the kind errUsage, which the message does not show.
type usageError struct{ error }

func (usageError) Is(target error) bool { return target == errUsage }
func (e usageError) Unwrap() error      { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// exitCode is the only place that maps errors to exit statuses. What the user did
// goes before what the disk did: a stopped run may well report both.
func exitCode(err error) int {
	var rank *launch.ExitError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUsage), errors.Is(err, student.ErrUsage), errors.Is(err, export.ErrUsage), errors.Is(err, study.ErrUsage), errors.Is(err, teacher.ErrSeveral):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitStopped
	case errors.Is(err, store.ErrDamaged):
		return exitDamaged
	case errors.As(err, &rank):
		return rank.Status
	case tooManyRejects(err), errors.Is(err, study.ErrRows):
		return exitRejects
	}
	return exitFailed
}

// tooManyRejects is whether a verb finished its work, but refused more of its inputs
// than it was allowed to.
func tooManyRejects(err error) bool {
	var inputs *ingest.RejectRateError
	var embeddings *teacher.RejectRateError
	var keys *merge.ConflictRateError
	return errors.As(err, &inputs) || errors.As(err, &embeddings) || errors.As(err, &keys)
}

// exitStatus is the section of every help text about exit statuses.
const exitStatus = `
EXIT STATUS
  0   done
  1   failed
  2   wrong usage
  3   done, but more was refused than --max-reject-rate allows, or rows of a study failed
  4   data on disk is damaged
  75  stopped by a signal: run the same command (distill: with --resume) again to go on
  134 crashed: a fault of the program, or of a library that it uses; what is on disk is whole
`
