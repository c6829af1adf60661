package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/plain"
)

// evilName is a file's name that takes the screen, turns the direction of writing, and begins a
// line that looks like the program's own.
const evilName = "a\x1b[2J\u202e\u009b31m\nno damage found\x07|<b>"

// harmless runs the program in this process and wants nothing in what it says that a terminal would
// obey, nor a line that a name has made.
func harmless(t *testing.T, code int, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(t.Context(), args, &stdout, &stderr); got != code {
		t.Errorf("%q ended with %d, want %d: %s", args, got, code, &stderr)
	}
	said := stdout.String() + stderr.String()
	for _, line := range strings.Split(said, "\n") {
		if !plain.Harmless(strings.ReplaceAll(line, "\t", "")) || strings.HasPrefix(line, "no damage found\\") {
			t.Errorf("%q says %q", args, line)
		}
	}
	if !strings.Contains(said, "[2J") {
		t.Errorf("%q does not name the file: %q", args, said)
	}
}

func TestNamesCommandNoTerminal(t *testing.T) {
	root := filepath.Join(t.TempDir(), evilName)
	if err := os.Rename(alignedFaces(t, 2, 2), root); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "x"+evilName+".jpg"), "no picture")
	dataset := filepath.Join(t.TempDir(), evilName+".ds")
	harmless(t, exitDone, "ingest", "--source", "folder="+root, "--out", dataset, "--max-reject-rate", "1")
	harmless(t, exitDone, "info", dataset)
	harmless(t, exitDone, "info", dataset, "--json")
	harmless(t, exitDone, "teachers", dataset)
	harmless(t, exitFailed, "check", dataset+"x")
	harmless(t, exitFailed, "check", dataset+"x", "--json")
	harmless(t, exitUsage, evilName)
	harmless(t, exitUsage, "check", "--"+evilName)
	if err := os.Truncate(filepath.Join(dataset, "crops", "000000.arrow"), 9); err != nil {
		t.Fatal(err)
	}
	harmless(t, exitDamaged, "check", dataset)
	harmless(t, exitDamaged, "info", dataset)
}
