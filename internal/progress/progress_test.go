package progress

import (
	"bytes"
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

func TestNilBarIsSilent(t *testing.T) {
	b := New(nil, "x", 1)
	b.Add(1)
	b.Note("n")
	b.Finish()
	if b != nil {
		t.Error("a bar without a writer")
	}
}
