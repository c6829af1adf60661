package page

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a headless Chromium that is spoken to by its DevTools protocol, over a pipe:
// messages are JSON with a zero byte behind each.
type browser struct {
	t       *testing.T
	to      *os.File
	mu      sync.Mutex
	next    int
	waiting map[int]chan message
	events  []message
	loaded  chan struct{}
}

type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// tab is a page of a browser.
type tab struct {
	*browser
	session string
}

// chromium is a browser's program; the test is skipped where there is none.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no browser: Debian's package chromium has one")
	return ""
}

// openBrowser starts a browser that ends with the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	program := chromium(t)
	fromHere, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, toHere, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	home := t.TempDir()
	command := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--no-first-run",
		"--remote-debugging-pipe", "--user-data-dir="+home, "about:blank")
	command.Env = append(os.Environ(), "HOME="+home)
	command.ExtraFiles = []*os.File{fromHere, toHere}
	command.WaitDelay = 5 * time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	fromHere.Close()
	toHere.Close()
	b := &browser{t: t, to: to, waiting: map[int]chan message{}, loaded: make(chan struct{}, 16)}
	done := make(chan struct{})
	go func() { defer close(done); b.listen(from) }()
	t.Cleanup(func() {
		_ = b.send(message{ID: 1 << 30, Method: "Browser.close"})
		to.Close()
		timer := time.AfterFunc(5*time.Second, cancel)
		_ = command.Wait()
		timer.Stop()
		cancel()
		<-done
		from.Close()
	})
	return b
}

func (b *browser) listen(from *os.File) {
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, c := range b.waiting {
				close(c)
			}
			b.waiting = nil
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.waiting[m.ID]; m.ID != 0 && c != nil {
			delete(b.waiting, m.ID)
			c <- m
		} else if m.Method != "" {
			b.events = append(b.events, m)
			if m.Method == "Page.loadEventFired" {
				b.loaded <- struct{}{}
			}
		}
		b.mu.Unlock()
	}
}

func (b *browser) send(m message) error {
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	return err
}

const browserPatience = 60 * time.Second

// ask sends a command and decodes its result.
func (b *browser) ask(session, method string, params, result any) {
	b.t.Helper()
	text, err := json.Marshal(params)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.next++
	id, c := b.next, make(chan message, 1)
	if b.waiting == nil {
		b.mu.Unlock()
		b.t.Fatalf("%s: the browser is gone", method)
	}
	b.waiting[id] = c
	b.mu.Unlock()
	if err := b.send(message{ID: id, SessionID: session, Method: method, Params: text}); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case m, ok := <-c:
		switch {
		case !ok:
			b.t.Fatalf("%s: the browser ended", method)
		case m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		case result != nil:
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(browserPatience):
		b.t.Fatalf("%s: no answer", method)
	}
}

type object map[string]any

// tab opens an empty page whose events are kept.
func (b *browser) tab() *tab {
	b.t.Helper()
	var target struct {
		TargetID string `json:"targetId"`
	}
	b.ask("", "Target.createTarget", object{"url": "about:blank"}, &target)
	var session struct {
		SessionID string `json:"sessionId"`
	}
	b.ask("", "Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &session)
	tb := &tab{b, session.SessionID}
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		tb.ask(domain+".enable", object{}, nil)
	}
	return tb
}

func (tb *tab) ask(method string, params, result any) {
	tb.t.Helper()
	tb.browser.ask(tb.session, method, params, result)
}

// screen sets the size of the window in pixels of CSS and the colour scheme.
func (tb *tab) screen(width, height int, scheme string) {
	tb.t.Helper()
	tb.ask("Emulation.setDeviceMetricsOverride", object{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	tb.ask("Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// open shows a page and waits until it is loaded.
func (tb *tab) open(address string) {
	tb.t.Helper()
	var navigated struct {
		ErrorText string `json:"errorText"`
	}
	tb.ask("Page.navigate", object{"url": address}, &navigated)
	if navigated.ErrorText != "" {
		tb.t.Fatalf("open %s: %s", address, navigated.ErrorText)
	}
	// A page that was open before may have loaded itself again meanwhile.
	for late := time.After(browserPatience); ; {
		select {
		case <-tb.loaded:
		case <-late:
			tb.t.Fatalf("open %s: it does not load", address)
		}
		if at := value[string](tb, "document.readyState == 'complete' ? location.href : ''"); strings.TrimSuffix(at, "/") == strings.TrimSuffix(address, "/") {
			return
		}
	}
}

// value evaluates an expression in the page.
func value[T any](tb *tab, expression string) (v T) {
	tb.t.Helper()
	var answer struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		ExceptionDetails json.RawMessage `json:"exceptionDetails"`
	}
	tb.ask("Runtime.evaluate", object{"expression": expression, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		tb.t.Fatalf("%s: %s", expression, answer.ExceptionDetails)
	}
	if err := json.Unmarshal(answer.Result.Value, &v); err != nil {
		tb.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// shoot is a picture of a page, from a height on.
func (tb *tab) shoot(path string, top, width, height int) {
	tb.t.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	tb.ask("Page.captureScreenshot", object{"format": "png", "captureBeyondViewport": true,
		"clip": object{"x": 0, "y": top, "width": width, "height": height, "scale": 1}}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		tb.t.Fatal(err)
	}
}

// complaints are errors on the console, requests that leave the page, and dialogues.
func (b *browser) complaints() (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.events {
		switch m.Method {
		case "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening":
			list = append(list, m.Method+" "+string(m.Params))
		case "Network.requestWillBeSent":
			var sent struct {
				Request struct {
					URL string `json:"url"`
				} `json:"request"`
				DocumentURL string `json:"documentURL"`
			}
			_ = json.Unmarshal(m.Params, &sent)
			if !strings.HasPrefix(sent.Request.URL, "data:") && sent.Request.URL != sent.DocumentURL {
				list = append(list, "request "+sent.Request.URL)
			}
		}
	}
	b.events = nil
	return list
}

// fileURL is the address of a file.
func fileURL(t *testing.T, path string) string {
	t.Helper()
	whole, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return (&url.URL{Scheme: "file", Path: whole}).String()
}

// screens are the windows in which a page is looked at.
var screens = []struct {
	width, height int
	scheme        string
}{{390, 844, "light"}, {390, 844, "dark"}, {1440, 900, "light"}, {1440, 900, "dark"}}

// tile is the height of a picture for people.
const tile = 1400

// TestScreenshots takes pictures of the pages that $PIPE_PAGES names, for people to look at.
func TestScreenshots(t *testing.T) {
	pages := filepath.SplitList(os.Getenv("PIPE_PAGES"))
	if len(pages) == 0 {
		t.Skip("PIPE_PAGES names no page to take pictures of")
	}
	tb := openBrowser(t).tab()
	for _, path := range pages {
		for _, s := range screens {
			tb.screen(s.width, s.height, s.scheme)
			tb.open(fileURL(t, path))
			t.Logf("%s opens in %.0f ms", path, value[float64](tb, "performance.getEntriesByType('navigation')[0].loadEventStart"))
			value[int](tb, "document.querySelectorAll('details').forEach(d => d.open = true), 0")
			height := value[int](tb, "document.documentElement.scrollHeight")
			for top := 0; top < min(height, 8*tile); top += tile {
				name := fmt.Sprintf("%s-%d-%s-%d.png", strings.TrimSuffix(path, ".html"), s.width, s.scheme, top/tile)
				tb.shoot(name, top, s.width, min(tile, height-top))
			}
		}
	}
	if err := errors.Join(complaining(tb)...); err != nil {
		t.Error(err)
	}
}

func complaining(tb *tab) (errs []error) {
	for _, c := range tb.complaints() {
		errs = append(errs, errors.New(c))
	}
	return errs
}

// look opens a page in every window and colour scheme, and finds nothing to complain of.
func look(t *testing.T, tb *tab, address string) {
	t.Helper()
	backgrounds := map[string]string{}
	for _, s := range screens {
		tb.screen(s.width, s.height, s.scheme)
		tb.open(address)
		value[int](tb, "document.querySelectorAll('details').forEach(d => d.open = true), 0")
		if size := value[[2]int](tb, "[document.documentElement.scrollWidth, window.innerWidth]"); size[0] > size[1] || size[1] != s.width {
			t.Errorf("%s: %d pixels wide in a window of %d: %s", address, size[0], size[1], value[string](tb, widest))
		}
		backgrounds[s.scheme] = value[string](tb, "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color")
	}
	if backgrounds["light"] == backgrounds["dark"] {
		t.Errorf("%s: light is dark: %v", address, backgrounds)
	}
	if err := errors.Join(complaining(tb)...); err != nil {
		t.Errorf("%s: %v", address, err)
	}
	if lost := value[[]string](tb, `[...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href')).filter(h => !document.getElementById(h.slice(1)))`); len(lost) > 0 {
		t.Errorf("%s: anchors lead nowhere: %v", address, lost)
	}
	if broken := value[int](tb, "[...document.images].filter(i => !i.complete || i.naturalWidth == 0).length"); broken > 0 {
		t.Errorf("%s: %d pictures are broken", address, broken)
	}
	if twice := value[int](tb, "(all => all.length - new Set(all).size)([...document.querySelectorAll('[id]')].map(e => e.id))"); twice > 0 {
		t.Errorf("%s: %d ids are there twice", address, twice)
	}
	if data := value[bool](tb, "typeof JSON.parse(document.querySelector('script[type=\"application/json\"]').textContent) == 'object'"); !data {
		t.Errorf("%s: no JSON inside", address)
	}
}

// widest names the elements that are wider than the window.
const widest = `[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest('.scroll, .wide, pre')).slice(0, 5).map(e => e.outerHTML.slice(0, 120)).join(' | ')`

// writePage writes the page of some paths.
func writePage(t *testing.T, what ...string) string {
	t.Helper()
	_, html := made(t, what...)
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, []byte(html), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestInBrowser looks at pages as people do.
func TestInBrowser(t *testing.T) {
	tb := openBrowser(t).tab()
	for _, c := range []struct {
		name string
		test func(*testing.T, *tab)
	}{{"looks", looks}, {"hostile text", hostileText}, {"keyboard", keyboard}, {"served", served}, {"print", printed}} {
		t.Run(c.name, func(t *testing.T) {
			tb.t = t
			c.test(t, tb)
		})
		tb.t = t
	}
}

// looks shows a page of each kind, and hostile ones.
func looks(t *testing.T, tb *tab) {
	faces := withTeachers(t)
	evil := evalFolder(t, func(r map[string]any) {
		r["pairs"].(map[string]any)["path"] = hostile
		for _, m := range r["models"].([]any) {
			m.(map[string]any)["model"] = hostile + strings.Repeat("y", 10_000)
		}
	})
	for _, what := range [][]string{
		{evalFolder(t, nil)}, {evalFolder(t, nil), runFolder(t, 5000, true), faces, faces + ":r50"}, {evalFolder(t, nil), evil, hostileDataset(t)}, {studyFolder(t)},
	} {
		look(t, tb, fileURL(t, writePage(t, what...)))
	}
}

// hostileText is read as what it is.
func hostileText(t *testing.T, tb *tab) {
	tb.open(fileURL(t, writePage(t, evalFolder(t, func(r map[string]any) { r["warnings"] = []string{hostile} }))))
	if text := value[string](tb, "document.querySelector('.warnings li').textContent"); !strings.HasPrefix(text, `"><script>alert(1)</script>`) || !strings.Contains(text, "'{{.}}") {
		t.Errorf("it reads %q", text)
	}
	if n := value[int](tb, `document.querySelectorAll('script:not([type="application/json"])').length`); n != 0 {
		t.Errorf("%d scripts", n)
	}
	if err := errors.Join(complaining(tb)...); err != nil {
		t.Error(err)
	}
}

// keyboard reaches all that scrolls or opens, and shows where it is.
func keyboard(t *testing.T, tb *tab) {
	tb.screen(390, 844, "light")
	tb.open(fileURL(t, writePage(t, evalFolder(t, nil))))
	met := map[string]bool{}
	for range 140 {
		for _, kind := range []string{"keyDown", "keyUp"} {
			tb.ask("Input.dispatchKeyEvent", object{"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}, nil)
		}
		at := value[[2]string](tb, "[document.activeElement.tagName + '.' + document.activeElement.className, getComputedStyle(document.activeElement).outlineStyle]")
		met[at[0]] = true
		if at[1] != "solid" && !strings.HasPrefix(at[0], "BODY") {
			t.Fatalf("the focus does not show on %s", at[0])
		}
	}
	for _, want := range []string{"A.skip", "DIV.scroll", "SUMMARY.", "FIGURE.wide"} {
		if !met[want] {
			t.Errorf("the keyboard does not reach %s: %v", want, met)
		}
	}
}

// served is a run that goes on: the page asks again by itself.
func served(t *testing.T, tb *tab) {
	dir := runFolder(t, 100, false)
	at := serving(t, Options{What: []string{dir}, Refresh: 1})
	tb.open(at)
	if answer := value[string](tb, "document.querySelector('.answer').textContent"); !strings.Contains(answer, "at step 100 of 400") {
		t.Error(answer)
	}
	if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(journalOf(200)), 0o644); err != nil {
		t.Fatal(err)
	}
	select {
	case <-tb.loaded:
	case <-time.After(browserPatience):
		t.Fatal("the page does not ask again")
	}
	if answer := value[string](tb, "document.querySelector('.answer').textContent"); !strings.Contains(answer, "at step 200 of 400") {
		t.Error(answer)
	}
	if err := errors.Join(complaining(tb)...); err != nil {
		t.Error(err)
	}
}

// printed pages are on white paper, whatever the screen is.
func printed(t *testing.T, tb *tab) {
	tb.ask("Emulation.setEmulatedMedia", object{"media": "print", "features": []object{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	tb.open(fileURL(t, writePage(t, evalFolder(t, nil))))
	if got := value[string](tb, "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.querySelector('nav')).display"); got != "rgb(255, 255, 255)none" {
		t.Error(got)
	}
}
