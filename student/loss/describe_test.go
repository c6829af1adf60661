package loss

import (
	"slices"
	"strings"
	"testing"

	"facepipe/student/torch/torchtest"
)

// Every loss says what each of its settings is for.
func TestSettingsAreExplained(t *testing.T) {
	for _, l := range All() {
		for _, s := range l.Settings() {
			if s.Key == "" || s.Default == "" || s.About == "" || strings.Contains(s.About, "\n") {
				t.Errorf("%s: %+v", l.Name, s)
			}
		}
	}
	if all := unifiedLoss.Settings(); !slices.ContainsFunc(all, func(s Setting) bool { return s.Key == "rpsd.bank" && s.Default == "16384" }) {
		t.Errorf("the unified loss has %v", all)
	}
}

// Whatever the loss, a step of it can be measured.
func TestTrial(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range append(Names(), "unified + 0.5*l2") {
		if d, err := (Trial{Loss: name, Batch: 16, Dim: 8, Classes: 20}).Run(e, 1); err != nil || d <= 0 {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	if _, err := (Trial{Loss: "magic"}).Run(e, 1); err == nil {
		t.Error("an unknown loss was measured")
	}
}
