// Package nativelib finds the shared libraries that pipe opens at run time: ONNX Runtime, the
// training engine, libjpeg-turbo. It looks for all of them in one order: what the user names,
// what came with the program, what the system has.
package nativelib

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/regular"
)

// ErrMissing marks a library that was not found.
var ErrMissing = errors.New("library not found")

// Search describes one library.
type Search struct {
	// Name is what messages call it, e.g. "ONNX Runtime".
	Name string
	// Explicit is the path that the user gave by a flag, or "".
	Explicit string
	// Env is the environment variable that may hold a path.
	Env string
	// Pinned are paths relative to an install root; * and ? match as in a shell.
	Pinned []string
	// System are names that the system's loader knows, e.g. "libturbojpeg.so.0".
	System []string
	// Remedy tells what to do when there is none: "run `make deps`, or ...".
	Remedy string
}

// Path is the file to open. What the user names must exist, and is never skipped for another.
// A system library is only looked for in the usual folders. If there is no library the error
// wraps [ErrMissing] and has the remedy.
func (s Search) Path() (string, error) {
	for _, named := range []struct{ path, by string }{{s.Explicit, "the path given"}, {os.Getenv(s.Env), s.Env}} {
		if named.path == "" {
			continue
		}
		if info, err := os.Stat(named.path); err != nil || info.IsDir() {
			return "", fmt.Errorf("%w: %s is not at %s (%s); %s", ErrMissing, s.Name, named.path, named.by, s.Remedy)
		}
		return named.path, nil
	}
	if candidates := s.Candidates(); len(candidates) > 0 {
		return candidates[0], nil
	}
	return "", fmt.Errorf("%w: %s is not installed; %s", ErrMissing, s.Name, s.Remedy)
}

// Candidates lists the pinned files and the system's that exist, the preferred ones first.
func (s Search) Candidates() []string {
	var found []string
	for _, root := range roots() {
		found = append(found, existing(root, s.Pinned)...)
	}
	for _, folder := range systemFolders() {
		found = append(found, existing(folder, s.System)...)
	}
	return found
}

// existing are the files and folders in folder that match a pattern.
func existing(folder string, patterns []string) []string {
	var found []string
	for _, p := range patterns {
		matches, err := filepath.Glob(filepath.Join(folder, p))
		if err == nil { // a bad pattern matches nothing
			found = append(found, matches...)
		}
	}
	return found
}

// maxText is the longest go.mod or configuration of the loader that is read, in bytes.
const maxText = 1 << 20

// roots are the folders below which pinned libraries are looked for: the program's, the folder
// above it (for bin/pipe), and the source tree around the working directory (for tests).
func roots() []string {
	var out []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		out = append(out, filepath.Dir(exe), filepath.Dir(filepath.Dir(exe)))
	}
	if tree := sourceTree(); tree != "" {
		out = append(out, tree)
	}
	return out
}

// sourceTree is the nearest folder above the working directory that holds pipe's
// own go.mod, or "".
func sourceTree() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		text, err := regular.Read(filepath.Join(dir, "go.mod"), maxText)
		if err == nil && bytes.HasPrefix(text, []byte("module facepipe\n")) {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// systemFolders are where the loader looks: what the user adds by LD_LIBRARY_PATH,
// what the administrator adds by ld.so.conf, then where distributions keep libraries.
func systemFolders() []string {
	var out []string
	for _, dir := range strings.Split(os.Getenv("LD_LIBRARY_PATH"), ":") {
		if dir != "" {
			out = append(out, dir)
		}
	}
	out = append(out, configuredFolders("/etc/ld.so.conf", "/etc/ld.so.conf.d/*.conf")...)
	for _, pattern := range []string{"/usr/local/lib", "/usr/lib/*-linux-gnu", "/lib/*-linux-gnu", "/usr/lib64", "/usr/lib"} {
		out = append(out, existing("", []string{pattern})...)
	}
	return out
}

// configuredFolders are the folders that the loader's configuration files list, one a line.
// Include directives are not followed, as the patterns name the files that they usually
// include.
func configuredFolders(patterns ...string) []string {
	var out []string
	for _, file := range existing("", patterns) {
		text, err := regular.Read(file, maxText)
		if err != nil {
			continue // the loader could not read it either
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); filepath.IsAbs(line) {
				out = append(out, line)
			}
		}
	}
	return out
}
