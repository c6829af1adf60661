package parallel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"facepipe/internal/worker"
	"facepipe/student/torch/torchtest"
)

// rankAt is one of count ranks that meet at a port of this machine.
func rankAt(index, count, port int) worker.Rank {
	return worker.Rank{Worker: worker.Worker{Index: index, Count: count}, Host: "127.0.0.1", Port: port}
}

// company has ranks meet, and returns how it ended for each.
func company(t *testing.T, timeout time.Duration, ranks ...worker.Rank) []error {
	t.Helper()
	ends := make([]chan error, len(ranks))
	for i, r := range ranks {
		ends[i] = make(chan error, 1)
		go func() { ends[i] <- comes(t.Context(), r, timeout) }()
	}
	errs := make([]error, len(ranks))
	for i := range ends {
		errs[i] = <-ends[i]
	}
	return errs
}

// comes has a rank meet the others, and leave them again.
func comes(ctx context.Context, r worker.Rank, timeout time.Duration) error {
	w, err := meet(ctx, r, timeout, make(chan error, 1))
	w.Leave()
	return err
}

const long = time.Minute

// All go at once, in whatever order they come, and the port is free for the engine.
func TestMeet(t *testing.T) {
	port := torchtest.FreePort(t)
	for i, err := range company(t, long, rankAt(2, 4, port), rankAt(1, 4, port), rankAt(0, 4, port), rankAt(3, 4, port)) {
		if err != nil {
			t.Errorf("number %d: %v", i, err)
		}
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	l.Close()
}

// Rank 0 waits where it was told to and nowhere else, unless it cannot.
func TestListensWhereItIsTold(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	reaches := func(host string, port int) bool {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(port)), 5*time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	for _, c := range []struct{ given, at, elsewhere string }{
		{"127.0.0.1", "127.0.0.1", "127.0.0.2"}, {"127.0.0.2", "127.0.0.2", "127.0.0.1"}, {"localhost", "localhost", "127.0.0.2"},
		{host, host, ""}, {"192.0.2.7", "127.0.0.1", ""}, {"nowhere.invalid", "127.0.0.1", ""},
	} {
		r := rankAt(0, 2, torchtest.FreePort(t))
		r.Host = c.given
		door, err := open(t.Context(), r)
		if err != nil {
			t.Errorf("%s: %v", c.given, err)
			continue
		}
		if !reaches(c.at, r.Port) || c.elsewhere != "" && reaches(c.elsewhere, r.Port) {
			t.Errorf("%s: it listens on %v", c.given, door[0].Addr())
		}
		if err := errors.Join(door.Close(), door.Close()); err != nil {
			t.Error(err)
		}
	}
	taken := rankAt(0, 2, torchtest.FreePort(t))
	door, err := open(t.Context(), taken)
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	if _, err := open(t.Context(), taken); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that is taken: %v", err)
	}
}

// Who is missing is known to all that came.
func TestMissing(t *testing.T) {
	port := torchtest.FreePort(t)
	begun := make(chan error, 1)
	go func() { begun <- comes(t.Context(), rankAt(2, 4, port), long) }()
	want := fmt.Sprintf("only 2 of 4 ranks came to 127.0.0.1:%d within 3s; missing: 1, 3", port)
	if err := comes(t.Context(), rankAt(0, 4, port), 3*time.Second); err == nil || err.Error() != want {
		t.Errorf("rank 0: %v", err)
	}
	if err := <-begun; err == nil || err.Error() != want {
		t.Errorf("rank 2: %v", err)
	}
}

// A rank that dies while it waits is missing until it is there again.
func TestRankComesAgain(t *testing.T) {
	port := torchtest.FreePort(t)
	leads := make(chan error, 1)
	go func() { leads <- comes(t.Context(), rankAt(0, 3, port), long) }()
	dying, die := context.WithCancel(t.Context())
	dead := make(chan error, 1)
	go func() { dead <- comes(dying, rankAt(1, 3, port), long) }()
	time.AfterFunc(200*time.Millisecond, die) // it has come by then, or not: both go well
	if err := <-dead; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for i, err := range company(t, long, rankAt(1, 3, port), rankAt(2, 3, port)) {
		// Its place may not have been given up when it comes again.
		for err != nil && strings.Contains(err.Error(), "there is a rank 1 already") {
			err = comes(t.Context(), rankAt(1, 3, port), long)
		}
		if err != nil {
			t.Errorf("rank %d: %v", i+1, err)
		}
	}
	if err := <-leads; err != nil {
		t.Error(err)
	}
}

// Who does not belong to the others is sent away, and they go on waiting.
func TestStrangers(t *testing.T) {
	port := torchtest.FreePort(t)
	leads := make(chan error, 1)
	go func() { leads <- comes(t.Context(), rankAt(0, 3, port), long) }()
	if err := comes(t.Context(), rankAt(1, 2, port), long); err == nil || err.Error() != "rank 1 counts 2 ranks, rank 0 3: start all with the same number" {
		t.Errorf("a rank of another world: %v", err)
	}
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "rank 3 of 3\n", "rank x of y\n", "\n"} {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text)
		if got, err := io.ReadAll(c); string(got) != greeting+"\n" && err == nil {
			t.Errorf("%q is answered %q", text, got)
		}
		c.Close()
	}
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- comes(t.Context(), rankAt(1, 3, port), long) }()
	go func() { second <- comes(t.Context(), rankAt(1, 3, port), long) }()
	var twin error
	select {
	case twin = <-first:
		first = second
	case twin = <-second:
	}
	if twin == nil || twin.Error() != "there is a rank 1 already" {
		t.Errorf("a rank that was started twice: %v", twin)
	}
	if err := comes(t.Context(), rankAt(2, 3, port), long); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-first, <-leads); err != nil {
		t.Error(err)
	}
}

// What is no rank 0 is told from one: what says something else at once, what says nothing
// in the end.
func TestSomethingElseAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		says    string
		timeout time.Duration
	}{"something": {"SSH-2.0-OpenSSH_9.2\r\n", long}, "nothing": {"", time.Second}} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = io.WriteString(conn, c.says)
					t.Cleanup(func() { conn.Close() })
				}
			}()
			address := l.Addr().(*net.TCPAddr)
			err = comes(t.Context(), rankAt(1, 2, address.Port), c.timeout)
			if want := fmt.Sprintf("what answers at %s is no rank 0 of pipe", address); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// Rank 0 does not take a port from another.
func TestPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if err := comes(t.Context(), rankAt(0, 2, port), long); err == nil || !strings.Contains(err.Error(), fmt.Sprint(port)) {
		t.Errorf("got %v", err)
	}
}

// Whatever a stranger says, it is no rank but one of a world.
func FuzzGuest(f *testing.F) {
	for _, line := range []string{"rank 1 of 2\n", "rank -1 of 2\n", "rank 2 of 2", "GET / HTTP/1.1\r\n", "rank 1 of", ""} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var g guest
		if g.parse(line) && (g.index < 0 || g.index >= g.count) {
			t.Errorf("%q is rank %d of %d", line, g.index, g.count)
		}
	})
}
