package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"facepipe/store/cache"
	"facepipe/store/storetest"
)

func TestReport(t *testing.T) {
	dir := storetest.Build(t, 20, 8)
	d := storetest.Open(t, dir)
	storetest.Embed(t, d, storetest.Info(cache.FP16, true), -1, nil)
	other := storetest.Info(cache.FP16, true)
	other.Name = "other"
	storetest.Embed(t, d, other, -1, nil)
	out := filepath.Join(t.TempDir(), "page.html")
	sum := expect(t, exitDone, "report", dir, dir+":r50", "--out", out, "--json").object(t)
	html, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if int(number(t, sum, "bytes")) != len(html) || sum["page"] != out {
		t.Errorf("%v, %d bytes", sum, len(html))
	}
	kinds := ""
	for _, part := range sum["parts"].([]any) {
		p := part.(map[string]any)
		kinds += p["kind"].(string) + " "
		if p["answer"] == "" || p["sections"] == nil || p["warnings"] == nil {
			t.Errorf("%v", p)
		}
	}
	if kinds != "cache dataset " {
		t.Error(kinds)
	}
	for _, want := range []string{"<!doctype html>", "pipe report " + dir, `id="agreement"`, "other and r50", "1.000"} {
		if !bytes.Contains(html, []byte(want)) {
			t.Errorf("%q is not in the page", want)
		}
	}
	text := expect(t, exitDone, "report", dir, "--out", out)
	if !strings.Contains(text.stdout, "dataset "+dir+": 20 crops") || !strings.Contains(text.stdout, "page in "+out) {
		t.Error(text.stdout)
	}
}

func TestReportFailures(t *testing.T) {
	dir := storetest.Build(t, 20, 8)
	out := filepath.Join(t.TempDir(), "page.html")
	for _, args := range [][]string{
		{}, {dir}, {"--out", out}, {"", "--out", out}, {"--serve=0.0.0.0:80", dir}, {"--serve", "192.168.1.1:80", dir}, {"--serve", "--out", out, dir}, {"--serve"}, {"--serve="}, {"--serve", "8080"},
	} {
		if o := expect(t, exitUsage, append([]string{"report"}, args...)...); o.stdout != "" {
			t.Errorf("%q: %s", args, o.stdout)
		}
	}
	if o := expect(t, exitFailed, "report", t.TempDir(), "--out", out); !strings.Contains(o.stderr, "looked for") {
		t.Error(o.stderr)
	}
	storetest.FlipBit(t, filepath.Join(dir, "crops/000001.arrow"), 1500)
	if o := expect(t, exitDamaged, "report", dir, "--out", out); !strings.Contains(o.stderr, "000001.arrow") {
		t.Error(o.stderr)
	}
	report := filepath.Join(t.TempDir(), "report.json")
	storetest.WriteText(t, report, `{"models":[`)
	if o := expect(t, exitDamaged, "report", report, "--out", out); !strings.Contains(o.stderr, report) {
		t.Error(o.stderr)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a page was written")
	}
	if o := expect(t, exitFailed, "report", storetest.Build(t, 3, 8), "--out", filepath.Join(t.TempDir(), "no", "page.html")); !strings.Contains(o.stderr, "write the page") {
		t.Error(o.stderr)
	}
}

// A signal ends the serving with the status of every stopped verb.
func TestReportServe(t *testing.T) {
	dir := t.TempDir()
	storetest.WriteText(t, filepath.Join(dir, "run.json"), `{"options":{"epochs":3}}`)
	for _, args := range [][]string{{"--serve", dir}, {"--serve=0", dir}, {"--serve", "127.0.0.1:0", dir}} {
		ctx, cancel := context.WithCancel(t.Context())
		said := &until{want: "http://127.0.0.1:", then: cancel}
		var stdout bytes.Buffer
		timer := time.AfterFunc(time.Minute, cancel)
		code := run(ctx, append([]string{"report", "--json"}, args...), &stdout, said)
		timer.Stop()
		cancel()
		var f failure
		if code != exitStopped || !said.met || json.Unmarshal(stdout.Bytes(), &f) != nil || f.ExitCode != exitStopped {
			t.Errorf("%q: status %d\n%s\n%s", args, code, stdout.String(), said.String())
		}
	}
}

// until is a writer that calls a function when something was written to it.
type until struct {
	bytes.Buffer
	want string
	then func()
	met  bool
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if !u.met && strings.Contains(u.String(), u.want) {
		u.met = true
		u.then()
	}
	return n, err
}
