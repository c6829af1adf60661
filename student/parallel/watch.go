package parallel

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// Watch notices a rank that ends. Collectives in memory notice it, too, but those of devices wait
// for ever for a rank that is gone, and nothing else of the process goes on meanwhile. So each
// rank keeps the connection by which it came to rank 0: the system closes it with the process.
type Watch struct {
	lost   chan<- error
	ctx    context.Context // of the connections
	cancel context.CancelFunc

	mu    sync.Mutex
	conns map[int]net.Conn // by rank
	left  bool
}

// newWatch tells lost, which has room, of the first rank that ends.
func newWatch(lost chan<- error) *Watch {
	w := &Watch{lost: lost, conns: map[int]net.Conn{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// Leave parts from the others, who do not take it for an end. A nil Watch is fine.
func (w *Watch) Leave() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.left = true
	w.say(farewell)
	w.mu.Unlock()
	w.end()
}

// end lets go of the connections.
func (w *Watch) end() {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
}

// say tells all that are there.
func (w *Watch) say(line string) {
	for _, c := range w.conns {
		_, _ = io.WriteString(c, line+"\n") // who is gone need not know
	}
}

// lose notes that a rank has ended, and tells the others.
func (w *Watch) lose(rank int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left {
		return
	}
	delete(w.conns, rank)
	w.say(lostRank + strconv.Itoa(rank))
	select {
	case w.lost <- fmt.Errorf("rank %d has ended; if it could, it said why", rank):
	default: // not the first
	}
}

// others watches, as rank 0, those that are here.
func (w *Watch) others(here map[int]guest, news <-chan guest) {
	w.mu.Lock()
	for i, g := range here {
		w.conns[i] = g.conn
	}
	w.mu.Unlock()
	go func() {
		for {
			select {
			case g := <-news:
				if g.gone && !g.well && here[g.index].conn == g.conn {
					w.lose(g.index)
				}
			case <-w.ctx.Done():
				return
			}
		}
	}()
}

// rankZero watches rank 0, which tells of the others.
func (w *Watch) rankZero(c net.Conn, in *bufio.Reader) {
	w.mu.Lock()
	w.conns[0] = c
	w.mu.Unlock()
	go func() {
		for {
			line, err := in.ReadString('\n')
			line = strings.TrimSuffix(line, "\n")
			text, tells := strings.CutPrefix(line, lostRank)
			rank, wrong := strconv.Atoi(text)
			switch {
			case err == nil && line == farewell:
				return
			case err == nil && tells && wrong == nil:
				w.lose(rank)
			default:
				w.lose(0)
				return
			}
		}
	}()
}
