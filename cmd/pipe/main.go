// Command pipe takes photographs of faces to a small face-recognition network:
// ingest cuts aligned crops, precompute-teacher caches what a strong network says
// about each of them, distill trains a student on that cache, eval measures it.
//
// This package holds the command line and no logic: one file a verb, each of them
// an Options struct, its flags, validation, one library call, and the printing of
// the summary that the call returns.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(untilSignalled(), os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignalled is a context that the first signal ends. Nothing puts the signals back in
// the end: one more that comes while the process says what it did would kill it and hide
// its exit status.
func untilSignalled() context.Context {
	// Schedulers send SIGUSR1 where one asks them to tell before they end a job.
	ctx, putBack := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1)
	context.AfterFunc(ctx, func() { giveUpPatience(putBack) })
	return ctx
}

// giveUpPatience is called when a first signal has come. Ctrl-C a second time ends the process
// at once, which is safe too. Schedulers and launchers often signal a process as well as
// its parent, which passes it on: only after a while does a second signal of theirs mean more
// than the first.
func giveUpPatience(putBack func()) {
	const patience = 2 * time.Second
	signal.Reset(syscall.SIGINT)
	time.AfterFunc(patience, putBack)
}
