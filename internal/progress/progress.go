// Package progress shows how far a long run is: a bar on a terminal, a plain line now and then
// elsewhere (a log file, a scheduler's output).
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"facepipe/internal/plain"
)

// How often a bar is shown. On a terminal it is drawn at once, and again after each redraw if
// something was counted. Elsewhere a tenth of the time that the run has taken lies between two
// lines, within limits: the log of a day has some two hundred.
const (
	redraw       = 100 * time.Millisecond
	minPause     = 5 * time.Second
	maxPause     = 10 * time.Minute
	pauseShare   = 10
	signOfLife   = time.Second       // it is looked at this often if nothing is counted
	farAway      = 1e7 * time.Second // what is left longer is not told
	unknownShare = -1
)

// settled is how old a run must be before its rate, and the time left, mean anything. The
// first items come in a burst, or after a long start.
const settled = time.Second

// Observer is a writer of a run's messages that wants to know its counts, too.
type Observer interface {
	io.Writer
	// Unwrap is the writer that shows the messages.
	Unwrap() io.Writer
	// Observe is called for every bar that begins.
	Observe(label string) Watcher
}

// Watcher is called when something happens to a bar.
type Watcher interface {
	// Total says how many items there are, -1 if that is not known. It may be called again, as
	// more is known.
	Total(n int64)
	// Count says how many items are done, and how many of them were rejected.
	Count(done, rejected int64)
	// Reject says that n more were rejected, and why in a word.
	Reject(n int64, reason string)
	// Spend says that a part of the work has taken so many seconds more.
	Spend(part string, seconds float64)
}

// Bar counts towards a total. A nil *Bar is silent. Safe for concurrent use.
type Bar struct {
	w      io.Writer
	label  string
	unit   string // what is counted, in the plural
	phase  bool   // nothing is counted but the time
	now    func() time.Time
	screen *screen       // nil if w is no terminal
	ended  chan struct{} // closed by Finish

	mu       sync.Mutex
	total    int64 // -1 if unknown
	about    bool  // the total is an estimate
	done     int64
	skipped  int64 // of those done
	note     string
	rejected int64
	spent    map[string]float64 // seconds by part
	watcher  Watcher            // nil if nobody watches
	begun    time.Time
	shown    time.Time
	pace     pace // of what is done and not skipped
}

// New starts a bar on w, which Finish must end. Nil or io.Discard give a nil, silent bar. total
// is -1 if unknown.
func New(w io.Writer, label string, total int64) *Bar {
	if w == nil || w == io.Discard {
		return nil
	}
	b := &Bar{label: plain.Text(label), total: total, now: time.Now}
	if o, ok := w.(Observer); ok {
		b.watcher, w = o.Observe(b.label), o.Unwrap()
		b.watcher.Total(total)
	}
	b.w = w
	b.start(terminal(w))
	return b
}

// Phase shows how long something takes that cannot be counted, if it takes a while. The function
// that it returns ends it.
func Phase(w io.Writer, label string) (end func()) {
	if o, ok := w.(Observer); ok {
		w = o.Unwrap()
	}
	if w == nil || w == io.Discard {
		return func() {}
	}
	b := &Bar{w: w, label: plain.Text(label), phase: true, total: -1, now: time.Now}
	b.start(terminal(w))
	return b.Finish
}

// terminal is the line to draw on; nil if w is no terminal. What quotes text on its way there
// would quote the drawing, too.
func terminal(w io.Writer) *screen {
	if quoting, ok := w.(*plain.Writer); ok {
		w = quoting.Unwrap()
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &screen{w: w, width: func() int {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
		return usualWide
	}}
}

// start begins the count.
func (b *Bar) start(s *screen) {
	b.screen = s
	b.begun = b.now()
	b.shown = b.begun
	b.pace.begin(b.begun)
	b.tell()
	if s != nil && !b.phase {
		b.show(b.begun)
	}
	b.ended = make(chan struct{})
	if b.w != io.Discard {
		go b.live()
	}
}

// live shows the bar when nobody counts, too: a run that waits for a disk is not dead.
func (b *Bar) live() {
	tick := time.NewTicker(signOfLife)
	defer tick.Stop()
	for {
		select {
		case <-b.ended:
			return
		case <-tick.C:
			b.mu.Lock()
			b.showIfDue()
			b.mu.Unlock()
		}
	}
}

// Of says what the items are, in the plural, and returns the bar.
func (b *Bar) Of(unit string) *Bar {
	if b != nil {
		b.unit = unit
	}
	return b
}

// Total says how many items there are, now that it is known; -1 if it is not. about marks an
// estimate.
func (b *Bar) Total(n int64, about bool) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total, b.about = n, about
	if b.watcher != nil {
		b.watcher.Total(n)
	}
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
	b.showIfDue()
}

// Skip counts n more that an earlier run has done. They do not count for the rate.
func (b *Bar) Skip(n int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done == b.skipped {
		b.pace.begin(b.now()) // the work has not begun
	}
	b.done += n
	b.skipped += n
	b.tell()
	b.showIfDue()
}

// Note sets a few words that are shown beside the count, such as a loss.
func (b *Bar) Note(text string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note = plain.Text(text)
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
		b.watcher.Reject(n, plain.Text(reason))
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

// Finish ends the bar; without a terminal it prints a last line. To end it again does nothing.
func (b *Bar) Finish() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.ended:
		return
	default:
		close(b.ended)
	}
	switch {
	case b.screen != nil:
		b.screen.wipe()
	case !b.phase:
		fmt.Fprintln(b.w, b.line(b.now(), true))
	}
}

// showIfDue shows the bar if the last time was long enough ago.
func (b *Bar) showIfDue() {
	select {
	case <-b.ended:
		return
	default:
	}
	now := b.now()
	b.pace.see(now, b.done-b.skipped)
	if now.Sub(b.shown) >= b.pause(now) {
		b.show(now)
	}
}

// pause is how long nothing is shown after something was.
func (b *Bar) pause(now time.Time) time.Duration {
	if b.screen != nil {
		return redraw
	}
	return min(max(now.Sub(b.begun)/pauseShare, minPause), maxPause)
}

// show draws the bar or prints a line.
func (b *Bar) show(now time.Time) {
	b.shown = now
	if b.screen == nil {
		fmt.Fprintln(b.w, b.line(now, false))
		return
	}
	b.screen.draw(layOut(b.label, b.figures(now, false), b.share(), b.screen.width()))
}

// line says how far the run is: "ingest: 300/7701 (3%), 61.2/s, 0:02:01 left, note".
func (b *Bar) line(now time.Time, ended bool) string { return b.label + b.figures(now, ended) }

// share is how much is done, 0 to 1; unknownShare without a total.
func (b *Bar) share() float64 {
	if b.total <= 0 {
		return unknownShare
	}
	return min(float64(b.done)/float64(b.total), 1)
}

// figures are what stands behind the label. A drawn bar has the percentage in front.
func (b *Bar) figures(now time.Time, ended bool) string {
	if b.phase {
		return ": " + clock(now.Sub(b.begun))
	}
	text := fmt.Sprintf(": %d", b.done) + b.ofTotal()
	if ended || now.Sub(b.pace.begun) >= settled {
		text += b.speed(now, ended)
	}
	if b.note != "" {
		text += ", " + b.note
	}
	return text
}

// ofTotal is the total, as far as it is known, and the share.
func (b *Bar) ofTotal() (text string) {
	if b.total <= 0 {
		return ""
	}
	sign := ""
	if b.about {
		sign = "~"
	}
	text = fmt.Sprintf("/%s%d", sign, b.total)
	if b.screen == nil {
		text += " (" + percent(b.share()) + ")"
	}
	return text
}

// speed is the rate and the time that is left, at the end the rate of the whole.
func (b *Bar) speed(now time.Time, ended bool) string {
	worked := b.done - b.skipped
	rate := b.pace.recent(now, worked)
	if ended {
		rate = b.pace.mean(now, worked)
	}
	if worked == 0 && b.skipped > 0 {
		return "" // there was nothing to do yet
	}
	text := ", " + perSecond(rate) + spaced(b.unit) + "/s"
	if left := float64(b.total-b.done) / rate; !ended && left > 0 && left < farAway.Seconds() {
		text += ", " + clock(time.Duration(left*float64(time.Second))) + " left"
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
