package report

import (
	"strings"
	"testing"
)

func TestLabels(t *testing.T) {
	for _, c := range []struct{ paths, want []string }{
		{nil, []string{}},
		{[]string{"/models/a.onnx"}, []string{"a.onnx"}},
		{[]string{"/models/a.onnx", "b.onnx"}, []string{"a.onnx", "b.onnx"}},
		{[]string{"run1/s.onnx", "/x/run2/s.onnx"}, []string{"run1/s.onnx", "run2/s.onnx"}},
		{[]string{"x/run/s.onnx", "y/run/s.onnx", "t.onnx"}, []string{"x/run/s.onnx", "y/run/s.onnx", "t.onnx"}},
		{[]string{"s.onnx", "run/s.onnx"}, []string{"s.onnx", "run/s.onnx"}},
		{[]string{"./s.onnx", "s.onnx"}, []string{"./s.onnx", "s.onnx"}},
	} {
		got := labels(c.paths)
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%v: %v, want %v", c.paths, got, c.want)
		}
	}
}
