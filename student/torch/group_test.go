package torch_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

func TestCollectives(t *testing.T) {
	got := torchtest.Ranks(t, 3, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		own := torch.FromData(s, "cpu", []float64{float64(rank), 10 * float64(rank)}, 1, 2)
		fmt.Println("> gather", torch.ToData[float64](s, s.AllGather(g, own)), s.Shape(s.AllGather(g, own)))
		s.Broadcast(g, own, 2)
		fmt.Println("> broadcast", torch.ToData[float64](s, own))
		labels := torch.FromData(s, "cpu", []int64{int64(rank)}, 1)
		fmt.Println("> integers", torch.ToData[int64](s, s.AllGather(g, labels)))
		a, b := torch.FromData(s, "cpu", []float32{float32(rank)}, 1), torch.FromData(s, "cpu", []float32{1}, 1)
		waitA, waitB := s.AllReduce(g, a), s.AllReduce(g, b)
		waitA()
		waitB()
		fmt.Println("> sums", s.Floats(a), s.Floats(b))
		// A broadcast of what is not dense in memory.
		column := s.Slice(torch.FromData(s, "cpu", []float32{float32(rank), 0, float32(rank), 0}, 2, 2), 1, 0, 1)
		s.Broadcast(g, column, 1)
		fmt.Println("> column", s.Floats(column))
		s.Barrier(g)
	})
	want := []string{"gather [0 0 1 10 2 20] [3 2]", "broadcast [2 20]", "integers [0 1 2]", "sums [3] [3]", "column [1 1]"}
	for rank, lines := range got {
		if !slices.Equal(lines, want) {
			t.Errorf("rank %d printed %q, want %q", rank, lines, want)
		}
	}
}

// someLeaves are tensors that have gradients.
func someLeaves(s *torch.Scope, n int) []torch.Tensor {
	leaves := make([]torch.Tensor, n)
	for i := range leaves {
		leaves[i] = torch.FromData(s, "cpu", []float32{1, 2}, 2)
		s.RequireGrad(leaves[i], true)
	}
	return leaves
}

// Of w·x, for x = rank+1, the gradient is x. Leaf 1 has one on rank 1 alone, leaf 2 on
// none; leaf 0's is accumulated over two batches.
func TestBuckets(t *testing.T) {
	got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		leaves := someLeaves(s, 4)
		b, err := g.NewBuckets(leaves, []int{1, 1, 0, 0})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for range 2 {
			for batch := range 2 {
				loss := s.Scale(s.Sum(s.Add(leaves[0], leaves[3])), float64(rank+1))
				if rank == 1 && batch == 1 {
					loss = s.Add(loss, s.Sum(leaves[1]))
				}
				if batch == 1 {
					b.Arm(s)
				}
				s.Backward(loss)
			}
			b.Finish(s, []float64{1, 0.5, 1, 1})
			for i, leaf := range leaves {
				if grad := s.Grad(leaf); grad.IsNone() {
					fmt.Println(">", i, "none")
				} else {
					fmt.Println(">", i, s.Floats(grad))
				}
				s.ClearGrad(leaf)
			}
		}
	})
	want := []string{"0 [6 6]", "1 [0.5 0.5]", "2 none", "3 [6 6]"}
	for rank, lines := range got {
		if !slices.Equal(lines, append(want, want...)) {
			t.Errorf("rank %d printed %q, want %q twice", rank, lines, want)
		}
	}
}

// Gradients are views of the buckets: what was handed out shows the sums of the next step, and
// what nobody clears is summed with what comes.
func TestBucketsLendTheirMemory(t *testing.T) {
	got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		leaves := someLeaves(s, 3)
		b, err := g.NewBuckets(leaves, []int{1, 0, 0})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		step := func() {
			b.Arm(s)
			s.Backward(s.Scale(s.Sum(s.Add(leaves[0], leaves[2])), float64(rank+1)))
			b.Finish(s, []float64{1, 1, 0.5})
		}
		step()
		held := []torch.Tensor{s.Grad(leaves[0]), s.Grad(leaves[2])}
		fmt.Println(">", s.Floats(held[0]), s.Floats(held[1]), s.Grad(leaves[1]).IsNone())
		step() // 3 + 1 and 3 + 2, 1.5 + 1 and 1.5 + 2
		fmt.Println(">", s.Floats(held[0]), s.Floats(held[1]), s.Grad(leaves[1]).IsNone())
		for _, leaf := range leaves {
			s.ClearGrad(leaf)
		}
		step()
		fmt.Println(">", s.Floats(held[0]), s.Floats(held[1]), s.Grad(leaves[1]).IsNone())
	})
	want := []string{"[3 3] [1.5 1.5] true", "[9 9] [3 3] true", "[3 3] [1.5 1.5] true"}
	for rank, lines := range got {
		if !slices.Equal(lines, want) {
			t.Errorf("rank %d printed %q, want %q", rank, lines, want)
		}
	}
}

// A leaf that only batches before the last one reach has the sum of their gradients, on all
// ranks the same.
func TestBucketsSumWhatTheLastBatchLacks(t *testing.T) {
	got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		leaves := someLeaves(s, 3)
		b, err := g.NewBuckets(leaves, []int{1, 0, 0})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		s.Backward(s.Scale(s.Sum(s.Add(leaves[0], leaves[1])), float64(rank+1)))
		if rank == 0 {
			s.Backward(s.Sum(leaves[2]))
		}
		b.Arm(s)
		s.Backward(s.Sum(leaves[0]))
		b.Finish(s, []float64{1, 0.5, 1})
		for i, leaf := range leaves {
			fmt.Println(">", i, s.Floats(s.Grad(leaf)))
		}
	})
	for rank, lines := range got {
		if want := []string{"0 [5 5]", "1 [1.5 1.5]", "2 [1 1]"}; !slices.Equal(lines, want) {
			t.Errorf("rank %d printed %q, want %q", rank, lines, want)
		}
	}
}

// Sums begin while backward is still under way, but for buckets of which a gradient is
// missing then, and those after them.
func TestBucketsBeginEarly(t *testing.T) {
	got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		leaves := someLeaves(s, 3)
		b, err := g.NewBuckets(leaves, []int{2, 1, 0})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for unused := range leaves {
			loss := s.Sum(leaves[0])
			for i, leaf := range leaves[1:] {
				if i+1 != unused {
					loss = s.Add(loss, s.Sum(leaf))
				}
			}
			b.Arm(s)
			s.Backward(loss)
			b.Finish(s, []float64{1, 1, 1})
			fmt.Println(">", unused, b.Early())
		}
	})
	for rank, lines := range got {
		if want := []string{"0 3", "1 1", "2 0"}; !slices.Equal(lines, want) {
			t.Errorf("rank %d printed %q, want %q", rank, lines, want)
		}
	}
}

// Two ranks with half of a batch each normalise it as one with all of it does: values,
// running statistics, and gradients, of which the parameters' add up. In double
// precision, for the kernel and for what other devices run.
func TestSyncBatchNorm(t *testing.T) {
	for _, kernel := range []bool{true, false} {
		t.Run(fmt.Sprintf("kernel=%v", kernel), func(t *testing.T) {
			got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
				s.Engine().SyncBatchNorm(g)
				defer s.Engine().SyncBatchNorm(nil)
				n := newNormed(s, kernel, 2*rank, 2*rank+2)
				n.sumParameters(s, g)
				fmt.Println(">", n)
			})
			if len(got) == 0 {
				return
			}
			e := torchtest.Open(t)
			e.SyncBatchNorm(nil)
			s := torchtest.Scope(t, e)
			whole := newNormed(s, kernel, 0, 4)
			for rank, lines := range got {
				var part normed
				if len(lines) != 1 || json.Unmarshal([]byte(lines[0]), &part) != nil {
					t.Fatalf("rank %d printed %q", rank, lines)
				}
				half := len(whole.Y) / 2
				for name, pair := range map[string][2][]float64{
					"y": {part.Y, whole.Y[rank*half : (rank+1)*half]}, "dx": {part.DX, whole.DX[rank*half : (rank+1)*half]},
					"parameters": {part.Parameters, whole.Parameters}, "running": {part.Running, whole.Running},
				} {
					for i := range pair[1] {
						if len(pair[0]) != len(pair[1]) || math.Abs(pair[0][i]-pair[1][i]) > 1e-12*max(1, math.Abs(pair[1][i])) {
							t.Fatalf("rank %d: %s is %v, of one rank %v", rank, name, pair[0], pair[1])
						}
					}
				}
			}
		})
	}
}

// normed is what normalising some of four images gives.
type normed struct {
	Y, DX, Parameters, Running []float64
	grads                      torch.Tensor
}

func newNormed(s *torch.Scope, kernel bool, from, to int) normed {
	const channels = 3
	rng := rand.New(rand.NewPCG(5, 6))
	draw := func(shape ...int) torch.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float64, n)
		for i := range v {
			v[i] = 3 + float64(i%5) + rng.NormFloat64()
		}
		return torch.FromData(s, "cpu", v, shape...)
	}
	leaf := func(t torch.Tensor) torch.Tensor {
		t = s.Detach(s.Clone(t))
		s.RequireGrad(t, true)
		return t
	}
	x, dy := draw(4, channels, 2, 2), draw(4, channels, 2, 2)
	weight, bias := leaf(draw(channels)), leaf(draw(channels))
	mean, variance := draw(channels), draw(channels)
	x, dy = leaf(s.Slice(x, 0, from, to)), s.Slice(dy, 0, from, to)
	var y torch.Tensor
	if kernel {
		y = s.NormAct(x, torch.Norm{Weight: weight, Bias: bias, Mean: mean, Variance: variance, Momentum: 0.1, Eps: 1e-5}, torch.Tensor{})
	} else {
		y = s.SynchronisedBatchNorm(x, weight, bias, mean, variance, 0.1, 1e-5)
	}
	s.Backward(s.Sum(s.Mul(s.Mul(y, y), dy)))
	n := normed{grads: s.Clone(s.Concat([]torch.Tensor{s.Grad(weight), s.Grad(bias)}, 0))}
	n.Y, n.DX = torch.ToData[float64](s, y), torch.ToData[float64](s, s.Grad(x))
	n.Parameters = torch.ToData[float64](s, n.grads)
	n.Running = torch.ToData[float64](s, s.Concat([]torch.Tensor{mean, variance}, 0))
	return n
}

func (n *normed) sumParameters(s *torch.Scope, g *torch.Group) {
	s.AllReduce(g, n.grads)()
	n.Parameters = torch.ToData[float64](s, n.grads)
}

// String is JSON, whose numbers are exact.
func (n normed) String() string {
	text, _ := json.Marshal(n) // finite numbers only
	return string(text)
}

// A rank that ends makes a collective of the others fail, and not hang.
func TestDeadRank(t *testing.T) {
	got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		if rank == 1 {
			os.Exit(0)
		}
		x := torch.FromData(s, "cpu", []float32{1}, 1)
		begun := time.Now()
		s.AllReduce(g, x)()
		if s.Err() == nil || !strings.Contains(s.Err().Error(), "another rank") || time.Since(begun) > 20*time.Second {
			t.Fatalf("after %v: %v", time.Since(begun), s.Err())
		}
		s.Close() // with its error
		fmt.Println("> failed")
	})
	if !slices.Equal(got[0], []string{"failed"}) {
		t.Errorf("rank 0 printed %q", got[0])
	}
}

// A group of one rank sums, gathers and has buckets on each device: what NCCL must do first.
func TestGroupOnDevices(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.NeedGroups(t, e)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		g, err := e.JoinGroup(torch.GroupConfig{Rank: 0, Size: 1, Host: "127.0.0.1", Port: torchtest.FreePort(t), Address: "127.0.0.1",
			Device: device, Join: 20 * time.Second, Wait: 20 * time.Second, DeviceWait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		s := torchtest.Scope(t, e)
		x := torch.FromData(s, device, []float32{1, 2, 3, 4, 5, 6}, 2, 3)
		s.AllReduce(g, x)()
		s.Broadcast(g, x, 0)
		if got := s.Floats(s.AllGather(g, x)); !slices.Equal(got, []float32{1, 2, 3, 4, 5, 6}) {
			t.Errorf("gathered %v", got)
		}
		s.RequireGrad(x, true)
		b, err := g.NewBuckets([]torch.Tensor{x}, []int{0})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		b.Arm(s)
		s.Backward(s.Sum(s.Mul(x, x)))
		b.Finish(s, []float64{0.5})
		if got := s.Floats(s.Grad(x)); !slices.Equal(got, []float32{1, 2, 3, 4, 5, 6}) || b.Early() != 1 {
			t.Errorf("gradient %v, %d early", got, b.Early())
		}
		s.Barrier(g)
	})
}

// Where nobody listens, joining ends with an error after its time.
func TestJoinTimesOut(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.NeedGroups(t, e)
	_, err := e.JoinGroup(torch.GroupConfig{Rank: 1, Size: 2, Host: "127.0.0.1", Port: torchtest.FreePort(t), Address: "127.0.0.1",
		Device: "cpu", Join: time.Second, Wait: time.Second})
	if err == nil {
		t.Fatal("joined nobody")
	}
	t.Log(err)
}

// Groups leave no threads, no descriptors and no goroutines behind.
func TestGroupLeavesNothing(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("needs /proc")
	}
	e := torchtest.Open(t)
	torchtest.NeedGroups(t, e)
	join := func() {
		g, err := e.JoinGroup(torch.GroupConfig{Rank: 0, Size: 1, Host: "127.0.0.1", Port: torchtest.FreePort(t), Address: "127.0.0.1",
			Device: "cpu", Join: 10 * time.Second, Wait: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		s := torchtest.Scope(t, e)
		s.AllReduce(g, torch.FromData(s, "cpu", []float32{1}, 1))()
		g.Close()
	}
	join() // what is set up once
	count := func(folder string) int {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	files, routines := count("/proc/self/fd"), runtime.NumGoroutine()
	for range 5 {
		join()
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if count("/proc/self/fd") <= files && runtime.NumGoroutine() <= routines {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors, before %d; %d goroutines, before %d", count("/proc/self/fd"), files, runtime.NumGoroutine(), routines)
		}
	}
}
