package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"

	"golang.org/x/sync/semaphore"

	"facepipe/internal/imgcodec"
	"facepipe/internal/machine"
	"facepipe/internal/regular"
)

// The bounds of [Options.Memory] in bytes: the least that crops of [MaxCropSize] can be made with,
// and the most that is taken unless it is asked for.
const (
	MinMemory        = 64 << 20
	maxDefaultMemory = 4 << 30
)

// besideBytes is what a run takes beside its budget: tables, the shard in flight, windows of
// sources, and room for what is garbage already. The garbage collector is told to keep to the sum.
const besideBytes = 128 << 20

// DefaultMemory is the memory of a run that states none: a quarter of the machine's, or of what its
// control group may have if that is less, and at most 4 GiB.
func DefaultMemory() int64 {
	return min(max(machineMemory()/4, MinMemory), maxDefaultMemory)
}

// machineMemory is what the process can have at most, in bytes.
func machineMemory() int64 {
	return min(machine.Memory(), controlGroupMemory("/proc/self/cgroup", "/sys/fs/cgroup"))
}

// controlGroupMemory is the least limit of the process's control groups, of version 2 and 1, and of
// those around them. The file names the groups, which lie below the folder.
func controlGroupMemory(file, folder string) int64 {
	const most = 64 << 10
	least := int64(math.MaxInt64)
	groups, err := regular.Read(file, most)
	if err != nil {
		return least
	}
	for lines := bufio.NewScanner(bytes.NewReader(groups)); lines.Scan(); {
		// number:controllers:path, where version 2 has no controllers
		part := strings.SplitN(lines.Text(), ":", 3)
		if len(part) < 3 || part[1] != "" && part[1] != "memory" {
			continue
		}
		limit := "memory.max"
		if part[1] != "" {
			limit = "memory.limit_in_bytes"
		}
		for group := path.Clean("/" + part[2]); ; group = path.Dir(group) {
			text, err := regular.Read(filepath.Join(folder, part[1], group, limit), most)
			if n, e := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && e == nil && n > 0 {
				least = min(least, n)
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// budget divides the memory of a run. Who has something of one share waits for nothing but a later
// one, so nobody waits forever: encoded photographs, then decoding.
type budget struct {
	memory            int64
	encoded, decoding share
	held, finished    int64 // bytes of photographs that items bring, and of crops that wait
}

func newBudget(memory int64) *budget {
	const most = 64 << 20 // is enough to keep all workers at work
	waiting := min(memory/16, most)
	return &budget{memory: memory, encoded: newShare(memory / 4), decoding: newShare(decodingPart(memory)), held: waiting, finished: waiting}
}

// decodingPart is how much of the memory is for decoding; memoryFor turns it round.
func decodingPart(memory int64) int64 { return memory / 8 * 5 }
func memoryFor(decoding int64) int64  { return (decoding + 4) / 5 * 8 }

// keepHeap makes the garbage collector keep to the budget, and to more only if more is in use: the
// keys of a dataset of a hundred million crops. It has been given the limit of before.
func (b *budget) keepHeap(before int64) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	limit := max(b.memory, int64(live[0].Value.Uint64())) + besideBytes
	debug.SetMemoryLimit(min(before, limit))
}

// admit asks for the memory of an encoded photograph, for the claim to give back. One that declares
// more than can be decoded is refused before it is read.
func (b *budget) admit(ctx context.Context, c *claim) imgcodec.Admit {
	return func(size int64, head []byte) error {
		if size > int64(len(head)) && len(head) > 0 { // otherwise the whole tells in a moment
			if err := b.judge(head); err != nil {
				return refuse(stageDecode, err)
			}
		}
		if size > b.encoded.size {
			return refuse(stageRead, fmt.Errorf("%w: has %d bytes, and --memory of %d leaves %d for encoded photographs: give %d or more", errMemory, size, b.memory, b.encoded.size, 4*size))
		}
		return c.hold(ctx, &b.encoded, size)
	}
}

// judge refuses a photograph by its beginning.
func (b *budget) judge(head []byte) error {
	h, err := imgcodec.Peek(head)
	switch {
	case errors.Is(err, imgcodec.ErrNotImage):
		return err
	case err != nil: // the whole tells
		return nil
	}
	if err := (imgcodec.Limits{}).Check(h); err != nil {
		return err
	}
	least := imgcodec.Photo{Header: h}
	return b.fits(least.Bytes(imgcodec.MaxReduction))
}

// fits refuses what takes more memory than there is for decoding.
func (b *budget) fits(bytes int64) error {
	if bytes <= b.decoding.size {
		return nil
	}
	return fmt.Errorf("%w: decoding takes %d bytes, and --memory of %d leaves %d for it: give %d or more", errMemory, bytes, b.memory, b.decoding.size, memoryFor(bytes))
}

// share is a part of the budget.
type share struct {
	size int64 // in bytes
	free *semaphore.Weighted
}

func newShare(size int64) share { return share{size, semaphore.NewWeighted(size)} }

// claim is what one photograph has of a share.
type claim struct {
	of    *share
	bytes int64
}

// hold makes the claim one of so many bytes or more, which the share has at all. To get more it gives
// back what it had first: two that wait for more, each with some in hand, could wait forever.
func (c *claim) hold(ctx context.Context, s *share, bytes int64) error {
	if c.of == s && c.bytes >= bytes {
		return nil
	}
	c.release()
	if err := s.free.Acquire(ctx, bytes); err != nil {
		return err
	}
	c.of, c.bytes = s, bytes
	return nil
}

// release gives everything back.
func (c *claim) release() {
	if c.of != nil {
		c.of.free.Release(c.bytes)
	}
	*c = claim{}
}
