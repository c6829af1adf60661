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

// Observer is a writer of a run's messages that wants to know its counts, too.
type Observer interface {
	io.Writer
	// Unwrap is the writer that shows the messages.
	Unwrap() io.Writer
	// Observe is told of every bar that begins; total is -1 if unknown. What it returns
	// is told how many are done, and how many of them were rejected.
	Observe(label string, total int64) func(done, rejected int64)
}

// Bar counts towards a total. A nil *Bar is silent. Safe for concurrent use.
type Bar struct {
	w     io.Writer
	label string
	total int64 // -1 if unknown
	now   func() time.Time

	mu       sync.Mutex
	done     int64
	note     string
	rejected int64
	observe  func(done, rejected int64) // nil if nobody does
	begun    time.Time
	printed  time.Time
	bar      *progressbar.ProgressBar // on a terminal
}

// New starts a bar on w; nil w gives a nil, silent bar. total is -1 if unknown.
func New(w io.Writer, label string, total int64) *Bar {
	if w == nil {
		return nil
	}
	b := &Bar{label: label, total: total, now: time.Now}
	if o, ok := w.(Observer); ok {
		b.observe, w = o.Observe(label, total), o.Unwrap()
	}
	b.w = w
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
	b.tell()
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

// Reject counts n of what is done as rejected, and shows how many those are.
func (b *Bar) Reject(n int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.rejected += n
	b.tell()
	text := fmt.Sprintf("%d rejected", b.rejected)
	b.mu.Unlock()
	b.Note(text)
}

func (b *Bar) tell() {
	if b.observe != nil {
		b.observe(b.done, b.rejected)
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
