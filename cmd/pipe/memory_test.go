package main

import (
	"strings"
	"testing"
)

func TestMemoryFlag(t *testing.T) {
	for text, want := range map[string]int64{
		"64MiB": 64 << 20, "4GiB": 4 << 30, "4g": 4 << 30, "1.5 GiB": 3 << 29, "2GB": 2_000_000_000, "0.25TiB": 1 << 38,
		"67108864": 64 << 20, "100000000b": 100_000_000, "65536K": 64 << 20,
	} {
		var got int64
		f := memoryFlag{&got}
		if err := f.Set(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
		if err := f.Set(f.String()); err != nil || got != want {
			t.Errorf("%q is written %q: %v", text, f.String(), err)
		}
	}
	for text, reason := range map[string]string{
		"": "no size", "4": "write a unit", "0": "write a unit", "63MiB": "not between", "-1GiB": "no size", "nan": "no size",
		"inf": "not between", "GiB": "no size", "4 potatoes": "no size", "1e30G": "not between", "4GiB extra": "no size",
	} {
		var got int64
		if err := (memoryFlag{&got}).Set(text); err == nil || !strings.Contains(err.Error(), reason) || got != 0 {
			t.Errorf("%q: %d, %v; want %q", text, got, err, reason)
		}
	}
}
