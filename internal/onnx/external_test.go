package onnx

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
)

// nested is a message with one field that has the others in it, the first outermost.
func nested(data []byte, fields ...protowire.Number) []byte {
	for _, number := range slices.Backward(fields) {
		data = protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), data)
	}
	return data
}

// entry is an entry of a tensor's external data.
func entry(key, value string) []byte {
	return nested(append(nested([]byte(key), 1), nested([]byte(value), 2)...), 13)
}

// A runtime opens the files of all tensors, wherever they are and however often they say it.
func TestExternalFilesEverywhere(t *testing.T) {
	whole := sample().Marshal()
	for name, fields := range map[string][]protowire.Number{
		"initializer": {7, 5}, "sparse initializer": {7, 15, 1}, "its indices": {7, 15, 2}, "constant": {7, 1, 5, 5},
		"list of tensors": {7, 1, 5, 10}, "branch": {7, 1, 5, 6, 5}, "constant of a branch of a branch": {7, 1, 5, 11, 1, 5, 6, 1, 5, 5},
		"sparse constant": {7, 1, 5, 22, 1}, "sparse constants": {7, 1, 5, 23, 2}, "function": {25, 7, 5, 5}, "default of a function": {25, 11, 5},
		"training": {20, 1, 5},
	} {
		tensor := slices.Concat(entry("offset", "0"), entry("location", "first"), entry("location", "second"))
		m, err := Unmarshal(append(slices.Clone(whole), nested(tensor, fields...)...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := m.ExternalFiles(); !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("%s: %q", name, got)
		}
	}
	fields := []protowire.Number{7}
	for range maxDepth {
		fields = append(fields, 1, 5, 6)
	}
	if _, err := Unmarshal(append(whole, nested(nil, fields...)...)); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("branches without end: %v", err)
	}
}

func TestBeside(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	for _, folder := range []string{"model/below", "store/other", "view"} {
		if err := os.MkdirAll(at(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"secret", "model/m.onnx", "model/w", "model/below/w", "store/1", "store/2", "store/other/3", "model/huge"} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"model/out": "../secret", "model/in": "below/w", "model/zeros": "/dev/zero", "model/up": "..",
		"view/m.onnx": "../store/1", "view/w": "../store/2", "view/out": "../model/w", "again": "model",
	} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(at("model/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ model, name, want string }{
		{"model/m.onnx", "w", ""}, {"model/m.onnx", "below/w", ""}, {"model/m.onnx", "below/../w", ""}, {"model/m.onnx", "in", ""}, {"again/m.onnx", "in", ""},
		{"view/m.onnx", "w", ""}, // as a store of downloads keeps both
		{"view/m.onnx", "out", "leads out"}, {"model/m.onnx", "out", "leads out"}, {"model/m.onnx", "up/secret", "leads out"},
		{"model/m.onnx", "../secret", "not below"}, {"model/m.onnx", at("secret"), "not below"}, {"model/m.onnx", "", "not below"},
		{"model/m.onnx", "pipe", "a named pipe"}, {"model/m.onnx", "zeros", "a device"}, {"model/m.onnx", "below", "a folder"},
		{"model/m.onnx", "none", "no such file"}, {"model/m.onnx", "*/_ORT_MEM_ADDR_/*", "no such file"},
	} {
		path, err := Beside(at(c.model), c.name)
		if c.want == "" && (err != nil || path != filepath.Join(filepath.Dir(at(c.model)), c.name)) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s of %s: %q, %v", c.name, c.model, path, err)
		}
	}
	if err := os.Truncate(at("model/huge"), MaxExternalBytes+1); err != nil {
		t.Skip(err)
	}
	if _, err := Beside(at("model/m.onnx"), "huge"); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a sparse file: %v", err)
	}
}
