package ort

import (
	"strings"
	"testing"
)

// Exactly what the pinned library is built with is usable, and the rest says why not.
func TestProbe(t *testing.T) {
	s, err := Probe("")
	if err != nil || s.Library == "" || s.Version == "" || len(s.Providers) != len(Providers()) {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, p := range s.Providers {
		if p.Usable != (p.Reason == "") || p.Provider == CPU && !p.Usable || strings.Contains(p.Reason, "\n") {
			t.Errorf("%+v", p)
		}
	}
}

func TestProviderOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"nothing":        {Options{}, ""},
		"unknown":        {Options{Provider: "abacus"}, "abacus"},
		"device of cpu":  {Options{Device: 1}, "no device 1"},
		"device of cuda": {Options{Provider: "cuda", Device: 3}, ""},
		"half on cuda":   {Options{Provider: "cuda", Half: true}, "half precision"},
		"half on trt":    {Options{Provider: "tensorrt", Half: true}, ""},
	} {
		_, err := c.o.provider()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
