package machine

import (
	"fmt"
	"os"
	"testing"
)

// Memory is what the kernel's own file says.
func TestMemory(t *testing.T) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Skip(err)
	}
	var kib int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err != nil {
		t.Skip(err)
	}
	if got := Memory(); got != kib<<10 {
		t.Errorf("%d bytes, the kernel says %d KiB", got, kib)
	}
}
