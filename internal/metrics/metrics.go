// Package metrics tells Prometheus what a run is doing.
package metrics

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"facepipe/internal/progress"
	"facepipe/internal/webserver"
)

// Server serves /metrics. Besides the figures of every Go process it has, with the label of a
// bar as "stage":
//
//	pipe_items_done           what is done of the stage's items
//	pipe_items_rejected       how many of these were refused, or have no usable embedding
//	pipe_items_total          how many there will be, perhaps as an estimate; -1 if that is not
//	                          known
//	pipe_rejects_total        the same refusals counted by "reason"
//	pipe_stage_seconds_total  the time that a "part" of the stage has taken, such as
//	                          decode or infer, summed over those who do it
//
// The last two go on counting when a stage is repeated.
type Server struct {
	listener              net.Listener
	server                *http.Server
	done, rejected, total *prometheus.GaugeVec
	rejects, seconds      *prometheus.CounterVec
}

// mostScrapes are answered at the same time; others are to come again.
const mostScrapes = 4

// Serve begins to serve on an address, HOST:PORT, :PORT or PORT. Without a host it answers
// this machine only. Port 0 takes a free port.
func Serve(address string) (*Server, error) {
	listener, err := net.Listen("tcp", local(address))
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "pipe", Name: name, Help: help}, []string{"stage"})
	}
	counter := func(name, help, by string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "pipe", Name: name, Help: help}, []string{"stage", by})
	}
	s := &Server{
		listener: listener,
		done:     gauge("items_done", "Items that the stage is done with."),
		rejected: gauge("items_rejected", "Items of those that were refused or have no usable embedding."),
		total:    gauge("items_total", "Items of the stage, -1 if unknown."),
		rejects:  counter("rejects_total", "Items that were refused or have no usable embedding, by reason.", "reason"),
		seconds:  counter("stage_seconds_total", "Seconds that a part of the stage has taken, summed over those who do it.", "part"),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.done, s.rejected, s.total, s.rejects, s.seconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: mostScrapes}))
	s.server = webserver.New(mux, 10*time.Second)
	go func() { _ = s.server.Serve(listener) }() // ends with Close
	return s, nil
}

// local keeps an address without a host on this machine.
func local(address string) string {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	if strings.HasPrefix(address, ":") {
		return "127.0.0.1" + address
	}
	return address
}

// Address is where the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close ends the server. It first answers a request that has begun.
func (s *Server) Close() error { return webserver.Close(s.server) }

// Watch is a writer that passes a run's messages on to w. The server shows the bars that write
// to it.
func (s *Server) Watch(w io.Writer) io.Writer { return watched{w, s} }

type watched struct {
	io.Writer
	server *Server
}

var _ progress.Observer = watched{}

// Unwrap is the writer that shows the messages.
func (w watched) Unwrap() io.Writer { return w.Writer }

// Observe serves a bar's counts.
func (w watched) Observe(label string) progress.Watcher { return watcher{w.server, label} }

// watcher serves the counts of one bar.
type watcher struct {
	server *Server
	label  string
}

// Total serves how many items there are.
func (w watcher) Total(n int64) { w.server.total.WithLabelValues(w.label).Set(float64(n)) }

// Count serves how many items are done and rejected.
func (w watcher) Count(done, rejected int64) {
	w.server.done.WithLabelValues(w.label).Set(float64(done))
	w.server.rejected.WithLabelValues(w.label).Set(float64(rejected))
}

// Reject counts refusals by reason.
func (w watcher) Reject(n int64, reason string) {
	w.server.rejects.WithLabelValues(w.label, reason).Add(float64(n))
}

// Spend counts the seconds of a part. A clock that was set back takes nothing off.
func (w watcher) Spend(part string, seconds float64) {
	w.server.seconds.WithLabelValues(w.label, part).Add(max(seconds, 0))
}
