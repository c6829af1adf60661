package source

import (
	"strings"
	"testing"
)

// Object detection's labels name nobody, whatever their first number is.
func TestRecordIODetectionLabels(t *testing.T) {
	one := []float32{2, 5, 0, 0.1, 0.2, 0.5, 0.75}
	sized := []float32{4, 6, 640, 480, 3, 0.1, 0.2, 0.5, 0.75, 0, 1, 0.25, 0.25, 0.5, 0.5, 1}
	for _, labels := range [][]float32{one, sized} {
		f := records(t, photoRecord(0, "a", labels...), photoRecord(1, "b", labels...))
		_, err := Spec{Kind: "recordio", Path: f.dir}.Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), "object detection") || !strings.Contains(err.Error(), "train.rec") && !strings.Contains(err.Error(), f.dir) {
			t.Errorf("%v: %v", labels, err)
		}
	}
	f := records(t, photoRecord(0, "a", 2), photoRecord(1, "b", one...), photoRecord(2, "c", 2, 0), photoRecord(3, "d", 2, 5),
		photoRecord(4, "e", 2, 5, 0, 0.9, 0.2, 0.5, 0.75), photoRecord(5, "f", 7, 30, 1))
	f.walk(t).want(t, []string{
		"0 | faces/2 | a",
		"1 |  ! its labels are those of im2rec for object detection (a head of 2 numbers, objects of 5): they name no people; " +
			"pack the images again with one label each, or list them in a manifest",
		"2 | faces/2 | c", "3 | faces/2 | d", "4 | faces/2 | e", "5 | faces/7 | f",
	}, noIndexFrom0, "2 images have more than two labels: the first is taken for the identity")
}

// What was downloaded instead of the file says so.
func TestStraysAmongBinariesAreNamed(t *testing.T) {
	f := records(t)
	for _, tt := range []struct{ kind, name, content, want string }{
		{"recordio", "train.rec", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"},
		{"recordio", "train.rec", "<!DOCTYPE html><html>", "web page"},
		{"bin", "lfw.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"},
		{"bin", "lfw.bin", "\n<html><head>", "web page"},
	} {
		f.put(t, tt.name, []byte(tt.content))
		_, err := Spec{Kind: tt.kind, Path: f.dir + "/" + tt.name}.Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("%s %q: %v, want %q", tt.name, tt.content, err, tt.want)
		}
	}
}
