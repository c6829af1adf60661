// Package progress shows how far a long run is: a bar on a terminal, a plain line
// every few seconds elsewhere (a log file, a scheduler's output).
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// interval is how often a plain line is printed.
const interval = 5 * time.Second

// Bar counts towards a total. A nil *Bar is silent. Safe for concurrent use.
type Bar struct {
	w     io.Writer
	label string
	total int64 // -1 if unknown
	now   func() time.Time

	mu      sync.Mutex
	done    int64
	note    string
	begun   time.Time
	printed time.Time
	bar     *progressbar.ProgressBar // on a terminal
}

// New starts a bar on w; nil w gives a nil, silent bar. total is -1 if unknown.
func New(w io.Writer, label string, total int64) *Bar {
	if w == nil {
		return nil
	}
	b := &Bar{w: w, label: label, total: total, now: time.Now}
	b.begun = b.now()
	b.printed = b.begun
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(label),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return b
}

// Add counts n more.
func (b *Bar) Add(n int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += n
	if b.bar != nil {
		_ = b.bar.Add64(n) // a bar that cannot be drawn is no reason to stop
		return
	}
	if now := b.now(); now.Sub(b.printed) >= interval {
		b.printed = now
		b.line(now)
	}
}

// Note sets a few words that are shown beside the count, such as a loss.
func (b *Bar) Note(text string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note = text
	if b.bar != nil {
		b.bar.Describe(b.label + " " + text)
	}
}

// Finish ends the bar; without a terminal it prints a last line.
func (b *Bar) Finish() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Finish()
		return
	}
	b.line(b.now())
}

// line prints where the run is: "ingest: 300/7701 (3%), 61.2/s, 2m1s left, note".
func (b *Bar) line(now time.Time) {
	rate := float64(b.done) / max(now.Sub(b.begun).Seconds(), 1e-9)
	text := fmt.Sprintf("%s: %d", b.label, b.done)
	if b.total > 0 {
		text += fmt.Sprintf("/%d (%d%%)", b.total, 100*b.done/b.total)
	}
	text += fmt.Sprintf(", %.1f/s", rate)
	if left := b.total - b.done; b.total > 0 && left > 0 && rate > 0 {
		text += fmt.Sprintf(", %v left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	if b.note != "" {
		text += ", " + b.note
	}
	fmt.Fprintln(b.w, text)
}
