package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is the built binary that the end-to-end tests run.
var program string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pipe-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "pipe")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build pipe: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// outcome is what a finished run left.
type outcome struct {
	code           int
	stdout, stderr string
}

// pipe runs the program to its end.
func pipe(t *testing.T, args ...string) outcome {
	t.Helper()
	return finished(t, exec.Command(program, args...))
}

func finished(t *testing.T, c *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// expect runs the program and fails the test unless it ends with the status.
func expect(t *testing.T, code int, args ...string) outcome {
	t.Helper()
	o := pipe(t, args...)
	if o.code != code {
		t.Fatalf("pipe %q ended with %d, want %d\nstdout: %s\nstderr: %s", args, o.code, code, o.stdout, o.stderr)
	}
	return o
}

// object parses stdout, which must be one JSON object and nothing else.
func (o outcome) object(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(o.stdout), &v); err != nil {
		t.Fatalf("stdout is not one JSON object: %v\n%s", err, o.stdout)
	}
	return v
}

// number is a key of a JSON object that must be there.
func number(t *testing.T, v map[string]any, key string) float64 {
	t.Helper()
	n, ok := v[key].(float64)
	if !ok {
		t.Fatalf("key %q is %v, want a number, in %v", key, v[key], v)
	}
	return n
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
