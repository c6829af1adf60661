package progress

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rivo/uniseg"
)

// screen is a line of a terminal that is written again and again.
type screen struct {
	w     io.Writer
	width func() int // in cells
	taken int        // cells that the line takes
}

// draw replaces the line. The cursor never reaches the last cell, where terminals begin another
// line.
func (s *screen) draw(line string) {
	cells := uniseg.StringWidth(line)
	fmt.Fprint(s.w, "\r"+line+strings.Repeat(" ", max(s.taken-cells, 0)))
	s.taken = cells
}

// wipe leaves an empty line.
func (s *screen) wipe() {
	if s.taken > 0 {
		s.draw("")
		fmt.Fprint(s.w, "\r")
	}
}

// How a line is laid out.
const (
	barCells    = 20 // of the drawn bar, where there is room
	minBarCells = 5
	minCells    = 20 // of a line, however narrow the terminal says it is
	minLabel    = 8  // cells, before figures are cut
	usualWide   = 80 // of a terminal that does not say
)

// layOut is a line of at most width cells: a drawn bar if share, 0 to 1, is known and there is
// room, what is counted, and the figures. Where room is short the beginning of the label goes
// first.
func layOut(label, figures string, share float64, width int) string {
	width = max(width-1, minCells)
	head := ""
	if share >= 0 {
		head = percent(share) + " "
		const edges = "|| "
		if cells := min(barCells, width-uniseg.StringWidth(head+edges+label+figures)); cells >= minBarCells {
			filled := int(share * float64(cells))
			head += "|" + strings.Repeat("█", filled) + strings.Repeat(" ", cells-filled) + "| "
		}
	}
	room := width - uniseg.StringWidth(head+figures)
	return cutEnd(head+cutStart(label, max(room, minLabel))+figures, width)
}

// cutEnd is the beginning of a text that takes at most so many cells.
func cutEnd(text string, cells int) string {
	if uniseg.StringWidth(text) <= cells {
		return text
	}
	var kept strings.Builder
	state := -1
	for left := cells - 1; ; {
		var cluster string
		var wide int
		cluster, text, wide, state = uniseg.FirstGraphemeClusterInString(text, state)
		if left -= wide; left < 0 {
			return kept.String() + "…"
		}
		kept.WriteString(cluster)
	}
}

// cutStart is the end of a text that takes at most so many cells.
func cutStart(text string, cells int) string {
	wide := uniseg.StringWidth(text)
	if wide <= cells {
		return text
	}
	state := -1
	for wide > cells-1 {
		var first int
		_, text, first, state = uniseg.FirstGraphemeClusterInString(text, state)
		wide -= first
	}
	return "…" + text
}

// percent is a share in whole percent, rounded down: 100 % is the end.
func percent(share float64) string { return fmt.Sprintf("%d%%", int(100*share)) }

// clock is a duration as h:mm:ss.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// perSecond is a rate in a few digits.
func perSecond(rate float64) string {
	if rate < 0.1 {
		return fmt.Sprintf("%.2g", rate)
	}
	return fmt.Sprintf("%.1f", rate)
}
