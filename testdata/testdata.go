// Package testdata holds small files that the demo and the tests use.
package testdata

import _ "embed"

// Teacher is an ONNX face embedder that pipe itself has trained, with a margin
// softmax, on generated faces (internal/synthface). Its metadata says how it takes
// pixels. `make testdata` makes it anew.
//
//go:embed teacher.onnx
var Teacher []byte
