package uncertainty

import (
	"cmp"
	"fmt"
	"slices"

	"facepipe/eval/verification"
)

// Defaults of [Options].
const (
	DefaultLevel      = 0.95
	DefaultReplicates = 1000
	DefaultSeed       = 1
)

// minIdentities are needed for a bootstrap over them: of fewer there are not enough
// different halves.
const minIdentities = 10

// Options are the settings of [Summarize] and [Compare]. The zero value is usable.
type Options struct {
	// Level is the share of intervals that hold the truth, above 0 and below 1; 0 for
	// [DefaultLevel].
	Level float64
	// Replicates of the bootstrap; 0 for [DefaultReplicates].
	Replicates int
	// Seed of the bootstrap; 0 for [DefaultSeed].
	Seed uint64
	// Targets are false match rates, above 0 and below 1.
	Targets []float64
	// Curve are false match rates at which [Summarize] tells FNMR alone, for the band of a curve.
	Curve []float64
	// Thresholds are distances at which FMR and FNMR are told as well.
	Thresholds []float64
}

// settle fills in defaults.
func (o Options) settle() (Options, error) {
	o.Level = cmp.Or(o.Level, DefaultLevel)
	o.Replicates = cmp.Or(o.Replicates, DefaultReplicates)
	o.Seed = cmp.Or(o.Seed, DefaultSeed)
	o.Targets = slices.Clone(o.Targets)
	if !inside(o.Level) {
		return o, fmt.Errorf("uncertainty: the level %v is not between 0 and 1", o.Level)
	}
	if o.Replicates < 0 {
		return o, fmt.Errorf("uncertainty: %d replicates of the bootstrap", o.Replicates)
	}
	for _, target := range slices.Concat(o.Targets, o.Curve) {
		if !inside(target) {
			return o, fmt.Errorf("uncertainty: the false match rate %v is not between 0 and 1", target)
		}
	}
	for _, threshold := range o.Thresholds {
		if threshold != threshold {
			return o, fmt.Errorf("uncertainty: a threshold is not a number")
		}
	}
	return o, nil
}

func inside(share float64) bool { return share > 0 && share < 1 }

// Interval is that from Low to High, both included.
type Interval = verification.Interval

// holding is an interval made as wide as a value asks for.
func holding(i Interval, value float64) Interval {
	return Interval{Low: min(i.Low, value), High: max(i.High, value)}
}

// percentiles are the ends of the middle share of values, which it sorts; between two values
// they are interpolated. There must be a value.
func percentiles(values []float64, level float64) Interval {
	slices.Sort(values)
	at := func(share float64) float64 {
		place := share * float64(len(values)-1)
		i := int(place)
		if i+1 >= len(values) {
			return values[len(values)-1]
		}
		return values[i] + float64((place-float64(i))*(values[i+1]-values[i]))
	}
	return Interval{Low: at((1 - level) / 2), High: at((1 + level) / 2)}
}
