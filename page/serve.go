package page

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"facepipe/internal/stop"
	"facepipe/internal/webserver"
)

// ErrAddress marks an address that others than this machine could reach.
var ErrAddress = errors.New("not an address of this machine alone")

// refresh is after how many seconds a served page is asked for again, while what it shows goes on.
const refresh = 5

// Loopback is an address HOST:PORT, :PORT or PORT on this machine alone. Port 0 takes a free
// one. Any other host is [ErrAddress].
func Loopback(address string) (string, error) {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrAddress, address, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if !loops(host) {
		return "", fmt.Errorf("%w: %s; pages are served to this machine only: forward the port (ssh -L) to see one elsewhere", ErrAddress, address)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrAddress, address, err)
	}
	return net.JoinHostPort(host, port), nil
}

// loops says whether a host is this machine by its own name for itself.
func loops(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// server makes a page for every visitor.
type server struct {
	ctx    context.Context
	o      Options
	making sync.Mutex // one page at a time, however many ask
}

// Serve shows the page of what lies at the paths on an address of this machine, made anew from
// the files for every visitor, until ctx ends: then the error is ctx's kind. out is told where.
func Serve(ctx context.Context, address string, o Options, out io.Writer) error {
	address, err := Loopback(address)
	if err != nil {
		return err
	}
	if o.Refresh == 0 {
		o.Refresh = refresh
	}
	if _, err := Make(ctx, o); err != nil { // nobody waits for a browser to hear of this
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve the page: %w", err)
	}
	s := webserver.New(&server{ctx: ctx, o: o}, time.Minute)
	fmt.Fprintf(out, "http://%s/ shows %s; stop it with Ctrl-C\n", listener.Addr(), strings.Join(o.What, ", "))
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(listener) }()
	select {
	case err = <-failed:
		return fmt.Errorf("serve the page: %w", err)
	case <-ctx.Done():
		return errors.Join(stop.Saying("stopped: the page is served no longer"), webserver.Close(s))
	}
}

// ServeHTTP answers for / with the page, whoever asks by a name of this machine:
// another name in Host is that of a web site that would like to read along.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	switch {
	case !loops(host):
		http.Error(w, "ask by localhost", http.StatusForbidden)
	case r.URL.Path != "/":
		http.NotFound(w, r)
	default:
		s.answer(w, r)
	}
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	html, err := s.make(r.Context())
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if err != nil { // perhaps a file is being replaced: the browser asks again
		header.Set("Refresh", fmt.Sprint(refresh))
		http.Error(w, string(readable([]byte(err.Error()))), http.StatusInternalServerError)
		return
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", policy+"; frame-ancestors 'none'")
	header.Set("Content-Length", fmt.Sprint(len(html)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(html) // of a visitor who has left nobody needs to know
}

func (s *server) make(ctx context.Context) ([]byte, error) {
	s.making.Lock()
	defer s.making.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(s.ctx, cancel)()
	defer cancel()
	p, err := Make(ctx, s.o)
	if err != nil {
		return nil, err
	}
	return p.HTML()
}
