package embed

import (
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
	// maxAutoBatch is the largest size that is measured: beyond it no device gains.
	maxAutoBatch = 512
	// tryFor is how long a size is measured, at least, and tryRuns how many runs.
	tryFor  = 150 * time.Millisecond
	tryRuns = 3
	// worthwhile is the gain for which a larger batch, and its memory, is taken.
	worthwhile = 1.03
	// hopeless is the loss after which larger sizes are not tried, and patience the number
	// of sizes in a row without a gain.
	hopeless = 0.85
	patience = 2
)

// fastestBatch measures the model at 1, 2, 4 ... crops a run and leaves it at the fastest,
// opened anew: what larger sizes took, the runtime keeps as long as a session is open.
func (m *Model) fastestBatch(o ort.Options) error {
	best, report, err := chooseBatch(m.medianRate)
	if err != nil {
		return err
	}
	m.notes = append(m.notes, report)
	m.session.Close()
	m.session = nil
	if m.session, err = ort.Open(m.path, o); err != nil {
		return err
	}
	return m.try(best)
}

// chooseBatch finds the fastest size by the crops a second at each, of sizes that hardly
// differ the smallest, and reports what was measured. A size that fails, for want of memory
// perhaps, ends the search as a slow one does; none that does not fail is an error.
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

// medianRate is the crops a second at a size by the median of some runs, which whatever else
// the machine does for a moment leaves as it is.
func (m *Model) medianRate(size int) (float64, error) {
	runs, err := m.timeRuns(size, tryRuns, tryFor)
	if err != nil {
		return 0, err
	}
	slices.Sort(runs)
	return float64(size) / runs[len(runs)/2].Seconds(), nil
}

// Rate runs the model on one batch of a size, again and again for a duration, and returns
// the crops a second: what no pipeline around it can be faster than. The model stays at
// that size.
func (m *Model) Rate(size int, duration time.Duration) (float64, error) {
	runs, err := m.timeRuns(size, 2, duration)
	if err != nil {
		return 0, err
	}
	var all time.Duration
	for _, run := range runs {
		all += run
	}
	return float64(len(runs)*size) / all.Seconds(), nil
}

// timeRuns times runs of the model at a size, a number and a duration at least.
func (m *Model) timeRuns(size, least int, duration time.Duration) ([]time.Duration, error) {
	if err := m.try(size); err != nil { // also plans the runtime's memory
		return nil, err
	}
	b, err := newBatch(m)
	if err != nil {
		return nil, err
	}
	defer b.close()
	var runs []time.Duration
	for begun := time.Now(); len(runs) < least || time.Since(begun) < duration; {
		before := time.Now()
		if err := b.run(0, size, m.fill.size); err != nil {
			return nil, err
		}
		runs = append(runs, time.Since(before))
	}
	return runs, nil
}
