package teacher

import (
	"context"
	"errors"
)

// stopped is the error of a run that was told to end: the context's, in words that say what
// to do.
type stopped struct {
	kept  string // what is kept, and a comma; "" says nothing
	cause error
}

// Kinds of what a run that was stopped keeps.
const (
	keepsShards  = "the finished shards are kept, "
	keepsNothing = ""
)

func (s *stopped) Error() string { return "stopped; " + s.kept + "run the same command again to go on" }
func (s *stopped) Unwrap() error { return s.cause }

// stopping puts the context's error in words, where it is all that an error says.
func stopping(err error, kept string) error {
	for cause := err; cause != nil; cause = errors.Unwrap(cause) { // not into errors that are joined
		if cause == context.Canceled {
			return &stopped{kept, err}
		}
	}
	return err
}
