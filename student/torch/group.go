package torch

import (
	"fmt"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// GroupConfig says who a rank is and where it meets the others.
type GroupConfig struct {
	// Rank is this process's number, 0 to Size-1; rank 0 offers the store where all meet.
	Rank, Size int
	// Host and Port of the store.
	Host string
	Port int
	// Address is the local address for connections between the ranks.
	Address string
	// Device is where the tensors will be: "cpu", "cuda:1".
	Device string
	// Join is how long to wait for all ranks, Wait how long for one collective of tensors in
	// memory. DeviceWait is that of tensors on a CUDA device; then the process ends with status
	// 1, since what waits there cannot be told to stop.
	Join, Wait, DeviceWait time.Duration
}

// Group is a process group of c10d: ranks that take part in the same collectives in
// the same order. Tensors in memory go over Gloo, those on CUDA devices over NCCL.
type Group struct {
	engine *Engine
	handle uintptr
	size   int
}

// GroupBackends names what the engine was built with: "gloo", "gloo nccl", or "" if it
// cannot run on several ranks.
func (e *Engine) GroupBackends() string { return e.api.groupBackends() }

// JoinGroup waits for all ranks and returns their group. It may be called on any thread.
// From then on the process ignores SIGPIPE.
func (e *Engine) JoinGroup(c GroupConfig) (*Group, error) {
	// libtorch writes to its sockets without asking to be spared the signal, so that a
	// rank that dies would take the others along before they can say why they end.
	signal.Ignore(syscall.SIGPIPE)
	out := new(uintptr)
	err := e.check(e.api.groupCreate(c.Host, int64(c.Port), int64(c.Rank), int64(c.Size), c.Address, c.Device,
		c.Join.Milliseconds(), c.Wait.Milliseconds(), c.DeviceWait.Milliseconds(), unsafe.Pointer(out)))
	if err != nil {
		return nil, err
	}
	return &Group{engine: e, handle: *out, size: c.Size}, nil
}

// Close leaves the group. No collective may be under way.
func (g *Group) Close() {
	g.engine.api.groupDestroy(g.handle)
	g.handle = 0
}

// Size is the number of ranks.
func (g *Group) Size() int { return g.size }

// SyncBatchNorm makes batch normalisation in this process take its statistics of all
// ranks' batches, or (g nil) of its own again.
func (e *Engine) SyncBatchNorm(g *Group) {
	if g == nil {
		e.api.groupSyncBatchNorm(0)
		return
	}
	e.api.groupSyncBatchNorm(g.handle)
}

// collective runs one, unless the scope has failed before: then the other ranks will
// wait for this one in vain, and see its connections close.
func (s *Scope) collective(what string, f func() unsafe.Pointer) {
	if s.err != nil {
		return
	}
	s.fail(what, s.engine.check(f()))
}

// AllReduce replaces t, dense in memory, by its sum over the ranks. It returns at once;
// t must not be touched before wait, which is to be called exactly once.
func (s *Scope) AllReduce(g *Group, t Tensor) (wait func()) {
	work := new(uintptr)
	s.collective("all-reduce", func() unsafe.Pointer {
		return s.engine.api.groupAllReduce(g.handle, t.handle, unsafe.Pointer(work))
	})
	return func() {
		if *work != 0 {
			s.fail("all-reduce", s.engine.check(s.engine.api.groupWait(*work)))
		}
	}
}

// Broadcast overwrites t by that of rank root.
func (s *Scope) Broadcast(g *Group, t Tensor, root int) {
	s.collective("broadcast", func() unsafe.Pointer {
		return s.engine.api.groupBroadcast(g.handle, t.handle, int64(root))
	})
}

// AllGather joins the ranks' tensors, of one shape, along their first dimension in the
// order of the ranks. No gradient flows through it.
func (s *Scope) AllGather(g *Group, t Tensor) Tensor {
	shape := s.Shape(t)
	if s.err != nil {
		return Tensor{}
	}
	if len(shape) == 0 {
		shape = []int{1}
	}
	shape[0] *= g.size
	out := s.one("new_empty", "", t, shape)
	s.collective("all-gather", func() unsafe.Pointer {
		return s.engine.api.groupAllGather(g.handle, t.handle, out.handle)
	})
	return out
}

// Barrier returns once all ranks have called it.
func (s *Scope) Barrier(g *Group) {
	s.collective("barrier", func() unsafe.Pointer { return s.engine.api.groupBarrier(g.handle) })
}

// Buckets sum the gradients of leaves over a group while backward is under way.
type Buckets struct {
	engine *Engine
	handle uintptr
	leaves int
}

// NewBuckets watches the gradients of leaves of one type and device. bucket gives the
// number of each leaf's bucket, from 0 without gaps; buckets are summed in their order.
func (g *Group) NewBuckets(leaves []Tensor, bucket []int) (*Buckets, error) {
	wide := make([]int64, len(bucket)+1)
	for i, b := range bucket {
		wide[i] = int64(b)
	}
	if len(leaves) != len(bucket) {
		return nil, fmt.Errorf("gradient buckets: %d leaves, %d numbers of buckets", len(leaves), len(bucket))
	}
	out := new(uintptr)
	err := g.engine.check(g.engine.api.bucketsCreate(g.handle, unsafe.Pointer(unsafe.SliceData(leaves)), int64(len(leaves)),
		unsafe.Pointer(&wide[0]), unsafe.Pointer(out)))
	runtime.KeepAlive(wide)
	if err != nil {
		return nil, fmt.Errorf("gradient buckets: %w", err)
	}
	return &Buckets{engine: g.engine, handle: *out, leaves: len(leaves)}, nil
}

// Early is how many buckets' sums, of the gradients that were finished last, had begun
// while their backward was under way.
func (b *Buckets) Early() int { return int(b.engine.api.bucketsEarly(b.handle)) }

// Close stops watching.
func (b *Buckets) Close() { b.engine.api.bucketsDestroy(b.handle) }

// Arm makes the gradients of the next backward the ones to sum. With gradients that
// accumulate over several, that is the last one.
func (b *Buckets) Arm(s *Scope) {
	s.collective("gradient buckets", func() unsafe.Pointer { return s.engine.api.bucketsArm(b.handle) })
}

// Finish waits for the sums and gives leaf i its own times scale[i], the same bits on
// all ranks.
func (b *Buckets) Finish(s *Scope, scale []float64) {
	if len(scale) != b.leaves {
		s.fail("gradient buckets", fmt.Errorf("%d leaves, %d scales", b.leaves, len(scale)))
	}
	s.collective("gradient buckets", func() unsafe.Pointer {
		return s.engine.api.bucketsFinish(b.handle, unsafe.Pointer(unsafe.SliceData(scale)))
	})
	runtime.KeepAlive(scale)
}
