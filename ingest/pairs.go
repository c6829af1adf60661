package ingest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"facepipe/ingest/source"
	"facepipe/internal/durable"
)

// requirePairs is an error if pairs are wanted and no source has any.
func (r *run) requirePairs() error {
	if r.options.PairsOut == "" {
		return nil
	}
	for _, s := range r.sources {
		if _, ok := s.(source.PairLister); ok {
			return nil
		}
	}
	return fmt.Errorf("write pairs to %s: no source holds pairs", r.options.PairsOut)
}

// writePairs writes the pairs of all sources that have some, with the dataset's keys. It writes
// the whole file or none.
func (r *run) writePairs(ctx context.Context) error {
	if r.options.PairsOut == "" {
		return nil
	}
	out, err := durable.Stage(r.options.PairsOut)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	for i, s := range r.sources {
		lister, ok := s.(source.PairLister)
		if !ok {
			continue
		}
		err := lister.Pairs(ctx, func(a, b string, same bool) error {
			r.summary.Pairs++
			return writePair(w, r.key(i, a), r.key(i, b), same)
		})
		if err != nil {
			return errors.Join(fmt.Errorf("list pairs of source %s: %w", r.parsed.sources[i], err), out.Abort())
		}
	}
	if err := w.Flush(); err != nil {
		return errors.Join(err, out.Abort())
	}
	return out.Commit()
}

// writePair writes a line: both keys and 0 or 1, between tabs, so that keys may hold
// spaces.
func writePair(w *bufio.Writer, a, b string, same bool) error {
	for _, key := range []string{a, b} {
		if strings.ContainsAny(key, "\t\r\n") || strings.TrimSpace(key) != key {
			return fmt.Errorf("key %q cannot stand in a list of pairs", key)
		}
	}
	flag := 0
	if same {
		flag = 1
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%d\n", a, b, flag)
	return err
}
