package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"

	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
)

// design is a kind of test set. Everybody has an effect of their own on their distances, from the
// standard normal distribution.
type design struct {
	name   string
	people int
	// sames is how many same-person comparisons everybody has. differents are drawn of all pairs
	// of people; 0 is every pair once.
	sames, differents int
	// fmr and fnmr are the true rates at the threshold that is fixed, target the FMR of the
	// FNMR at an FMR.
	fmr, fnmr, target float64
}

var designs = []design{
	{"100 people, 5 same-person comparisons each, every pair of people; FNMR 10 % at FMR 2 %", 100, 5, 0, 0.02, 0.1, 0.02},
	{"200 people, 10 same-person comparisons each, every pair of people; 5 % at 1 %", 200, 10, 0, 0.01, 0.05, 0.01},
	{"200 people, 5 same-person comparisons each, every pair of people; 20 % at 5 %", 200, 5, 0, 0.05, 0.2, 0.05},
	{"1,000 people, one same-person comparison each, 1,000 pairs of people; 5 % at 5 %", 1000, 1, 1000, 0.05, 0.05, 0.05},
}

// What moves distances: people and everything else, of same-person and different-person ones.
const (
	ownSame, otherSame           = 0.8, 1.0
	ownDifferent, otherDifferent = 0.3, 1.0
)

// spreads are the standard deviations of both kinds of distances.
func spreads() (same, different float64) {
	return math.Hypot(ownSame, otherSame), math.Sqrt(2*ownDifferent*ownDifferent + otherDifferent*otherDifferent)
}

// Normal distribution: its value below which a share lies, and the share below a value.
func quantile(share float64) float64 { return math.Sqrt2 * math.Erfinv(2*share-1) }
func below(value float64) float64    { return (1 + math.Erf(value/math.Sqrt2)) / 2 }

// centres are the mean distances of both kinds; the threshold is 0.
func (d design) centres() (same, different float64) {
	s, o := spreads()
	return -s * quantile(1-d.fnmr), -o * quantile(d.fmr)
}

// The figures whose intervals are looked at.
var figures = []string{"FMR at a threshold", "FNMR at a threshold", "AUC", "FNMR at an FMR", "threshold for an FMR"}

// truth has the figures of all people.
func (d design) truth() []float64 {
	s, o := spreads()
	same, different := d.centres()
	threshold := different + o*quantile(d.target)
	return []float64{d.fmr, d.fnmr, below((different - same) / math.Hypot(s, o)), 1 - below((threshold-same)/s), threshold}
}

// draw draws the people of a set and what a model says of them. If alone, every comparison is of
// somebody of their own: what one who ignores identities sees. Models are equally good, and the people
// have the same effects on all.
func (d design) draw(seed, model uint64, alone bool) *verification.Scores {
	rng := rand.New(rand.NewPCG(seed, 0))
	same, different := d.centres()
	effects := make([]float64, d.people)
	for i := range effects {
		effects[i] = rng.NormFloat64()
	}
	if model > 0 {
		rng = rand.New(rand.NewPCG(seed, model))
	}
	s := verification.NewScores(d.people*d.sames, d.differents, 0)
	trials := int32(0)
	add := func(isSame bool, distance float64, a, b int) {
		t := verification.Trial{Distance: distance, Same: isSame, First: int32(a), Second: int32(b)}
		if alone {
			t.First, t.Second = trials, trials
		}
		trials++
		s.Add(t)
	}
	for i, effect := range effects {
		for range d.sames {
			add(true, same+ownSame*effect+otherSame*rng.NormFloat64(), i, i)
		}
	}
	pick := rand.New(rand.NewPCG(seed, 1<<32))
	pair := func(a, b int) {
		add(false, different-ownDifferent*(effects[a]+effects[b])+otherDifferent*rng.NormFloat64(), a, b)
	}
	for range d.differents {
		a, b := pick.IntN(d.people), pick.IntN(d.people-1)
		if b >= a {
			b++
		}
		pair(a, b)
	}
	for a := range d.people {
		for b := 0; b < a && d.differents == 0; b++ {
			pair(a, b)
		}
	}
	return s
}

// covered counts the intervals of a figure that hold the truth.
type covered struct {
	held, intervals int
	width           float64 // of all together
}

func (c covered) share() float64 { return float64(c.held) / float64(c.intervals) }

// cover draws many sets. It counts what their intervals hold, first of those that respect identities
// and then of those that ignore them.
func cover(d design, simulations, replicates int) (found [2][]covered, err error) {
	intervals := make([][2][]*uncertainty.Interval, simulations)
	err = each(simulations, func(simulation int) error {
		for i, alone := range []bool{false, true} {
			o := d.options(simulation, replicates)
			o.Thresholds = []float64{0}
			s, err := uncertainty.Summarize(d.draw(uint64(simulation), 0, alone), o)
			if err != nil {
				return err
			}
			p := s.OperatingPoints[0]
			intervals[simulation][i] = []*uncertainty.Interval{
				s.Fixed[0].FMR.Interval, s.Fixed[0].FNMR.Interval, s.AUC.Interval, p.FNMR.Interval, p.Threshold.Interval,
			}
		}
		return nil
	})
	if err != nil {
		return found, err
	}
	truth := d.truth()
	for i := range found {
		found[i] = make([]covered, len(truth))
		for _, of := range intervals {
			for k, interval := range of[i] {
				if interval == nil {
					return found, fmt.Errorf("%s: no interval of %s", d.name, figures[k])
				}
				found[i][k].add(*interval, truth[k])
			}
		}
	}
	return found, nil
}

// options are those of one simulation.
func (d design) options(simulation, replicates int) uncertainty.Options {
	return uncertainty.Options{Replicates: replicates, Seed: uint64(simulation) + 1, Targets: []float64{d.target}}
}

// each makes simulations on two processors.
func each(simulations int, work func(simulation int) error) error {
	var group errgroup.Group
	group.SetLimit(2)
	for simulation := range simulations {
		group.Go(func() error { return work(simulation) })
	}
	return group.Wait()
}

func (c *covered) add(i uncertainty.Interval, truth float64) {
	c.intervals++
	c.width += i.High - i.Low
	if i.Holds(truth) {
		c.held++
	}
}

// compared are the differences of two models that are looked at.
var compared = []string{"accuracy", "AUC", "FNMR at an FMR", "McNemar at an FMR"}

// alarms draws many sets with two models that are equally good, and counts how often each of compared
// finds a difference all the same, at a level of 5 %.
func alarms(d design, simulations, replicates int) ([]int, error) {
	found := make([][]bool, simulations)
	err := each(simulations, func(simulation int) error {
		seed := uint64(simulation)
		c, err := uncertainty.Compare(d.draw(seed, 0, false), d.draw(seed, 1, false), d.options(simulation, replicates))
		if err != nil {
			return err
		}
		found[simulation] = []bool{
			c.Accuracy.Distinguishable(), c.AUC.Distinguishable(), c.FNMR[0].Distinguishable(), c.FNMR[0].Decisions.McNemar < 0.05,
		}
		return nil
	})
	counts := make([]int, len(compared))
	for _, of := range found {
		for k, alarm := range of {
			if alarm {
				counts[k]++
			}
		}
	}
	return counts, err
}
