package embed

import (
	"time"
)

// AutoBatch as [Options.Batch] measures a few sizes and takes the one at which a crop
// costs least.
const AutoBatch = -1

const (
	// maxAutoBatch is the largest size that is measured: beyond it no device gains.
	maxAutoBatch = 512
	// tryFor is how long a size is measured, at least.
	tryFor = 150 * time.Millisecond
	// worthwhile is the gain for which a larger batch, and its memory, is taken.
	worthwhile = 1.03
	// hopeless is the loss after which larger sizes are not tried.
	hopeless = 0.85
)

// fastestBatch measures the model at 1, 2, 4 ... crops a run and leaves it at the fastest.
func (m *Model) fastestBatch() error {
	best, most := 0, 0.0
	for size := 1; size <= maxAutoBatch; size *= 2 {
		rate, err := m.Rate(size, tryFor)
		if err != nil && best == 0 {
			return err
		}
		// A size that fails, for want of memory perhaps, ends the search as a slow one does.
		if err != nil || rate < hopeless*most {
			break
		}
		if rate > worthwhile*most {
			best, most = size, rate
		}
	}
	return m.try(best)
}

// Rate runs the model on one batch of a size, again and again for a duration, and returns
// the crops a second: what no pipeline around it can be faster than. The model stays at
// that size.
func (m *Model) Rate(size int, duration time.Duration) (float64, error) {
	if err := m.try(size); err != nil { // also plans the runtime's memory
		return 0, err
	}
	b, err := newBatch(m)
	if err != nil {
		return 0, err
	}
	defer b.close()
	runs, begun := 0, time.Now()
	for ; runs < 2 || time.Since(begun) < duration; runs++ {
		if err := b.run(0, size, m.fill.size); err != nil {
			return 0, err
		}
	}
	return float64(runs*size) / time.Since(begun).Seconds(), nil
}
