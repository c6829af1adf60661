package parallel

import (
	"sync"
	"testing"
	"time"

	"facepipe/student/torch/torchtest"
)

// watched has so many ranks meet, and gives each one's watch and what it tells.
func watched(t *testing.T, n int) ([]*Watch, []chan error) {
	t.Helper()
	port := torchtest.FreePort(t)
	watches, lost := make([]*Watch, n), make([]chan error, n)
	var all sync.WaitGroup
	for i := range n {
		lost[i] = make(chan error, 1)
		all.Go(func() {
			w, err := meet(t.Context(), rankAt(i, n, port), long, lost[i])
			if err != nil {
				t.Error(err)
			}
			watches[i] = w
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() {
		for _, w := range watches {
			w.Leave()
		}
	})
	return watches, lost
}

// The end of a rank, whichever it is, is known to all others by its number.
func TestWatchTellsOfAnEnd(t *testing.T) {
	for dying, want := range map[int]string{0: "rank 0 has ended; if it could, it said why", 2: "rank 2 has ended; if it could, it said why"} {
		watches, lost := watched(t, 4)
		watches[dying].mu.Lock()
		watches[dying].left = true // it has no say any more
		watches[dying].mu.Unlock()
		watches[dying].end()
		for i := range lost {
			if i == dying {
				continue
			}
			select {
			case err := <-lost[i]:
				if err.Error() != want {
					t.Errorf("rank %d: %v", i, err)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("rank %d does not know that rank %d has ended", i, dying)
			}
		}
	}
}

// Ranks that leave have not ended, in whatever order they do.
func TestWatchTellsNothingOfWhoLeaves(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}} {
		watches, lost := watched(t, 3)
		for _, i := range order {
			watches[i].Leave()
			time.Sleep(20 * time.Millisecond) // for the others to hear of it
		}
		for i := range lost {
			select {
			case err := <-lost[i]:
				t.Errorf("leaving in the order %v, rank %d is told: %v", order, i, err)
			default:
			}
		}
	}
}
