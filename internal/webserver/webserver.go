// Package webserver serves what a run shows of itself over HTTP so that no visitor can be a burden
// to the run, whatever he sends or does not send.
package webserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// mostVisitors is how many connections are open at a time. More are closed at once.
	mostVisitors = 16
	// asking is how long a visitor may take to ask, idle how long he may stay without.
	asking = 5 * time.Second
	idle   = 30 * time.Second
	// mostHeader bounds the bytes of a request's header, of which net/http reads a few more.
	mostHeader = 16 << 10
	// patience is how long a request that has begun may still take when the server is closed.
	patience = time.Second
)

// New is a server of what handler shows. It answers GET and HEAD alone; an answer may take the
// time given, its reading by the visitor included.
func New(handler http.Handler, answer time.Duration) *http.Server {
	var visitors atomic.Int32
	return &http.Server{
		Handler:           looking{handler},
		ReadHeaderTimeout: asking,
		ReadTimeout:       asking,
		WriteTimeout:      answer,
		IdleTimeout:       idle,
		MaxHeaderBytes:    mostHeader,
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if visitors.Add(1) > mostVisitors {
					_ = c.Close() // its state will be closed, too
				}
			case http.StateClosed, http.StateHijacked:
				visitors.Add(-1)
			}
		},
	}
}

// Close ends a server. It first answers a request that has begun.
func Close(s *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return s.Close()
}

// looking is a handler for who looks and changes nothing.
type looking struct{ http.Handler }

// ServeHTTP refuses all methods but GET and HEAD.
func (l looking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.Header().Set("Connection", "close") // and not a byte more is read
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	l.Handler.ServeHTTP(w, r)
}
