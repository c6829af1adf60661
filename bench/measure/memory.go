package measure

import (
	"bytes"
	"os"
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
	stop chan struct{}
	done sync.WaitGroup
	most int64 // KiB
}

// WatchMemory begins to sample.
func WatchMemory() *Memory {
	m := &Memory{stop: make(chan struct{})}
	m.done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			m.most = max(m.most, anonymousKiB())
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
func (m *Memory) Peak() float64 {
	close(m.stop)
	m.done.Wait()
	return float64(max(m.most, anonymousKiB())) / 1024
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
