package overlap

import (
	"context"
	"iter"

	"facepipe/eval/protocol"
	"facepipe/eval/verification"
)

// Clean is a protocol without the comparisons that have a dirty template on either side, so that
// the figures of clean ones stand beside those of all. dirty tells
// it of each template; where every crop is one, as in lists of pairs, that is [Result].Dirty.
//
// The comparisons stay in their folds, unless a fold has lost all of a kind: then they are dealt
// out anew.
func Clean(p protocol.Verification, dirty []bool) protocol.Verification {
	c := &clean{Verification: p, dirty: dirty}
	before := p.Folds()
	if before.Count == 0 {
		return c
	}
	var same []bool
	n := 0
	for pair := range p.Comparisons() {
		if c.takes(pair) {
			same = append(same, pair.Same)
			c.folds.Of = append(c.folds.Of, before.Of[n])
		}
		n++
	}
	c.folds.Rule, c.folds.Count = before.Rule, before.Count
	if len(same) > 0 && !c.everyFold(same) {
		c.folds = verification.ChooseFolds(same, nil)
	}
	return c
}

type clean struct {
	protocol.Verification
	dirty []bool
	folds verification.Folds
}

func (c *clean) takes(pair protocol.Comparison) bool {
	return !c.dirty[pair.First] && !c.dirty[pair.Second]
}

// everyFold says whether all folds have pairs of both kinds.
func (c *clean) everyFold(same []bool) bool {
	seen := map[int][2]bool{}
	for i, fold := range c.folds.Of {
		s := seen[fold]
		s[0], s[1] = s[0] || !same[i], s[1] || same[i]
		seen[fold] = s
	}
	whole := 0
	for _, s := range seen {
		if s[0] && s[1] {
			whole++
		}
	}
	return whole == c.folds.Count
}

// Comparisons are those of which neither side is dirty, in their order.
func (c *clean) Comparisons() iter.Seq[protocol.Comparison] {
	return func(yield func(protocol.Comparison) bool) {
		n := 0
		for pair := range c.Verification.Comparisons() {
			if !c.takes(pair) {
				continue
			}
			if c.folds.Count > 0 {
				pair.Fold = int32(c.folds.Of[n])
			}
			n++
			if !yield(pair) {
				return
			}
		}
	}
}

// Evaluate computes the figures of the comparisons that are left.
func (c *clean) Evaluate(_ context.Context, e protocol.Embeddings, s protocol.Settings) (protocol.Result, error) {
	return protocol.Verify(c, e, s)
}

// Folds are those of the comparisons that are left.
func (c *clean) Folds() verification.Folds { return c.folds }
