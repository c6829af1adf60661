package embed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestStreamGivesWhatEmbedGives(t *testing.T) {
	m, err := Open(t.Context(), tiny(t, nil), Options{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const n = 11
	pixels := crops(n)
	size := 112 * 112 * 3
	want := map[bool][]float32{}
	for _, flip := range []bool{false, true} {
		want[flip] = make([]float32, n*4)
		if err := m.Embed(n, pixels, flip, want[flip]); err != nil {
			t.Fatal(err)
		}
	}
	next := 0
	_, err = m.Stream(t.Context(), n, func(i int, rgb []byte) error {
		copy(rgb, pixels[i*size:(i+1)*size])
		return nil
	}, func(i int, rows [][]float32) error {
		if i != next {
			t.Fatalf("row %d came when %d was due", i, next)
		}
		next++
		for k, flip := range []bool{false, true} {
			for d, v := range rows[k] {
				if v != want[flip][4*i+d] {
					t.Errorf("row %d flip %v: %g, want %g", i, flip, v, want[flip][4*i+d])
				}
			}
		}
		return nil
	}, StreamOptions{Flips: []bool{false, true}, Workers: 3})
	if err != nil || next != n {
		t.Errorf("%d rows, %v", next, err)
	}
}

// However many devices there are, the rows come in order, each once.
func TestStreamOnSeveralDevices(t *testing.T) {
	const n = 301
	pixels := crops(n)
	size := len(pixels) / n
	var want []float32
	for _, count := range []int{1, 2, 3} {
		var devices []*Model
		for range count {
			devices = append(devices, open(t, tiny(t, nil), Options{Batch: 4}))
		}
		var got []float32
		_, err := Stream(t.Context(), devices, n, func(i int, rgb []byte) error {
			copy(rgb, pixels[i*size:(i+1)*size])
			return nil
		}, func(_ int, rows [][]float32) error {
			got = append(got, rows[0]...)
			return nil
		}, StreamOptions{Flips: []bool{false}, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if len(got) != n*devices[0].Dim() || !slices.Equal(got, want) {
			t.Errorf("%d devices gave other rows", count)
		}
	}
}

// The same rows come out whatever the workers do and however long a crop takes.
func TestStreamOrderWithSlowCrops(t *testing.T) {
	m := open(t, tiny(t, nil), Options{Batch: 4})
	const n = 37
	pixels := crops(n)
	size := len(pixels) / n
	var first []float32
	for _, workers := range []int{1, 2, 7} {
		rng := rand.New(rand.NewPCG(uint64(workers), 0))
		naps := make([]time.Duration, n)
		for i := range naps {
			naps[i] = time.Duration(rng.IntN(2000)) * time.Microsecond
		}
		var all []float32
		_, err := m.Stream(t.Context(), n, func(i int, rgb []byte) error {
			time.Sleep(naps[i])
			copy(rgb, pixels[i*size:(i+1)*size])
			return nil
		}, func(i int, rows [][]float32) error {
			all = append(all, rows[0]...)
			return nil
		}, StreamOptions{Flips: []bool{false}, Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = all
		}
		if len(all) != n*m.Dim() || !slices.Equal(all, first) {
			t.Errorf("%d workers gave other rows", workers)
		}
	}
}

func TestStreamOfNothing(t *testing.T) {
	m := open(t, tiny(t, nil), Options{})
	fail := func(int, []byte) error { return errors.New("called") }
	if _, err := m.Stream(t.Context(), 0, fail, nil, StreamOptions{Flips: []bool{false}}); err != nil {
		t.Error(err)
	}
}

// A consumer that stands still stops the loading after a few batches.
func TestStreamHoldsLoadingBack(t *testing.T) {
	m := open(t, tiny(t, nil), Options{Batch: 4})
	var loaded atomic.Int64
	_, err := m.Stream(t.Context(), 400, func(int, []byte) error {
		loaded.Add(1)
		return nil
	}, func(i int, _ [][]float32) error {
		if i%100 == 0 {
			time.Sleep(20 * time.Millisecond) // long enough to load all, if nothing stops it
		}
		if ahead := loaded.Load() - int64(i); ahead > int64(ring([]*Model{m})*4) {
			return fmt.Errorf("%d crops were loaded ahead of crop %d", ahead, i)
		}
		return nil
	}, StreamOptions{Flips: []bool{false, true}, Workers: 2})
	if err != nil {
		t.Error(err)
	}
}

// Which of many bad crops is named does not depend on the workers.
func TestStreamNamesTheFirstBadCrop(t *testing.T) {
	m := open(t, tiny(t, nil), Options{Batch: 4})
	for range 20 {
		emitted := 0
		_, err := m.Stream(t.Context(), 100, func(i int, _ []byte) error {
			if i == 9 {
				time.Sleep(time.Millisecond)
			}
			if i >= 9 {
				return fmt.Errorf("no pixels in %d", i)
			}
			return nil
		}, func(int, [][]float32) error {
			emitted++
			return nil
		}, StreamOptions{Flips: []bool{false}, Workers: 5})
		if err == nil || err.Error() != "load crop 9: no pixels in 9" || emitted != 9 {
			t.Fatalf("%d rows, then %v", emitted, err)
		}
	}
}

// What is allocated depends on the batches in flight, not on those that go through.
func TestStreamAllocatesNothingForABatch(t *testing.T) {
	const batch = 64
	m := open(t, tiny(t, nil), Options{Batch: batch})
	count := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := m.Stream(t.Context(), n, func(int, []byte) error { return nil },
			func(int, [][]float32) error { return nil }, StreamOptions{Flips: []bool{false, true}, Workers: 2})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		return after.Mallocs - before.Mallocs
	}
	count(batch) // the runtime's and Go's own first allocations
	few, many := count(4*batch), count(44*batch)
	if per := float64(many-few) / 40; many > few && per > 0.5 {
		t.Errorf("%.2f allocations for a batch", per)
	}
}

func TestStreamTimes(t *testing.T) {
	m := open(t, tiny(t, nil), Options{Batch: 2})
	nap := 2 * time.Millisecond
	opened := m.Busy()
	if opened <= 0 {
		t.Error("trying the batch out took no time")
	}
	var told []Times
	times, err := m.Stream(t.Context(), 6, func(int, []byte) error {
		time.Sleep(nap)
		return nil
	}, func(int, [][]float32) error {
		time.Sleep(nap)
		return nil
	}, StreamOptions{Flips: []bool{false}, Workers: 1, Watch: func(so Times) { told = append(told, so) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 3 || told[0].Emit < 2*nap || told[0].Emit > told[2].Emit || told[2] != times {
		t.Errorf("told %+v on the way to %+v", told, times)
	}
	if busy := m.Under(Raw()).Busy(); busy <= opened || busy-opened > times.Infer {
		t.Errorf("the model ran for %v, %v of it before the %v of the stream", busy, opened, times.Infer)
	}
	if times.Load < 6*nap || times.Emit < 6*nap || times.Wait < 2*nap || times.Infer <= 0 {
		t.Errorf("times %+v", times)
	}
	double := times
	double.Add(times)
	if double.Load != 2*times.Load || double.Infer != 2*times.Infer || double.Wait != 2*times.Wait || double.Emit != 2*times.Emit {
		t.Errorf("twice %+v is %+v", times, double)
	}
}

func TestStreamEndsWithTheFirstError(t *testing.T) {
	m, err := Open(t.Context(), tiny(t, nil), Options{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	boom := errors.New("boom")
	ok := func(int, []byte) error { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	for name, run := range map[string]func() error{
		"load": func() error {
			_, err := m.Stream(t.Context(), 100, func(i int, _ []byte) error {
				if i == 9 {
					return boom
				}
				return nil
			}, func(int, [][]float32) error { return nil }, StreamOptions{Flips: []bool{false}})
			if err == nil || !strings.Contains(err.Error(), "crop 9") {
				t.Errorf("load: %v", err)
			}
			return err
		},
		"emit": func() error {
			_, err := m.Stream(t.Context(), 100, ok, func(int, [][]float32) error { return boom }, StreamOptions{Flips: []bool{false}})
			return err
		},
		"cancel": func() error {
			_, err := m.Stream(ctx, 100000, ok, func(int, [][]float32) error { cancel(); return nil }, StreamOptions{Flips: []bool{false}})
			if errors.Is(err, context.Canceled) {
				return boom
			}
			return err
		},
	} {
		if err := run(); !errors.Is(err, boom) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
