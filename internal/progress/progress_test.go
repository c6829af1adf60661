package progress

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	b := New(&out, "ingest", 100)
	clock := b.begun
	b.now = func() time.Time { return clock }
	clock = clock.Add(2 * time.Second)
	b.Add(10)
	if out.Len() > 0 {
		t.Errorf("a line after 2 s: %q", out.String())
	}
	clock = clock.Add(3 * time.Second)
	b.Note("2 rejects")
	b.Add(10)
	clock = clock.Add(time.Second)
	b.Add(80)
	clock = clock.Add(4 * time.Second)
	b.Finish()
	want := "ingest: 20/100 (20%), 4.0/s, 20s left, 2 rejects\ningest: 100/100 (100%), 10.0/s, 2 rejects\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestUnknownTotal(t *testing.T) {
	var out bytes.Buffer
	b := New(&out, "walk", -1)
	clock := b.begun
	b.now = func() time.Time { return clock }
	clock = clock.Add(10 * time.Second)
	b.Add(5)
	if got := out.String(); got != "walk: 5, 0.5/s\n" {
		t.Errorf("got %q", got)
	}
}

// On a terminal the bar says what its figures are, and no rate before there is one.
func TestDrawnBar(t *testing.T) {
	for _, c := range []struct {
		total int64
		want  []string
	}{
		{1000, []string{
			"0% |                    |  precompute: 0/1000",
			"0% |                    |  precompute: 8/1000",
			"20% |████                |  precompute: 200/1000, 80.0 crops/s, 10s left, 1 rejected",
		}},
		{-1, []string{"precompute: 0", "precompute: 8", "precompute: 200, 80.0 crops/s, 1 rejected"}},
	} {
		var out bytes.Buffer
		clock := time.Unix(0, 0)
		b := (&Bar{w: &out, label: "precompute", total: c.total, now: func() time.Time { return clock }}).Of("crops")
		b.start(true)
		clock = clock.Add(redraw)
		b.Add(8) // a batch at once
		b.Add(1)
		b.Reject(1, "zeros")
		clock = clock.Add(2500*time.Millisecond - redraw)
		b.Add(191)
		frames := drawn(out.String())
		for _, want := range c.want {
			if !slices.Contains(frames, want) {
				t.Errorf("%q is not in %q", want, frames)
			}
		}
		if strings.Contains(out.String(), "precompute: 9") {
			t.Errorf("drawn more often than every %v: %q", redraw, frames)
		}
		before := out.Len()
		b.Finish()
		if end := out.String()[before:]; strings.Trim(end, " \r") != "" || !strings.HasSuffix(end, "\r") {
			t.Errorf("the bar is not wiped away: %q", end)
		}
	}
}

// drawn are the states of a line that carriage returns begin, spinners left out.
func drawn(text string) (frames []string) {
	for _, frame := range strings.Split(text, "\r") {
		if frame = strings.Trim(frame, " ⠁⠂⠄⡀⢀⠠⠐⠈|/-\\"); frame != "" {
			frames = append(frames, frame)
		}
	}
	return frames
}

func TestNilBarIsSilent(t *testing.T) {
	b := New(nil, "x", 1).Of("things")
	b.Add(1)
	b.Reject(1, "y")
	b.Spend("z", 1)
	b.Note("n")
	b.Finish()
	if b != nil {
		t.Error("a bar without a writer")
	}
}
