package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// strict is a slot that notices what is done out of turn, and any byte that is written while it is
// read. Its memory is another each time.
type strict struct {
	mu     sync.Mutex
	t      *testing.T
	memory []byte
	sent   []byte // as it was then; nil if nobody reads
	turns  int
	closed bool
}

func (s *strict) Memory() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent != nil || s.closed {
		s.t.Error("memory of a slot that is read")
	}
	p, err := newPlain(len(s.memory))
	s.memory = p.(plain)
	s.turns++
	return s.memory, err
}

func (s *strict) Send() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent != nil || s.closed {
		s.t.Error("a slot was sent twice")
	}
	s.sent = bytes.Clone(s.memory)
	return nil
}

func (s *strict) Done() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent == nil || !bytes.Equal(s.sent, s.memory) || s.closed {
		s.t.Error("a slot was written while it was read, or is done with twice")
	}
	s.sent = nil
	return nil
}

func (s *strict) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent != nil || s.closed {
		s.t.Error("a slot is closed while it is read, or twice")
	}
	s.closed = true
}

// slots are strict ones for a loader.
type slots struct {
	mu  sync.Mutex
	t   *testing.T
	all []*strict
}

func (s *slots) add(bytes int) (Slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &strict{t: s.t, memory: make([]byte, bytes)}
	s.all = append(s.all, one)
	return one, nil
}

// No slot is written while it is read, whatever the workers do and however a run ends; there are
// no more than two beyond the workers; they serve again, and all are closed.
func TestSlotsGoRound(t *testing.T) {
	ds, teacher := fixture(t, true)
	boom := errors.New("boom")
	for _, workers := range []int{1, 3} {
		made := &slots{t: t}
		o := Options{Batch: 4, Parts: 2, Seed: 3, Flip: true, Workers: workers}
		want := collect(t, ds, teacher, o, 0, 20)
		o.NewSlot = made.add
		l, err := New(ds, only(teacher), o)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		look := func(b *Batch) error {
			if b.Part == 0 {
				time.Sleep(time.Millisecond)
			}
			w := want[2*b.Step+b.Part]
			if at++; fmt.Sprint(b.Rows, b.Labels, b.Mirrored, b.Teachers) != fmt.Sprint(w.Rows, w.Labels, w.Mirrored, w.Teachers) || !bytes.Equal(b.Pixels, w.Pixels) {
				t.Errorf("%d workers: step %d, part %d differs from a batch in plain memory", workers, b.Step, b.Part)
			}
			return nil
		}
		if err := l.Run(t.Context(), 0, 5, look); err != nil {
			t.Fatal(err)
		}
		if err := l.Run(t.Context(), 5, 20, func(b *Batch) error { return boom }); !errors.Is(err, boom) {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := l.Run(ctx, 5, 20, func(b *Batch) error {
			if b.Step == 7 {
				cancel()
			}
			return look(b)
		}); !errors.Is(err, context.Canceled) || at != 16 {
			t.Errorf("%v after %d batches", err, at)
		}
		if err := l.Run(t.Context(), 8, 20, look); err != nil || at != 40 {
			t.Errorf("%v after %d batches", err, at)
		}
		l.Close()
		turns := 0
		for _, one := range made.all {
			if turns += one.turns; !one.closed {
				t.Error("a slot stays open")
			}
		}
		if len(made.all) > workers+2 || turns <= len(made.all) {
			t.Errorf("%d workers: %d slots in %d turns", workers, len(made.all), turns)
		}
	}
}

// Memory that is not to be had ends a run.
func TestNoSlot(t *testing.T) {
	ds, teacher := fixture(t, true)
	full := errors.New("no memory")
	l, err := New(ds, only(teacher), Options{Batch: 4, Workers: 2, NewSlot: func(int) (Slot, error) { return nil, full }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Run(t.Context(), 0, 3, func(*Batch) error { return nil }); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

// The parts of a batch lie side by side, aligned, and do not overlap.
func TestLayout(t *testing.T) {
	for _, n := range []int{1, 7, 64} {
		l := newLayout(n, 5, []int{3, 512})
		ends := []int{l.Pixels + n*75, l.Mirrored + n, l.Rows + 8*n, l.Labels + 4*n, l.Teachers[0] + 12*n, l.Teachers[1] + 2048*n}
		begins := []int{l.Pixels, l.Mirrored, l.Rows, l.Labels, l.Teachers[0], l.Teachers[1], l.bytes}
		for i, end := range ends {
			if begins[i]%64 != 0 || begins[i+1] < end || begins[i+1] > end+63 {
				t.Errorf("%d crops: part %d is at %d to %d, the next at %d", n, i, begins[i], end, begins[i+1])
			}
		}
		memory := make([]byte, l.bytes)
		var b Batch
		l.in(memory, &b)
		b.Pixels[n*75-1], b.Mirrored[n-1], b.Rows[n-1], b.Labels[n-1], b.Teachers[1][n*512-1] = 1, 2, 3, 4, 1
		for place, v := range map[int]byte{ends[0] - 1: 1, ends[1] - 1: 2, ends[2] - 8: 3, ends[3] - 4: 4, ends[5] - 1: 0x3f} {
			if memory[place] != v {
				t.Errorf("%d crops: byte %d is %d, want %d", n, place, memory[place], v)
			}
		}
		if !slices.Equal([]int{len(b.Pixels), len(b.Mirrored), len(b.Rows), len(b.Labels), len(b.Teachers[0]), len(b.Teachers[1])}, []int{n * 75, n, n, n, 3 * n, 512 * n}) {
			t.Errorf("%d crops: a part has another length", n)
		}
	}
}
