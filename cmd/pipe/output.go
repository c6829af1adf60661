package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"facepipe/internal/plain"
	"facepipe/internal/stop"
)

// result is what a verb leaves on stdout: value as one JSON object with --json, else
// what text prints for a person.
type result struct {
	value any
	text  func(io.Writer)
}

// failure is the JSON object of a run that has no summary.
type failure struct {
	Error    string `json:"error"`
	ExitCode int    `json:"exit_code"`
}

// finish prints the run's result and error and returns the exit status.
func (s *session) finish(err error) int {
	code := exitCode(err)
	if code == exitStopped {
		err = stop.Saying(strings.ReplaceAll(err.Error(), context.Canceled.Error(), "stopped"))
	}
	if err != nil {
		// What an error has in further lines cannot pass for a line of its own.
		fmt.Fprintln(s.stderr, "pipe:", strings.ReplaceAll(err.Error(), "\n", "\n      "))
		if code != exitStopped || !strings.Contains(err.Error(), stop.GoOn) { // which some say themselves
			fmt.Fprint(s.stderr, s.hint(code))
		}
	}
	if printErr := s.print(err, code); printErr != nil {
		fmt.Fprintln(s.stderr, "pipe: print the summary:", printErr)
		return max(code, exitFailed)
	}
	return code
}

// hint says what to do about an exit status, where that is always the same.
func (s *session) hint(code int) string {
	switch {
	case code == exitUsage:
		return "Run 'pipe VERB --help' for the flags and examples.\n"
	case code == exitStopped && s.startsAnew:
		return "Stopped by a signal; run again with --resume to go on.\n"
	case code == exitStopped:
		return "Stopped by a signal; " + stop.GoOn + ".\n"
	}
	return ""
}

func (s *session) print(err error, code int) error {
	switch {
	case s.json && s.result != nil:
		return s.printJSON(s.result.value)
	case s.json && err != nil:
		return s.printJSON(failure{Error: err.Error(), ExitCode: code})
	case s.result != nil:
		out := &firstError{w: s.stdout}
		s.result.text(out)
		return out.err
	}
	return nil
}

func (s *session) printJSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := s.stdout.Write(plain.JSON(b.Bytes()))
	return err
}

// firstError remembers the first error of a writer, so that printing reads as a
// list of lines and is checked once.
type firstError struct {
	w   io.Writer
	err error
}

func (f *firstError) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.w.Write(p)
	f.err = errors.Join(f.err, err)
	return n, err
}

// spent says how long it took to make something, unless it was there.
func spent(seconds float64, reused bool) string {
	if reused {
		return "there already"
	}
	return fmt.Sprintf("in %.1f s", seconds)
}

// nearOne writes a cosine so that what it lacks to one shows.
func nearOne(cosine float64) string {
	if lack := 1 - cosine; lack > 0 && lack < 1e-4 {
		return fmt.Sprintf("1 - %.1e", lack)
	}
	return fmt.Sprintf("%.6f", cosine)
}
