package ort

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"facepipe/internal/onnx"
)

// What the runtime would open is looked at before: it would wait at a pipe, read a device without
// end, and follow a model's words to any file.
func TestFilesAreVerified(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(
		unix.Mkfifo(filepath.Join(dir, "pipe.onnx"), 0o600), os.Symlink("/dev/zero", filepath.Join(dir, "zeros.onnx")),
	); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "pipe.onnx"): "a named pipe", filepath.Join(dir, "zeros.onnx"): "a device", dir: "a folder",
	} {
		if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for location, want := range map[string]string{
		"pipe": "a named pipe", "zeros": "a device", "out": "leads out", "../secret": "not below", "/etc/hostname": "not below", "none": "no such file",
	} {
		path := doubler(t, func(m *onnx.Model) {
			m.Graph.Initializers = append(m.Graph.Initializers, onnx.Tensor{
				Name: "outside", Type: onnx.Float32, Dims: []int64{1}, External: []onnx.Property{{Key: "location", Value: location}},
			})
		})
		beside := filepath.Dir(path)
		if err := errors.Join(
			unix.Mkfifo(filepath.Join(beside, "pipe"), 0o600), os.Symlink("/dev/zero", filepath.Join(beside, "zeros")),
			os.Symlink("/etc/passwd", filepath.Join(beside, "out")),
		); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, o := range map[string]Options{"its file": {}, "its bytes": {Model: data}, "who knows them": {External: []string{location}}} {
			if _, err := Open(t.Context(), path, o); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), want) {
				t.Errorf("weights in %s, by %s: %v, want %q", location, name, err, want)
			}
		}
	}
}
