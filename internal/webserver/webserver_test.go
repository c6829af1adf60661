package webserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serving serves "shown" and returns where.
func serving(t *testing.T, change func(*http.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "shown") }), time.Second)
	if change != nil {
		change(s)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		begun := time.Now()
		if err := Close(s); err != nil || time.Since(begun) > 5*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		<-done
	})
	return l.Addr().String()
}

// visit opens a connection and sends a text.
func visit(t *testing.T, at, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_, _ = io.WriteString(c, text) // it may be closed already
	return c
}

// left is whether the server closes a connection within a time.
func left(t *testing.T, c net.Conn, within time.Duration) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, c)
	timeout, ok := err.(net.Error)
	return !ok || !timeout.Timeout()
}

func TestMethods(t *testing.T) {
	at := serving(t, nil)
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "PUT": 405, "DELETE": 405, "TRACE": 405, "OPTIONS": 405, "LOOK": 405} {
		c := visit(t, at, method+" / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
		if err != nil || r.StatusCode != want {
			t.Errorf("%s: %v, %v", method, r, err)
		}
	}
}

func TestLongHeader(t *testing.T) {
	c := visit(t, serving(t, nil), "GET / HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	if r, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%v", r)
	}
}

// Many visitors are no burden, and whoever comes when they have gone is served.
func TestManyVisitors(t *testing.T) {
	at := serving(t, nil)
	var open []net.Conn
	for range 10 * mostVisitors {
		open = append(open, visit(t, at, "GET / HTTP/1.1\r\n"))
	}
	for deadline := time.Now().Add(3 * time.Second); ; { // in which nobody's time is up
		stay := 0
		for _, c := range open {
			if !left(t, c, time.Millisecond) {
				stay++
			}
		}
		if stay <= mostVisitors {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d stay", stay, len(open))
		}
	}
	for _, c := range open {
		c.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r, err := http.Get("http://" + at)
		if err == nil {
			r.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Who asks for nothing, asks slowly or reads nothing has to go.
func TestSlowVisitors(t *testing.T) {
	const soon = 100 * time.Millisecond
	at := serving(t, func(s *http.Server) {
		if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 {
			t.Errorf("%+v waits for ever", s)
		}
		s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = soon, soon, soon, soon
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			page := make([]byte, 1<<20)
			for range 256 {
				if _, err := w.Write(page); err != nil {
					return
				}
			}
		})
	})
	for name, text := range map[string]string{"nothing": "", "half a request": "GET / HTTP/1.1\r\nHost:", "no body": "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"} {
		if !left(t, visit(t, at, text), 20*soon) {
			t.Errorf("who sends %s stays", name)
		}
	}
	reader := visit(t, at, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	time.Sleep(5 * soon)
	if n, err := io.Copy(io.Discard, reader); n >= 256<<20 {
		t.Errorf("who reads late gets %d bytes, %v", n, err)
	}
}
