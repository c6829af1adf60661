package alloctest_test

import (
	"testing"

	"facepipe/internal/alloctest"
)

// verdict is a test that remembers whether it failed.
type verdict struct {
	testing.TB
	failed bool
}

func (v *verdict) Helper()               {}
func (v *verdict) Errorf(string, ...any) { v.failed = true }

var kept []byte // what is allocated for it is allocated on the heap

func TestAtMost(t *testing.T) {
	once := false
	for name, test := range map[string]struct {
		call func()
		fail bool
	}{
		"nothing":             {func() {}, false},
		"below":               {func() { kept = make([]byte, 1<<20) }, false},
		"beyond":              {func() { kept = make([]byte, 3<<20) }, true},
		"beyond in all":       {func() { eachFreed(3) }, true},
		"beyond at the first": {func() { kept, once = make([]byte, beyondUnless(once)), true }, false},
	} {
		v := &verdict{TB: t}
		alloctest.AtMost(v, 2<<20, test.call)
		if v.failed != test.fail {
			t.Errorf("%s: failed %v, want %v", name, v.failed, test.fail)
		}
	}
}

func eachFreed(n int) {
	for range n {
		kept = make([]byte, 1<<20)
	}
}

func beyondUnless(once bool) int {
	if once {
		return 1 << 20
	}
	return 3 << 20
}
