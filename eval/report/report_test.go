package report

import (
	"strings"
	"testing"
)

func TestCode(t *testing.T) {
	for text, want := range map[string]string{
		"a.onnx": "`a.onnx`", "a\n b": "`a b`", "a`b": "`` a`b ``", "``": "``` `` ```",
	} {
		if got := code(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

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
