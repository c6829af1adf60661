package torch_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// Ranks are processes: c10d keeps some of its state for a whole one. A test starts its
// own program again, once a rank, with this variable saying which, and the rank prints
// what it has computed.
const rankVariable = "PIPE_TEST_RANK"

// ranks runs the test as so many ranks and returns the lines that each printed. As a
// rank it runs body instead, and ends.
func ranks(t *testing.T, n int, body func(t *testing.T, s *torch.Scope, g *torch.Group, rank int)) [][]string {
	t.Helper()
	if text := os.Getenv(rankVariable); text != "" {
		asRank(t, text, body)
		return nil
	}
	port := freePort(t)
	var ranks []*exec.Cmd
	var outputs []*strings.Builder
	for rank := range n {
		c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%d/%d/%d", rankVariable, rank, n, port))
		out := &strings.Builder{}
		c.Stdout, c.Stderr = out, out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ranks, outputs = append(ranks, c), append(outputs, out)
	}
	lines := make([][]string, n)
	for rank, c := range ranks {
		if err := c.Wait(); err != nil {
			t.Errorf("rank %d: %v\n%s", rank, err, outputs[rank])
		}
		for scan := bufio.NewScanner(strings.NewReader(outputs[rank].String())); scan.Scan(); {
			if line, ok := strings.CutPrefix(scan.Text(), "> "); ok {
				lines[rank] = append(lines[rank], line)
			}
		}
	}
	return lines
}

func asRank(t *testing.T, text string, body func(t *testing.T, s *torch.Scope, g *torch.Group, rank int)) {
	t.Helper()
	var rank, size, port int
	if _, err := fmt.Sscanf(text, "%d/%d/%d", &rank, &size, &port); err != nil {
		t.Fatal(err)
	}
	e := torchtest.Open(t)
	g, err := e.JoinGroup(torch.GroupConfig{Rank: rank, Size: size, Host: "127.0.0.1", Port: port, Address: "127.0.0.1",
		Device: "cpu", Join: 30 * time.Second, Wait: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	body(t, torchtest.Scope(t, e), g, rank)
	g.Close()
	t.SkipNow() // of the test itself only the parent checks the outcome
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestCollectives(t *testing.T) {
	if torchtest.Open(t).GroupBackends() == "" {
		t.Skip("the engine was built without c10d")
	}
	got := ranks(t, 3, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
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

// Of w·x, for x = rank+1, the gradient is x. Leaf 1 has one on rank 1 alone, leaf 2 on
// none; leaf 0's is accumulated over two batches.
func TestBuckets(t *testing.T) {
	if torchtest.Open(t).GroupBackends() == "" {
		t.Skip("the engine was built without c10d")
	}
	got := ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		leaves := make([]torch.Tensor, 4)
		for i := range leaves {
			leaves[i] = torch.FromData(s, "cpu", []float32{1, 2}, 2)
			s.RequireGrad(leaves[i], true)
		}
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

// A rank that ends makes a collective of the others fail, and not hang.
func TestDeadRank(t *testing.T) {
	if torchtest.Open(t).GroupBackends() == "" {
		t.Skip("the engine was built without c10d")
	}
	got := ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		if rank == 1 {
			os.Exit(0)
		}
		x := torch.FromData(s, "cpu", []float32{1}, 1)
		begun := time.Now()
		s.AllReduce(g, x)()
		if s.Err() == nil || time.Since(begun) > 20*time.Second {
			t.Fatalf("after %v: %v", time.Since(begun), s.Err())
		}
		s.Close() // with its error
		fmt.Println("> failed")
	})
	if !slices.Equal(got[0], []string{"failed"}) {
		t.Errorf("rank 0 printed %q", got[0])
	}
}

// Where nobody listens, joining ends with an error after its time.
func TestJoinTimesOut(t *testing.T) {
	e := torchtest.Open(t)
	if e.GroupBackends() == "" {
		t.Skip("the engine was built without c10d")
	}
	_, err := e.JoinGroup(torch.GroupConfig{Rank: 1, Size: 2, Host: "127.0.0.1", Port: freePort(t), Address: "127.0.0.1",
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
	if e.GroupBackends() == "" {
		t.Skip("the engine was built without c10d")
	}
	join := func() {
		g, err := e.JoinGroup(torch.GroupConfig{Rank: 0, Size: 1, Host: "127.0.0.1", Port: freePort(t), Address: "127.0.0.1",
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
