package main

import (
	"context"
	"os/signal"
	"syscall"
	"time"
)

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
