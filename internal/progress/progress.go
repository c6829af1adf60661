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

// How often a bar is shown: a plain line, and one that is drawn on a terminal.
const (
	interval = 5 * time.Second
	redraw   = 100 * time.Millisecond
)

// settled is how old a run must be before its rate, and the time left, mean anything. The
// first items come in a burst, or after a long start.
const settled = time.Second

// Observer is a writer of a run's messages that wants to know its counts, too.
type Observer interface {
	io.Writer
	// Unwrap is the writer that shows the messages.
	Unwrap() io.Writer
	// Observe is called for every bar that begins; total is -1 if unknown.
	Observe(label string, total int64) Watcher
}

// Watcher is called when something happens to a bar.
type Watcher interface {
	// Count says how many items are done, and how many of them were rejected.
	Count(done, rejected int64)
	// Reject says that n more were rejected, and why in a word.
	Reject(n int64, reason string)
	// Spend says that a part of the work has taken so many seconds more.
	Spend(part string, seconds float64)
}

// Bar counts towards a total. A nil *Bar is silent. Safe for concurrent use.
type Bar struct {
	w     io.Writer
	label string
	unit  string // what is counted, in the plural
	total int64  // -1 if unknown
	now   func() time.Time

	mu       sync.Mutex
	done     int64
	note     string
	rejected int64
	spent    map[string]float64 // seconds by part
	watcher  Watcher            // nil if nobody watches
	begun    time.Time
	shown    time.Time
	bar      *progressbar.ProgressBar // on a terminal
}

// New starts a bar on w; nil w gives a nil, silent bar. total is -1 if unknown.
func New(w io.Writer, label string, total int64) *Bar {
	if w == nil {
		return nil
	}
	b := &Bar{label: label, total: total, now: time.Now}
	if o, ok := w.(Observer); ok {
		b.watcher, w = o.Observe(label, total), o.Unwrap()
	}
	b.w = w
	f, ok := w.(*os.File)
	b.start(ok && term.IsTerminal(int(f.Fd())))
	return b
}

// start begins the count. On a terminal the library draws the bar, with the text beside it
// that is printed elsewhere.
func (b *Bar) start(terminal bool) {
	b.begun = b.now()
	b.shown = b.begun
	b.tell()
	if !terminal {
		return
	}
	b.bar = progressbar.NewOptions64(b.total, progressbar.OptionSetWriter(b.w), progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionSetWidth(20), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetSpinnerChangeInterval(0), progressbar.OptionClearOnFinish())
	b.show(b.begun)
}

// Of says what the items are, in the plural, and returns the bar.
func (b *Bar) Of(unit string) *Bar {
	if b != nil {
		b.unit = unit
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
	pause := interval
	if b.bar != nil {
		pause = redraw
	}
	if now := b.now(); now.Sub(b.shown) >= pause {
		b.show(now)
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
}

// Reject counts n of the items that are done as rejected, for a reason in a word or two, and
// shows their number.
func (b *Bar) Reject(n int64, reason string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rejected += n
	b.note = fmt.Sprintf("%d rejected", b.rejected)
	b.tell()
	if b.watcher != nil {
		b.watcher.Reject(n, reason)
	}
}

// Spend says how many seconds a part of the work has taken by now. Only a [Watcher] sees it.
func (b *Bar) Spend(part string, seconds float64) {
	if b == nil || b.watcher == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent == nil {
		b.spent = map[string]float64{}
	}
	b.watcher.Spend(part, seconds-b.spent[part])
	b.spent[part] = seconds
}

func (b *Bar) tell() {
	if b.watcher != nil {
		b.watcher.Count(b.done, b.rejected)
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
		_ = b.bar.Finish() // a bar that cannot be drawn is no reason to stop
		return
	}
	fmt.Fprintln(b.w, b.text(b.now(), true))
}

// show draws the bar or prints a line.
func (b *Bar) show(now time.Time) {
	b.shown = now
	text := b.text(now, false)
	if b.bar == nil {
		fmt.Fprintln(b.w, text)
		return
	}
	b.bar.Describe(text)
	_ = b.bar.Set64(b.done)
}

// text says how far the run is: "ingest: 300/7701 (3%), 61.2/s, 2m1s left, note". A drawn bar
// has the percentage in front.
func (b *Bar) text(now time.Time, ended bool) string {
	text := fmt.Sprintf("%s: %d", b.label, b.done)
	if b.total > 0 {
		text += fmt.Sprintf("/%d", b.total)
		if b.bar == nil {
			text += fmt.Sprintf(" (%d%%)", 100*b.done/b.total)
		}
	}
	elapsed := now.Sub(b.begun)
	if ended || elapsed >= settled {
		rate := float64(b.done) / max(elapsed.Seconds(), 1e-9)
		text += fmt.Sprintf(", %.1f%s/s", rate, spaced(b.unit))
		if left := b.total - b.done; b.total > 0 && left > 0 && rate > 0 {
			text += fmt.Sprintf(", %v left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	if b.note != "" {
		text += ", " + b.note
	}
	return text
}

// spaced puts a space before a word, if there is one.
func spaced(word string) string {
	if word == "" {
		return ""
	}
	return " " + word
}
