package metrics_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"facepipe/internal/metrics"
	"facepipe/internal/progress"
)

func TestServer(t *testing.T) {
	s, err := metrics.Serve("0")
	if err != nil {
		t.Fatal(err)
	}
	if host, _, err := net.SplitHostPort(s.Address()); err != nil || host != "127.0.0.1" {
		t.Errorf("it listens on %s", s.Address())
	}
	var shown bytes.Buffer
	bar := progress.New(s.Watch(&shown), "ingest", 9)
	bar.Add(3)
	bar.Add(2)
	bar.Reject(1, "zeros")
	bar.Spend("infer", 1.5)
	bar.Spend("infer", 2.25)
	bar.Spend("wait", 0)
	page := scrape(t, s)
	for _, line := range []string{
		`pipe_items_done{stage="ingest"} 5`, `pipe_items_rejected{stage="ingest"} 1`, `pipe_items_total{stage="ingest"} 9`,
		`pipe_rejects_total{reason="zeros",stage="ingest"} 1`,
		`pipe_stage_seconds_total{part="infer",stage="ingest"} 2.25`, `pipe_stage_seconds_total{part="wait",stage="ingest"} 0`,
		"go_goroutines ", "process_cpu_seconds_total ",
	} {
		if !strings.Contains(page, line) {
			t.Errorf("%q is not in\n%s", line, page)
		}
	}
	if r, err := http.Post("http://"+s.Address()+"/metrics", "text/plain", strings.NewReader("x")); err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v", r, err)
	}
	// The stage again, as a demo has it: gauges begin anew, counters go on.
	again := progress.New(s.Watch(io.Discard), "ingest", 4)
	again.Add(1)
	again.Spend("infer", 0.75)
	page = scrape(t, s)
	for _, line := range []string{`pipe_items_done{stage="ingest"} 1`, `pipe_stage_seconds_total{part="infer",stage="ingest"} 3`} {
		if !strings.Contains(page, line) {
			t.Errorf("%q is not in\n%s", line, page)
		}
	}
	bar.Finish()
	if text := shown.String(); !strings.Contains(text, "ingest: 5/9") || !strings.Contains(text, "1 rejected") {
		t.Errorf("shown is %q", text)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + s.Address() + "/metrics"); err == nil {
		t.Error("it still answers")
	}
}

func scrape(t *testing.T, s *metrics.Server) string {
	t.Helper()
	r, err := http.Get("http://" + s.Address() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", r.StatusCode, err)
	}
	return string(page)
}

func TestServeRefuses(t *testing.T) {
	s, err := metrics.Serve("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, address := range []string{s.Address(), "nowhere.invalid:1", "1:2:3"} {
		if other, err := metrics.Serve(address); err == nil {
			other.Close()
			t.Errorf("%s was taken", address)
		}
	}
}
