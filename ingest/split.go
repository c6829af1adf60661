package ingest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// splitter puts identities into splits by a hash of their names. All photographs of an identity
// are in one split, in every run and on every machine.
type splitter struct {
	seed   uint64
	names  []string
	bounds []float64 // the fractions, summed up; the last is 1
}

// parseSplit reads NAME=SHARE,NAME=SHARE... whose shares add up to 1; "" splits nothing.
func parseSplit(s string, seed uint64) (*splitter, error) {
	if s == "" {
		return nil, nil
	}
	p := &splitter{seed: seed}
	sum := 0.0
	for part := range strings.SplitSeq(s, ",") {
		name, text, ok := strings.Cut(strings.TrimSpace(part), "=")
		fraction, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil || !(fraction > 0 && fraction <= 1) {
			return nil, fmt.Errorf("split %q: want NAME=SHARE, where SHARE is above 0 and at most 1", part)
		}
		if !validSplit(name) {
			return nil, fmt.Errorf("split %q: a name is of letters, digits, '.', '_' and '-'", part)
		}
		for _, other := range p.names {
			if name == other {
				return nil, fmt.Errorf("split %q is there twice", name)
			}
		}
		sum += fraction
		p.names, p.bounds = append(p.names, name), append(p.bounds, sum)
	}
	if math.Abs(sum-1) > 1e-6 {
		return nil, fmt.Errorf("split %q: the shares add up to %g, want 1", s, sum)
	}
	p.bounds[len(p.bounds)-1] = 1
	return p, nil
}

func validSplit(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// of is the split of an identity, or of the key of a photograph without one.
func (p *splitter) of(name string) string {
	seed := binary.LittleEndian.AppendUint64([]byte("facepipe split 1\x00"), p.seed)
	sum := sha256.Sum256(append(seed, name...))
	// The upper 53 bits are a float64 in [0, 1), exactly.
	u := float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
	i := 0
	for u >= p.bounds[i] {
		i++
	}
	return p.names[i]
}
