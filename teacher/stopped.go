package teacher

import (
	"context"
	"errors"

	"facepipe/internal/stop"
)

// What a run that was stopped keeps, and a comma.
const (
	keepsShards  = "the finished shards are kept, "
	keepsNothing = ""
)

// stopping puts the context's error in words, where it is all that an error says.
func stopping(err error, kept string) error {
	for cause := err; cause != nil; cause = errors.Unwrap(cause) { // not into errors that are joined
		if cause == context.Canceled {
			return stop.Saying("stopped; " + kept + stop.GoOn)
		}
	}
	return err
}
