package embed

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"facepipe/internal/ort"
)

// AutoBatch as [Options.Batch] measures a few sizes and takes the one at which a crop
// costs least.
const AutoBatch = -1

const (
	// maxAutoBatch is the largest size that is measured. No device gains beyond it.
	maxAutoBatch = 512
	// A size is measured for tryFor and for tryRuns runs at least.
	tryFor  = 150 * time.Millisecond
	tryRuns = 3
	// worthwhile is the gain that pays for the memory of a larger batch.
	worthwhile = 1.03
	// hopeless is the loss after which larger sizes are not tried, and patience the number
	// of sizes in a row without a gain.
	hopeless = 0.85
	patience = 2
)

// fastestBatch measures the model at 1, 2, 4 ... crops a run and leaves it at the fastest. It
// opens the model anew, as the runtime keeps the memory of larger sizes until a session is
// closed.
func (m *Model) fastestBatch(ctx context.Context, o ort.Options) error {
	best, report, err := chooseBatch(m.medianRate)
	if err != nil {
		return err
	}
	m.notes = append(m.notes, report)
	m.session.Close()
	m.session = nil
	if m.session, err = ort.Open(ctx, m.path, o); err != nil {
		return err
	}
	return m.try(best)
}

// chooseBatch finds the fastest size by the crops a second at each, and reports what was
// measured. Of sizes that hardly differ it takes the smallest. A size that fails, perhaps for
// lack of memory, ends the search as a slow one does. It is an error if all fail.
func chooseBatch(rate func(size int) (float64, error)) (best int, report string, err error) {
	most, idle := 0.0, 0
	var measured []string
	for size := 1; size <= maxAutoBatch && idle < patience; size *= 2 {
		r, err := rate(size)
		if err != nil && best == 0 {
			return 0, "", err
		}
		if err != nil {
			measured = append(measured, fmt.Sprintf("%d fails", size))
			break
		}
		measured = append(measured, fmt.Sprintf("%.4g at %d", r, size))
		idle++
		if r > worthwhile*most {
			best, most, idle = size, r, 0
		}
		if r < hopeless*most {
			break
		}
	}
	return best, fmt.Sprintf("a batch of %d is taken; crops/s measured: %s", best, strings.Join(measured, ", ")), nil
}

// medianRate is the crops a second at a size, by the median of some runs: a short load from
// elsewhere does not change it.
func (m *Model) medianRate(size int) (float64, error) {
	runs, err := m.Runs(size, Bound{Least: tryRuns, For: tryFor})
	if err != nil {
		return 0, err
	}
	return float64(size) / runs.Median().Seconds(), nil
}

// Rate runs the model on one batch of a size again and again, for a duration, and returns the
// crops a second. No pipeline around the model can be faster. The model stays at that size.
func (m *Model) Rate(size int, duration time.Duration) (float64, error) {
	runs, err := m.Runs(size, Bound{Least: 2, For: duration})
	if err != nil {
		return 0, err
	}
	var all time.Duration
	for _, run := range runs {
		all += run
	}
	return float64(len(runs)*size) / all.Seconds(), nil
}

// Runs are how long runs of a model took, at least one, in ascending order.
type Runs []time.Duration

// Median is the time of which half of the runs take no more.
func (r Runs) Median() time.Duration { return r[len(r)/2] }

// P95 is the time of which 95 of 100 runs take no more; false of fewer than 20, which do not
// tell.
func (r Runs) P95() (time.Duration, bool) {
	const fewest = 20
	return r[(len(r)*95+99)/100-1], len(r) >= fewest
}

// Bound says how many runs of a model to time: for a duration, but not fewer than Least and, unless
// that is 0, not more than Most.
type Bound struct {
	Least, Most int
	For         time.Duration
}

// Runs times runs of the model at a size, one at least, after one that warms up. Crops are
// neither decoded nor normalised. The model stays at that size. Errors are those of a size that
// the model does not run at.
func (m *Model) Runs(size int, bound Bound) (Runs, error) {
	if err := m.try(size); err != nil { // also plans the runtime's memory
		return nil, err
	}
	b, err := newBatch(m)
	if err != nil {
		return nil, err
	}
	defer b.close()
	var runs Runs
	for begun := time.Now(); len(runs) < max(bound.Least, 1) || time.Since(begun) < bound.For && (bound.Most == 0 || len(runs) < bound.Most); {
		before := time.Now()
		if err := b.run(0, size); err != nil {
			return nil, err
		}
		runs = append(runs, time.Since(before))
	}
	slices.Sort(runs)
	return runs, nil
}
