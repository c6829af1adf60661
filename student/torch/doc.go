// Package torch binds the training engine: libtorch behind the small C ABI of
// engine/engine.h, opened at run time.
//
// An [Engine] is the opened library. A [Tensor] is a handle to an n-dimensional
// array that lives inside it; every tensor belongs to exactly one [Scope], which
// releases it. Operators are methods of the scope that owns their results:
//
//	s := engine.NewScope()
//	defer s.Close()
//	y := s.Add(s.Mul(a, b), c)
//	s.Backward(s.Mean(y))
//	if err := s.Err(); err != nil { ... }
//
// A scope remembers its first error and turns every later operator into a no-op
// (as bufio.Writer does), so that a network reads as formulas and its error is
// looked at once. No C++ exception crosses the border.
//
// Gradient mode and the OpenMP pool belong to an OS thread: a trainer calls
// runtime.LockOSThread and makes all its calls from there. A scope is used by one
// goroutine at a time.
package torch
