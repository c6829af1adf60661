// Package stop makes errors for runs that were told to end.
package stop

import "context"

// GoOn is what to do about most runs that were stopped.
const GoOn = "run the same command again to go on"

// stopped is a [context.Canceled] with a text of its own.
type stopped struct{ text string }

func (s stopped) Error() string { return s.text }

func (s stopped) Is(target error) bool { return target == context.Canceled }

// Saying is a [context.Canceled] that reads as text.
func Saying(text string) error { return stopped{text} }
