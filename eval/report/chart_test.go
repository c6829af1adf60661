package report

import (
	"strings"
	"testing"

	"facepipe/eval/verification"
)

// A picture of several tests names none of them as if it were all.
func TestChartOfSeveralTests(t *testing.T) {
	one := Report{Models: []Model{measured(t, verification.Plain, "m.onnx", 1)}}
	one.Pairs.Path = "sets/lfw.bin"
	if title, sub := one.chartTitle("Errors"), one.chartSubtitle(); title != "Errors on lfw.bin" || !strings.HasPrefix(sub, "600 pairs of the same person, ") {
		t.Errorf("%s; %s", title, sub)
	}
	two := one
	two.Tests = []Test{{Name: "lfw"}, {Name: "cfp_fp"}}
	if title, sub := two.chartTitle("Errors"), two.chartSubtitle(); title != "Errors on 2 tests" || strings.Contains(sub, "600") {
		t.Errorf("%s; %s", title, sub)
	}
}
