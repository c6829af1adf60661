package net

import (
	"strings"
	"testing"
)

// Width and dim may be too large together where neither is by itself.
func TestTooManyParameters(t *testing.T) {
	for _, name := range Architectures() {
		n, err := New(name, Config{Width: 8, Dim: 4096})
		if (err == nil) != (n != nil) || err == nil && n.Parameters() > 1<<30 || err != nil && !strings.Contains(err.Error(), "width 8 and dim 4096") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New("ir100", Config{Width: 8, Dim: 512}); err == nil {
		t.Error("14 GB of weights are taken")
	}
}
