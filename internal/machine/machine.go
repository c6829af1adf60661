// Package machine says what the machine has that the program runs on.
package machine

import (
	"math"
	"sync"

	"golang.org/x/sys/unix"
)

// Memory is the size of the machine's memory in bytes, or more than any has if it cannot be told.
// Control groups may allow less.
var Memory = sync.OnceValue(func() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return math.MaxInt64 - 1
	}
	return int64(min(uint64(info.Totalram)*uint64(info.Unit), math.MaxInt64-1))
})
