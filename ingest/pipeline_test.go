package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"facepipe/ingest/source"
	"facepipe/internal/imgcodec"
)

// However fast a source is, what its items hold in memory stays bounded.
func TestPipelineBoundsWhatItemsHold(t *testing.T) {
	const items = 64
	budget := newBudget(1 << 30)
	held := int(budget.held / 4)
	var holding, most atomic.Int64
	// Nothing is made at first, so that a source that nobody stops is through by then.
	begin := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() { close(begin) })
	produce := func(ctx context.Context, submit func(*task) error) error {
		for range items {
			item := &task{held: held, make: func(context.Context) ([]candidate, error) {
				<-begin
				holding.Add(-int64(held))
				return nil, nil
			}}
			if err := submit(item); err != nil {
				return err
			}
			most.Store(max(most.Load(), holding.Add(int64(held))))
		}
		return nil
	}
	consumed := 0
	if err := pipeline(t.Context(), 2, budget, produce, func(*task) error { consumed++; return nil }); err != nil {
		t.Fatal(err)
	}
	// One is counted before what makes room for it was, and one is in work.
	if consumed != items || most.Load() > budget.held+2*int64(held) {
		t.Errorf("%d items consumed; they held %d bytes, the limit is %d", consumed, most.Load(), budget.held)
	}
	if err := pipeline(t.Context(), 1, budget, func(_ context.Context, submit func(*task) error) error {
		return submit(&task{held: 3 * int(budget.held), make: func(context.Context) ([]candidate, error) { return nil, nil }})
	}, func(*task) error { return nil }); err != nil {
		t.Errorf("an item larger than the room: %v", err)
	}
}

// A disk that fails is no property of a photograph: it stops the run, which can be done
// again, where a reject would stay one.
func TestMachineFaultsStopTheRun(t *testing.T) {
	c := newCropper(parsed{side: DefaultCropSize, memory: MinMemory}, Gate{})
	for _, tt := range []struct {
		err   error
		stops bool
	}{
		{syscall.EIO, true},
		{&fs.PathError{Op: "read", Path: "a.jpg", Err: syscall.ESTALE}, true},
		{fmt.Errorf("open: %w", syscall.EMFILE), true},
		{&fs.PathError{Op: "open", Path: "a.jpg", Err: syscall.ENOENT}, false},
		{syscall.EACCES, false},
		{errors.New("a member is damaged"), false},
	} {
		_, err := c.crops(t.Context(), source.Item{Read: func(imgcodec.Admit) ([]byte, error) { return nil, tt.err }}, "a.jpg")
		var refused *refusal
		if !errors.Is(err, tt.err) || errors.As(err, &refused) == tt.stops {
			t.Errorf("%v: %v, stops the run: %t", tt.err, err, !errors.As(err, &refused))
		}
	}
}
