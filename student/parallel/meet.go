package parallel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"facepipe/internal/worker"
)

// Before the engine makes its group, the ranks meet in lines of text at the same port.
// The engine's own store says no more than that its time was up, and cannot be stopped;
// here rank 0 knows who is missing, and the others whether it is rank 0 that answers.
//
//	rank 0:  pipe ranks 2      to whoever connects
//	others:  rank I of N
//	rank 0:  go                once all are there, or: no REASON
//
// Rank 0 lets go of the port before it says go. The connections stay; see [Watch].
//
//	rank 0:  lost I            rank I has ended without a farewell
//	all:     done              the farewell
const (
	greeting = "pipe ranks 2"
	allHere  = "go"
	refused  = "no "
	lostRank = "lost "
	farewell = "done"
)

// longestLine is in bytes, its end included.
const longestLine = 4096

// attempt is how long to wait before another one.
const attempt = 100 * time.Millisecond

// meet returns once all ranks are there, each of which calls it, and after no longer than
// timeout. From then on the watch tells lost of a rank that ends.
func meet(ctx context.Context, r worker.Rank, timeout time.Duration, lost chan<- error) (*Watch, error) {
	w := newWatch(lost)
	var err error
	if r.Index == 0 {
		err = receive(ctx, r, timeout, w)
	} else {
		err = retry(ctx, timeout, func(ctx context.Context) error { return visit(ctx, r, w) })
	}
	if err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// final is an error that another attempt would not mend.
type final struct{ error }

// retry attempts something until it succeeds, fails for good, or time is up.
func retry(ctx context.Context, timeout time.Duration, try func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var reason error
	for {
		err := try(limited)
		var forGood final
		switch {
		case err == nil:
			return nil
		case errors.As(err, &forGood):
			return forGood.error
		case reason == nil || !errors.Is(err, context.DeadlineExceeded):
			reason = err
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("timed out after %v: %w", timeout, reason)
		case <-time.After(attempt):
		}
	}
}

// visit asks rank 0 once, and waits for its answer as long as that takes.
func visit(ctx context.Context, r worker.Rank, w *Watch) (err error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", r.Master())
	if err != nil {
		return fmt.Errorf("no rank 0 at %s: %w", r.Master(), err)
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	kept := context.AfterFunc(ctx, func() { c.Close() })
	defer kept()
	in := bufio.NewReaderSize(c, longestLine)
	foreign := fmt.Errorf("what answers at %s is no rank 0 of pipe", r.Master())
	switch line, err := in.ReadSlice('\n'); {
	case err == nil && string(line) == greeting+"\n":
	case len(line) > 0:
		return final{foreign}
	default: // silent, or about to end
		return foreign
	}
	if _, err := fmt.Fprintf(c, "rank %d of %d\n", r.Index, r.Count); err != nil {
		return err
	}
	line, err := in.ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("rank 0 at %s waits for other ranks", r.Master())
	case err != nil:
		return fmt.Errorf("rank 0 at %s went away: %w", r.Master(), err)
	}
	line = strings.TrimSuffix(line, "\n")
	if reason, no := strings.CutPrefix(line, refused); no {
		return final{errors.New(reason)}
	}
	if line != allHere {
		return final{foreign}
	}
	if !kept() {
		return ctx.Err()
	}
	w.rankZero(c, in)
	return nil
}

// guest is a rank that has come to rank 0, or, once gone, has left again, with a farewell if all
// is well.
type guest struct {
	index, count int
	conn         net.Conn
	gone, well   bool
}

func (g *guest) refuse(reason string) {
	_, _ = fmt.Fprintf(g.conn, "%s%s\n", refused, reason) // who has gone does not mind
	g.conn.Close()
}

// receive waits for the others as rank 0.
func receive(ctx context.Context, r worker.Rank, timeout time.Duration, w *Watch) error {
	over := time.NewTimer(timeout)
	defer over.Stop()
	door, err := open(ctx, r)
	if err != nil {
		return err
	}
	defer door.Close()
	news := make(chan guest)
	for _, l := range door {
		go welcome(w.ctx, l, news)
	}
	here := map[int]guest{}
	for len(here) < r.Count-1 {
		select {
		case g := <-news:
			other, taken := here[g.index]
			switch {
			case g.gone:
				if taken && other.conn == g.conn {
					delete(here, g.index)
				}
			case g.count != r.Count:
				g.refuse(fmt.Sprintf("rank %d counts %d ranks, rank 0 %d: start all with the same number", g.index, g.count, r.Count))
			case taken || g.index == 0:
				g.refuse(fmt.Sprintf("there is a rank %d already", g.index))
			default:
				here[g.index] = g
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			err := missing(r, here, timeout)
			for _, g := range here {
				g.refuse(err.Error())
			}
			return err
		}
	}
	if err := door.Close(); err != nil {
		return err
	}
	for _, g := range here {
		if _, err := io.WriteString(g.conn, allHere+"\n"); err != nil {
			return fmt.Errorf("rank %d: %w", g.index, err)
		}
	}
	w.others(here, news)
	return nil
}

// listeners are where rank 0 waits.
type listeners []net.Listener

// Close closes those that are open.
func (ls listeners) Close() error {
	var errs []error
	for _, l := range ls {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// open listens on the addresses of rank 0 that the ranks were given, and on no other. Where this
// machine has none of them (there is a service in front of it, or its own list of names has
// loopback for its name), it listens on all, and says so.
func open(ctx context.Context, r worker.Rank) (ls listeners, err error) {
	listen := func(host string) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(r.Port)))
	}
	hosts, cause := addresses(ctx, r.Host)
	for _, host := range hosts {
		l, err := listen(host)
		switch {
		case err == nil:
			ls = append(ls, l)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			cause = err
		default:
			return nil, errors.Join(err, ls.Close())
		}
	}
	if len(ls) > 0 {
		return ls, nil
	}
	slog.Warn("rank 0 waits at all addresses of this machine, which has not the one that was given", "given", r.Master(), "cause", cause)
	l, err := listen("")
	return listeners{l}, err
}

// addresses are those that other machines may reach a host at.
func addresses(ctx context.Context, host string) ([]string, error) {
	if host == "localhost" || net.ParseIP(host) != nil {
		return []string{host}, nil
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	var hosts []string
	for _, a := range found {
		if !a.IP.IsLoopback() {
			hosts = append(hosts, a.String())
		}
	}
	return hosts, err
}

// missing says who did not come.
func missing(r worker.Rank, here map[int]guest, timeout time.Duration) error {
	var absent []string
	for i := 1; i < r.Count; i++ {
		if _, ok := here[i]; !ok {
			absent = append(absent, strconv.Itoa(i))
		}
	}
	const most = 8
	if n := len(absent) - most; n > 0 {
		absent = append(absent[:most:most], fmt.Sprintf("and %d more", n))
	}
	return fmt.Errorf("only %d of %d ranks came to %s within %v; missing: %s", 1+len(here), r.Count, r.Master(), timeout, strings.Join(absent, ", "))
}

// welcome greets whoever connects until the context ends, and reports the ranks among them.
func welcome(ctx context.Context, l net.Listener, news chan<- guest) {
	report := func(g guest) {
		select {
		case news <- g:
		case <-ctx.Done():
		}
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed: all are here, or nobody waits any more
		}
		go func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			in := bufio.NewReaderSize(c, longestLine)
			if _, err := io.WriteString(c, greeting+"\n"); err != nil {
				return
			}
			g := guest{conn: c}
			line, err := in.ReadSlice('\n')
			if err != nil || !g.parse(string(line)) {
				return
			}
			report(g)
			said, _ := in.ReadSlice('\n') // until the rank leaves, or is let go
			g.gone, g.well = true, string(said) == farewell+"\n"
			report(g)
		}()
	}
}

// parse reads how a rank introduces itself.
func (g *guest) parse(line string) bool {
	fields := strings.Fields(line)
	if len(fields) != 4 || fields[0] != "rank" || fields[2] != "of" {
		return false
	}
	var err, err2 error
	g.index, err = strconv.Atoi(fields[1])
	g.count, err2 = strconv.Atoi(fields[3])
	return err == nil && err2 == nil && g.index >= 0 && g.index < g.count
}

// listens waits until rank 0 accepts connections: unlike the engine's own attempts these
// can be stopped, and say in the end why they failed.
func listens(ctx context.Context, r worker.Rank, timeout time.Duration) error {
	if r.Index == 0 {
		return nil
	}
	return retry(ctx, timeout, func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", r.Master())
		if err != nil {
			return err
		}
		return c.Close()
	})
}
