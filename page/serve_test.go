package page

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"facepipe/store/storetest"
)

// serving serves a page until the test ends, and returns its address.
func serving(t *testing.T, o Options) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	said, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Serve(ctx, "0", o, out)
		out.CloseWithError(io.EOF)
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("stopped, it says %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("it does not stop")
		}
	})
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	address, _, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(address, "http://127.0.0.1:") {
		t.Fatal(line)
	}
	return address
}

// asked is the answer to a request; host is asked for if it is not "".
func asked(t *testing.T, method, address, host string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestServe(t *testing.T) {
	dir := runFolder(t, 100, false)
	at := serving(t, Options{What: []string{dir}})
	answer, html := asked(t, http.MethodGet, at, "")
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Security-Policy"), "default-src 'none'") || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d, %v", answer.StatusCode, answer.Header)
	}
	holds(t, html, "at step 100 of 400", `<meta http-equiv="refresh" content="5">`, "not finished")
	if answer, body := asked(t, http.MethodHead, at, ""); answer.StatusCode != http.StatusOK || body != "" || answer.ContentLength <= 0 {
		t.Errorf("HEAD: %d, %d bytes", answer.StatusCode, len(body))
	}
	for _, c := range []struct {
		method, path, host string
		want               int
	}{
		{http.MethodPost, "", "", http.StatusMethodNotAllowed}, {http.MethodDelete, "", "", http.StatusMethodNotAllowed},
		{http.MethodGet, "run.json", "", http.StatusNotFound}, {http.MethodGet, "../../etc/passwd", "", http.StatusNotFound},
		{http.MethodGet, "", "evil.example:80", http.StatusForbidden}, {http.MethodGet, "", "localhost:1", http.StatusOK}, {http.MethodGet, "", "[::1]", http.StatusOK},
	} {
		if answer, _ := asked(t, c.method, at+c.path, c.host); answer.StatusCode != c.want {
			t.Errorf("%s %q of %q: %d, want %d", c.method, c.path, c.host, answer.StatusCode, c.want)
		}
	}
	// The run goes on, is damaged for a moment, and ends.
	storetest.WriteText(t, filepath.Join(dir, "metrics.jsonl"), journalOf(300))
	_, html = asked(t, http.MethodGet, at, "")
	holds(t, html, "at step 300 of 400")
	whole, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	storetest.WriteText(t, filepath.Join(dir, "run.json"), "{")
	if answer, body := asked(t, http.MethodGet, at, ""); answer.StatusCode != http.StatusInternalServerError || answer.Header.Get("Refresh") != "5" || !strings.Contains(body, "run.json") {
		t.Errorf("damaged: %d, %v, %s", answer.StatusCode, answer.Header, body)
	}
	storetest.WriteText(t, filepath.Join(dir, "run.json"), string(whole))
	storetest.WriteText(t, filepath.Join(dir, "summary.json"), `{"steps":300,"epochs":3}`)
	_, html = asked(t, http.MethodGet, at, "")
	holds(t, html, "is finished: 300 steps")
	if strings.Contains(html, `http-equiv="refresh"`) {
		t.Error("a finished run is asked for again")
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]string{
		"0": "127.0.0.1:0", "8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "localhost:80": "localhost:80", "[::1]:80": "[::1]:80", "127.0.0.2:80": "127.0.0.2:80",
		"0.0.0.0:80": "", "192.168.0.1:80": "", "[::]:80": "", "example.org:80": "", "1:2:3": "", "port": "", "70000": "", "localhost.evil.example:80": "",
	} {
		if got, err := Loopback(address); got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %q, %v, want %q", address, got, err, want)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	at := serving(t, Options{What: []string{runFolder(t, 10, false)}})
	taken := strings.TrimSuffix(strings.TrimPrefix(at, "http://"), "/")
	for address, what := range map[string]string{taken: runFolder(t, 10, false), "0": t.TempDir(), "0.0.0.0:0": runFolder(t, 10, false)} {
		if err := Serve(t.Context(), address, Options{What: []string{what}}, io.Discard); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s, %s: %v", address, what, err)
		}
	}
}
