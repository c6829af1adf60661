// Package torchtest opens the training engine for tests.
package torchtest

import (
	"runtime"
	"testing"

	"facepipe/student/torch"
)

// Open gives the engine on the test's own locked thread, and fails the test, with
// the remedy, where there is none.
func Open(t testing.TB) *torch.Engine {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	e, err := torch.Open("")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Scope is a new scope that the test closes and whose error fails it. It locks the
// goroutine to its thread, which Open did for the test that called it and not for the
// subtests of that one: gradient mode is a thread's.
func Scope(t testing.TB, e *torch.Engine) *torch.Scope {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	s := e.NewScope()
	t.Cleanup(func() {
		if err := s.Err(); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s
}

// OnDevices runs f as a subtest for the CPU and one for a CUDA device, which skips where
// there is none.
func OnDevices(t *testing.T, e *torch.Engine, f func(t *testing.T, device string)) {
	t.Helper()
	for _, device := range []string{"cpu", "cuda"} {
		t.Run(device, func(t *testing.T) {
			if !e.HasDevice(device) {
				t.Skipf("no device %s", device)
			}
			runtime.LockOSThread()
			t.Cleanup(runtime.UnlockOSThread)
			f(t, device)
		})
	}
}
