package webdataset

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
)

// survey is what is known of a shard before it is walked.
type survey struct {
	// scattered says that members of a sample lie apart.
	scattered bool
}

// survey looks through the headers, once.
func (s *Shard) survey(ctx context.Context) (survey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.surveyed != nil {
		return *s.surveyed, nil
	}
	found := survey{}
	seed, keys := maphash.MakeSeed(), map[uint64]struct{}{}
	enough := errors.New("enough")
	err := s.pass(ctx, walk{ctx: ctx, v: Visitor{
		Hold: func(*Member) bool { return false },
		Sample: func(sample Sample) error {
			key := maphash.String(seed, sample.Key)
			if _, again := keys[key]; again && sample.Fault == nil {
				found.scattered = true
				return enough
			}
			keys[key] = struct{}{}
			return nil
		},
		Damage: func(Damage) error { return nil },
	}, parts: true})
	if err != nil && !errors.Is(err, enough) {
		return survey{}, err
	}
	s.surveyed = &found
	return found, nil
}

// Bounds of the memory that a shard takes whose samples lie apart.
const (
	maxGathered     = 1 << 19  // members
	maxGatheredHeld = 64 << 20 // bytes of a compressed one's, and of names
)

// errScattered refuses a shard that cannot be gathered within the bounds.
var errScattered = errors.New("members of one sample lie apart from each other, in a shard too large to put them together: pack it again with tar --sort=name")

// gathering puts samples together whose members lie apart. All members of the shard are in
// memory, without their data unless the shard is compressed. A shard with more than
// [maxGathered], or with more data than [maxGatheredHeld], is refused as a whole: a sample whose
// labels come later would be taken without them.
//
// Members whose names are all there already are another sample, as in archives that were joined.
type gathering struct {
	samples []Sample
	byKey   map[string]int
	members int
	held    int
	names   int // bytes
	damage  []Damage
}

func (s *Shard) gather(ctx context.Context, v Visitor) error {
	g := gathering{byKey: map[string]int{}}
	hold := func(m *Member) bool { return s.Compressed() && v.Hold(m) }
	err := s.pass(ctx, walk{ctx: ctx, parts: true, v: Visitor{
		Hold:   hold,
		Sample: g.add,
		Damage: func(d Damage) error { g.damage = append(g.damage, d); return nil },
	}})
	if errors.Is(err, errScattered) {
		return v.Damage(Damage{Length: s.size, Err: err})
	}
	if err != nil {
		return err
	}
	for _, d := range g.damage {
		if err := v.Damage(d); err != nil {
			return err
		}
	}
	g.missing()
	for i := range g.samples {
		sample := g.samples[i]
		g.samples[i] = Sample{} // its data are the visitor's now
		if err := v.Sample(sample); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// add takes members that lie next to each other.
func (g *gathering) add(part Sample) error {
	g.members += len(part.Members)
	for i := range part.Members {
		g.held += part.Members[i].Held()
		g.names += len(part.Members[i].Name)
	}
	if g.members > maxGathered || max(g.held, g.names) > maxGatheredHeld {
		return errScattered
	}
	at, again := g.byKey[part.Key]
	if !again || part.Fault != nil || g.samples[at].repeats(part) {
		if !again {
			g.byKey[part.Key] = len(g.samples)
		}
		g.samples = append(g.samples, part)
		return nil
	}
	whole := &g.samples[at]
	if len(whole.Members)+len(part.Members) > maxMembers {
		whole.Fault = fmt.Errorf("sample has more than %d members", maxMembers)
		return nil
	}
	whole.Members = append(whole.Members, part.Members...)
	return nil
}

// repeats says whether all names of a part are in the sample already.
func (s *Sample) repeats(part Sample) bool {
	for i := range part.Members {
		if !slices.ContainsFunc(s.Members, func(m Member) bool { return m.Name == part.Members[i].Name }) {
			return false
		}
	}
	return true
}

// missing marks the samples of a damaged shard that have not the members that most have.
func (g *gathering) missing() {
	if len(g.damage) == 0 {
		return
	}
	count, usual := map[string]int{}, ""
	for i := range g.samples {
		e := g.samples[i].extensions()
		if count[e]++; count[e] > count[usual] {
			usual = e
		}
	}
	for i := range g.samples {
		if s := &g.samples[i]; s.Fault == nil && s.extensions() != usual {
			s.Fault = fmt.Errorf("archive is damaged, and members may be missing: %w", g.damage[0].Err)
		}
	}
}
