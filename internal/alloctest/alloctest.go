// Package alloctest measures what a call allocates, for tests of parsers: a file of a few bytes must
// not make its reader ask for gigabytes.
package alloctest

import (
	"runtime/metrics"
	"testing"
)

// tries is how often a call is measured that seems to allocate too much: whatever else the process
// does meanwhile is counted too, and so are tables that are made at the first call.
const tries = 3

// AtMost fails the test where the call allocates more than limit bytes of Go's heap in all, whether
// they are freed meanwhile or not. What C allocates is not seen. It calls the function again where
// the first time was too much, so the function must do the same each time. A limit for a parser is
// factor·len(input) + constant; a constant below 64 KiB is within the error of the measurement.
func AtMost(tb testing.TB, limit int, call func()) {
	tb.Helper()
	least := Bytes(call)
	for range tries - 1 {
		if least <= uint64(limit) {
			return
		}
		least = min(least, Bytes(call))
	}
	if least > uint64(limit) {
		tb.Errorf("allocates %d bytes, more than %d", least, limit)
	}
}

// Bytes returns how many bytes of Go's heap the process allocates while the function runs.
func Bytes(call func()) uint64 {
	before := allocated()
	call()
	return allocated() - before
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
