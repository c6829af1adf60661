// Command pipe takes photographs of faces to a small face-recognition network:
// ingest cuts aligned crops, precompute-teacher caches what a strong network says
// about each of them, distill trains a student on that cache, eval measures it.
//
// This package holds the command line and no logic: one file a verb, each of them
// an Options struct, its flags, validation, one library call, and the printing of
// the summary that the call returns.
package main

import (
	"os"

	"facepipe/internal/crash"
)

func main() {
	os.Exit(crash.Told(func() int { return run(untilSignalled(), os.Args[1:], os.Stdout, os.Stderr) }))
}
