package onnx

import (
	"bytes"
	"strings"
)

// kinds are what people take for models, by the bytes at a place.
var kinds = []struct {
	at    int
	magic string
	is    string
}{
	{0, "version https://git-lfs", "a pointer of Git LFS: get the model itself with `git lfs pull`, or by the site's download button"},
	{0, "PK\x03\x04", "a zip archive: unpack it and name the .onnx file in it"},
	{0, "\x80", "a pickle, such as an old PyTorch file: convert it with torch.onnx.export"},
	{4, "ORTM", "a model in the runtime's own format (.ort): take the .onnx file that it was made from"},
	{4, "TFL3", "a TensorFlow Lite model: convert it with tf2onnx"},
	{0, "\x89HDF", "an HDF5 file, such as a Keras model: convert it with tf2onnx"},
	{0, "\x1f", "a compressed file: unpack it first"},
	{0, "<", "a web page: download the model itself, logged in if the site demands that"},
}

// kindOf says what bytes are that are no model; "" if they do not tell.
func kindOf(data []byte) string {
	start := data[:min(len(data), 4096)]
	switch {
	case len(data) == 0:
		return "an empty file"
	case bytes.HasPrefix(start, []byte("PK")) && bytes.Contains(start, []byte("/data.pkl")):
		return "a PyTorch file: convert it with torch.onnx.export"
	}
	text := strings.TrimSpace(string(start))
	for _, k := range kinds {
		if len(text) > k.at && strings.HasPrefix(text[k.at:], k.magic) {
			return k.is
		}
	}
	return ""
}
