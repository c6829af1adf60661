package measure

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessorSeconds is the time that all processors spent on this process: on a machine
// that others use, too, it says more than a clock.
func ProcessorSeconds() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// Memory samples the process's own memory: what it allocated, not the pages of files
// that it mapped, which the kernel takes back when it needs them.
type Memory struct {
	stop    chan struct{}
	done    sync.WaitGroup
	samples []int64 // KiB
}

// WatchMemory begins to sample.
func WatchMemory() *Memory {
	m := &Memory{stop: make(chan struct{})}
	m.done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			m.samples = append(m.samples, anonymousKiB())
			select {
			case <-m.stop:
				return
			case <-tick.C:
			}
		}
	})
	return m
}

// Peak ends the watch and is the most there was, in MiB.
func (m *Memory) Peak() float64 { return m.Peaks(1)[0] }

// Peaks ends the watch and is the most there was in each of n parts of its time, in MiB.
func (m *Memory) Peaks(n int) []float64 {
	close(m.stop)
	m.done.Wait()
	return peaks(append(m.samples, anonymousKiB()), n)
}

// peaks are the largest of each of n parts of samples, which are KiB, in MiB; a part
// without one has the one before it.
func peaks(samples []int64, n int) []float64 {
	most := make([]float64, n)
	for i := range most {
		from := i * len(samples) / n
		most[i] = float64(slices.Max(samples[from:max(from+1, (i+1)*len(samples)/n)])) / 1024
	}
	return most
}

// anonymousKiB is RssAnon of this process; 0 where the kernel does not tell.
func anonymousKiB() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, found := bytes.Cut(status, []byte("RssAnon:"))
	if !found {
		return 0
	}
	kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kib
}
