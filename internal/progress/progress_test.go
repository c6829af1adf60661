package progress

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"facepipe/internal/plain"
)

// timed is a bar whose clock a test turns on.
type timed struct {
	*Bar
	out  bytes.Buffer
	time time.Time
}

// begin starts a bar; width 0 is a log file.
func begin(t *testing.T, label string, total int64, width int) *timed {
	c := &timed{time: time.Unix(0, 0)}
	c.Bar = &Bar{w: &c.out, label: plain.Text(label), total: total, now: func() time.Time { return c.time }}
	var s *screen
	if width > 0 {
		s = &screen{w: &c.out, width: func() int { return width }}
	}
	c.start(s)
	t.Cleanup(c.Finish)
	return c
}

// after counts n after a while.
func (c *timed) after(d time.Duration, n int64) {
	c.time = c.time.Add(d)
	c.Add(n)
}

func TestPlainLines(t *testing.T) {
	c := begin(t, "ingest", 100, 0)
	c.after(2*time.Second, 10)
	if c.out.Len() > 0 {
		t.Errorf("a line after 2 s: %q", c.out.String())
	}
	c.Note("2 rejects")
	c.after(3*time.Second, 10)
	c.after(time.Second, 80)
	c.time = c.time.Add(4 * time.Second)
	c.Finish()
	c.Finish()
	c.after(time.Hour, 1)
	want := "ingest: 20/100 (20%), 4.0/s, 0:00:20 left, 2 rejects\ningest: 100/100 (100%), 10.0/s, 2 rejects\n"
	if c.out.String() != want {
		t.Errorf("got %q, want %q", c.out.String(), want)
	}
}

// What is known of the total, what was done before and how fast it goes now decide what is said.
func TestFigures(t *testing.T) {
	tests := []struct {
		name  string
		total int64
		run   func(c *timed)
		want  string
	}{
		{"unknown total", -1, func(c *timed) { c.after(10*time.Second, 5) }, ": 5, 0.5/s"},
		{"total found later", -1, func(c *timed) { c.Total(20, false); c.after(10*time.Second, 5) }, ": 5/20 (25%), 0.5/s, 0:00:30 left"},
		{"an estimate", -1, func(c *timed) { c.Total(20, true); c.after(10*time.Second, 5) }, ": 5/~20 (25%), 0.5/s, 0:00:30 left"},
		{"an estimate given up", -1, func(c *timed) { c.Total(20, true); c.Total(-1, false); c.after(10*time.Second, 5) }, ": 5, 0.5/s"},
		{"nothing done", 10, func(c *timed) { c.time = c.time.Add(10 * time.Second) }, ": 0/10 (0%), 0/s"},
		{"nothing to do", 0, func(c *timed) { c.time = c.time.Add(10 * time.Second) }, ": 0, 0/s"},
		{"more than there should be", 4, func(c *timed) { c.after(10*time.Second, 5) }, ": 5/4 (100%), 0.5/s"},
		{"nearly all", 1000, func(c *timed) { c.after(999*time.Second, 999) }, ": 999/1000 (99%), 1.0/s, 0:00:01 left"},
		{"slow", 100, func(c *timed) { c.after(100*time.Second, 2) }, ": 2/100 (2%), 0.02/s, 1:21:40 left"},
		{"taken up again", 1000, func(c *timed) { c.Skip(900); c.after(10*time.Second, 10) }, ": 910/1000 (91%), 1.0/s, 0:01:30 left"},
		{"passed over slowly", 1000, func(c *timed) {
			for range 9 {
				c.time = c.time.Add(time.Minute)
				c.Skip(100)
			}
			c.after(10*time.Second, 10)
		}, ": 910/1000 (91%), 1.0/s, 0:01:30 left"},
		{"only passed over", 1000, func(c *timed) { c.Skip(900); c.time = c.time.Add(time.Minute) }, ": 900/1000 (90%)"},
		{"fast at first", 10_000, func(c *timed) { c.pass(60, 100); c.pass(120, 1) }, ": 6120/10000 (61%), 1.0/s, 1:04:40 left"},
		{"a pause in a long run", 20_000, func(c *timed) { c.pass(10_000, 1); c.pass(300, 0) }, ": 10000/20000 (50%), 0.9/s, 3:08:22 left"},
		{"rejects", 10, func(c *timed) { c.Reject(2, "zeros"); c.after(10*time.Second, 5) }, ": 5/10 (50%), 0.5/s, 0:00:10 left, 2 rejected"},
	}
	for _, tt := range tests {
		c := begin(t, "", tt.total, 0)
		tt.run(c)
		if got := c.figures(c.time, false); !strings.HasPrefix(got, tt.want) || strings.HasSuffix(tt.want, "/s") && got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// pass counts n in each of so many seconds.
func (c *timed) pass(seconds int, n int64) {
	for range seconds {
		c.after(time.Second, n)
	}
}

// A run of days must not fill its log, nor the window of the rate the memory.
func TestLongRun(t *testing.T) {
	c := begin(t, "distill", 3*24*3600, 0)
	c.pass(24*3600, 1)
	if n := strings.Count(c.out.String(), "\n"); n < 100 || n > 250 {
		t.Errorf("%d lines in a day", n)
	}
	if n := len(c.pace.marks); n > 2*windowMarks {
		t.Errorf("%d marks", n)
	}
	if first, _, _ := strings.Cut(c.out.String(), "\n"); first != "distill: 5/259200 (0%), 1.0/s, 71:59:55 left" {
		t.Errorf("first line %q", first)
	}
}

// On a terminal the bar says what its figures are, and no rate before there is one.
func TestDrawnBar(t *testing.T) {
	for _, tt := range []struct {
		total int64
		want  []string
	}{
		{1000, []string{
			"0% |                    | precompute: 0/1000",
			"0% |                    | precompute: 8/1000",
			"20% |████                | precompute: 200/1000, 80.0 crops/s, 0:00:10 left, 1 rejected",
		}},
		{-1, []string{"precompute: 0", "precompute: 8", "precompute: 200, 80.0 crops/s, 1 rejected"}},
	} {
		c := begin(t, "precompute", tt.total, 100)
		c.Of("crops")
		c.after(redraw, 8) // a batch at once
		c.Add(1)
		c.Reject(1, "zeros")
		c.after(2500*time.Millisecond-redraw, 191)
		frames := drawn(c.out.String())
		for _, want := range tt.want {
			if !slices.Contains(frames, want) {
				t.Errorf("%q is not in %q", want, frames)
			}
		}
		if strings.Contains(c.out.String(), "precompute: 9") {
			t.Errorf("drawn more often than every %v: %q", redraw, frames)
		}
		before := c.out.Len()
		c.Finish()
		if end := c.out.String()[before:]; strings.Trim(end, " \r") != "" || !strings.HasSuffix(end, "\r") {
			t.Errorf("the bar is not wiped away: %q", end)
		}
	}
}

// drawn are the states of a line that carriage returns begin.
func drawn(text string) (frames []string) {
	for _, frame := range strings.Split(text, "\r") {
		frames = append(frames, strings.TrimRight(frame, " "))
	}
	return frames
}

// A line fits on the terminal whatever stands in it, and commands nothing.
func TestDrawnLineStaysALine(t *testing.T) {
	for _, label := range []string{
		"eval /home/someone/models/of/last/year/w600k_r50_fp16_simplified.onnx", "eval 教師/顔認識モデル/蒸留.onnx",
		"eval e\u0301\u0301\u0301 👩‍👩‍👧.onnx", "eval \x1b[2J\r\nx\t\u202ey\xff.onnx", "eval",
	} {
		for _, width := range []int{0, 1, 20, 33, 40, 60, 80, 300} {
			c := begin(t, label, 1000, max(width, 1))
			c.after(10*time.Second, 500)
			c.after(10*time.Second, -499) // a shorter line covers a longer one
			for _, frame := range strings.Split(c.out.String(), "\r") {
				if wide := uniseg.StringWidth(frame); wide >= max(width, minCells+1) {
					t.Errorf("%q on %d cells takes %d: %q", label, width, wide, frame)
				}
				if frame != plain.Text(frame) {
					t.Errorf("%q breaks the line: %q", label, frame)
				}
				if width >= 60 && frame != "" && !strings.Contains(frame, "/1000") {
					t.Errorf("%q on %d cells: the figures are not in %q", label, width, frame)
				}
			}
		}
	}
}

func TestLayOut(t *testing.T) {
	for _, tt := range []struct {
		width int
		want  string
	}{
		{80, "50% |██████████          | eval models/net.onnx: 1/2, 0.1/s"},
		{50, "50% |█████     | eval models/net.onnx: 1/2, 0.1/s"},
		{40, "50% eval models/net.onnx: 1/2, 0.1/s"},
		{33, "50% …models/net.onnx: 1/2, 0.1/s"},
		{24, "50% …et.onnx: 1/2, 0.1…"},
	} {
		if got := layOut("eval models/net.onnx", ": 1/2, 0.1/s", 0.5, tt.width); got != tt.want {
			t.Errorf("on %d cells %q, want %q", tt.width, got, tt.want)
		}
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0:00:00", 499 * time.Millisecond: "0:00:00", 59500 * time.Millisecond: "0:01:00", time.Hour - time.Second: "0:59:59", 100*time.Hour + 61*time.Second: "100:01:01",
	} {
		if got := clock(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// What cannot be counted says that it still goes on, and nothing if it is soon over.
func TestPhase(t *testing.T) {
	c := begin(t, "open source", -1, 0)
	c.phase = true
	c.after(4*time.Second, 0)
	if c.out.Len() > 0 {
		t.Errorf("said %q after 4 s", c.out.String())
	}
	c.after(2*time.Second, 0)
	c.Finish()
	if got := c.out.String(); got != "open source: 0:00:06\n" {
		t.Errorf("said %q", got)
	}
	var out bytes.Buffer
	Phase(&out, "x")()
	Phase(nil, "x")()
	Phase(io.Discard, "x")()
	if out.Len() > 0 {
		t.Errorf("said %q", out.String())
	}
}

// lines passes on what is written.
type lines chan string

func (l lines) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

// A bar that nobody adds to is shown all the same.
func TestSignOfLife(t *testing.T) {
	said := make(lines, 10)
	b := &Bar{w: said, label: "wait", total: 3}
	ticks := 0
	b.now = func() time.Time { ticks++; return time.Unix(int64(ticks)*10, 0) }
	b.start(nil)
	select {
	case line := <-said:
		if !strings.HasPrefix(line, "wait: 0/3 (0%), 0/s") {
			t.Errorf("said %q", line)
		}
	case <-time.After(20 * time.Second):
		t.Error("said nothing")
	}
	b.Finish()
}

func TestNilBarIsSilent(t *testing.T) {
	for _, w := range []io.Writer{nil, io.Discard} {
		b := New(w, "x", 1).Of("things")
		b.Add(1)
		b.Skip(1)
		b.Total(2, false)
		b.Reject(1, "y")
		b.Spend("z", 1)
		b.Note("n")
		b.Finish()
		if b != nil {
			t.Error(fmt.Sprint("a bar on ", w))
		}
	}
}

// What watches a bar is told of nothing that is no text: Prometheus refuses labels of other bytes.
func TestObserversGetText(t *testing.T) {
	o := &listener{}
	b := New(o, "eval \xff\x1b.onnx", 2)
	b.Reject(1, "bad \xfe\n")
	b.Finish()
	if want := []string{`eval \xff\x1b.onnx`, `bad \xfe\n`}; !slices.Equal(o.heard, want) {
		t.Errorf("%q, want %q", o.heard, want)
	}
}

// listener takes down what it is told in words.
type listener struct {
	bytes.Buffer
	heard []string
}

func (l *listener) Unwrap() io.Writer             { return io.Discard }
func (l *listener) Observe(label string) Watcher  { l.heard = append(l.heard, label); return l }
func (l *listener) Total(int64)                   {}
func (l *listener) Count(_, _ int64)              {}
func (l *listener) Reject(_ int64, reason string) { l.heard = append(l.heard, reason) }
func (l *listener) Spend(_ string, _ float64)     {}
