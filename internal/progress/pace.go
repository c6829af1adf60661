package progress

import "time"

// The rate is that of the last minute or, in a long run, of its last quarter: so it follows the
// work, and a pause between two parts of it does not throw it off.
const (
	minWindow   = time.Minute
	windowShare = 4
	windowMarks = 20 // in a window
)

// pace is how fast a count grows.
type pace struct {
	begun time.Time
	marks []mark // the first is where the window begins
}

// mark is what was counted at a time.
type mark struct {
	at    time.Time
	count int64
}

// begin starts at a count of 0.
func (p *pace) begin(now time.Time) { p.begun, p.marks = now, []mark{{now, 0}} }

// see takes down the count of a moment.
func (p *pace) see(now time.Time, count int64) {
	window := max(minWindow, now.Sub(p.begun)/windowShare)
	if now.Sub(p.marks[len(p.marks)-1].at) >= window/windowMarks {
		p.marks = append(p.marks, mark{now, count})
	}
	for len(p.marks) > 1 && now.Sub(p.marks[1].at) >= window {
		p.marks = p.marks[1:]
	}
}

// recent is the rate a second in the window or, if nothing was counted in it, from the beginning.
func (p *pace) recent(now time.Time, count int64) float64 {
	if first := p.marks[0]; count > first.count {
		return rate(count-first.count, now.Sub(first.at))
	}
	return p.mean(now, count)
}

// mean is the rate a second from the beginning.
func (p *pace) mean(now time.Time, count int64) float64 { return rate(count, now.Sub(p.begun)) }

func rate(count int64, in time.Duration) float64 {
	return float64(count) / max(in.Seconds(), 1e-9)
}
