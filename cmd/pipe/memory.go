package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"facepipe/ingest"
)

// memoryFlag is a number of bytes with a unit.
type memoryFlag struct{ n *int64 }

// memoryUnits are the units of memory, the longer names first; a prefix alone is of 1024.
var memoryUnits = []struct {
	name  string
	bytes float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}, {"b", 1},
}

// Set parses a flag's value. A number without a unit is one of bytes, if it can be nothing else.
func (m memoryFlag) Set(s string) error {
	number, unit := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, u := range memoryUnits {
		if before, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(before), u.bytes
			break
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	bytes := value * unit
	switch {
	case err != nil || !(bytes >= 0):
		return fmt.Errorf("%q is no size of memory: write it like 512MiB or 4GiB", s)
	case bytes < ingest.MinMemory && unit == 1:
		return fmt.Errorf("%q is less than %s: write a unit, as in 512MiB or 4GiB", s, byteSize(ingest.MinMemory))
	case bytes < ingest.MinMemory || bytes > math.MaxInt64/2:
		return fmt.Errorf("%q is not between %s and what a computer can have", s, byteSize(ingest.MinMemory))
	}
	*m.n = int64(bytes)
	return nil
}

// String is the value as Set takes it; "" for the default.
func (m memoryFlag) String() string {
	if m.n == nil || *m.n == 0 {
		return ""
	}
	return strconv.FormatInt(*m.n, 10) + "B"
}

// Type is what help texts call the value.
func (memoryFlag) Type() string { return "SIZE" }
