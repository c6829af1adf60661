package student

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// resident is the memory of this process in MiB, 0 where the system does not tell.
func resident(t *testing.T) (mib float64) {
	t.Helper()
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(data)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	return 0
}

// A process that trains one student after another does not grow by each.
func TestMemoryIsFlatOverRuns(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.Batch, o.Size.Width = 1, 20, 0.25
	var after []float64
	for i := range 5 {
		o.Out = filepath.Join(t.TempDir(), fmt.Sprint(i))
		if _, err := Distill(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		after = append(after, resident(t))
	}
	if grown := after[4] - after[1]; grown > 25 {
		t.Errorf("three runs more leave %.0f MiB: %.0f", grown, after)
	}
}
